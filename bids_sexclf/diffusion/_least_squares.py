"""Fit a linear model of the log signal in many voxels at once."""

from typing import NamedTuple

import numpy as np

from bids_sexclf.diffusion._gradients import monomials
from bids_sexclf.errors import InputError

METHODS = ("WLS", "OLS")

SIGNAL_FLOOR = 1e-3
"""Lowest signal that enters a logarithm, as a fraction of the voxel's b0 signal.

About one grey level of an integer scan, so what lies under it was lost or cut off
at zero rather than measured. Much lower, and the logarithm of a single zero rules
the fit; much higher, and true signals of fluid at high b are raised as well.
"""

PIVOT = 1e-14
"""Lowest pivot of a Cholesky decomposition, as a fraction of its diagonal cell."""


class LinearModel(NamedTuple):
    """Hold what every voxel shares in a least-squares fit.

    Every column of the design is a monomial in b and the three components of the gradient, so
    products of two columns are monomials again, and many pairs share one: the normal matrix of a
    kurtosis fit has 253 different cells and only 95 different numbers.

    Attributes
    ----------
    design : numpy.ndarray, shape (n, p)
    inverse : numpy.ndarray, shape (p, n)
        Pseudo-inverse of the design.
    moments : numpy.ndarray, shape (m, n)
        The different products of two design columns.
    cells : numpy.ndarray of int, shape (p, p)
        Which of these belongs in which cell of the normal matrix.
    """

    design: np.ndarray
    inverse: np.ndarray
    moments: np.ndarray
    cells: np.ndarray

    @classmethod
    def from_powers(cls, gradients, powers):
        """Prepare the model whose columns are monomials.

        Parameters
        ----------
        gradients : Gradients
            Of n volumes.
        powers : numpy.ndarray of int, shape (p, 4)
            Powers of b and of the three gradient components in each column.
        """
        design = monomials(gradients, powers)
        products, cells = np.unique(
            (powers[:, None] + powers[None]).reshape(-1, 4), axis=0, return_inverse=True
        )
        moments = np.ascontiguousarray(monomials(gradients, products).T)
        return cls(design, np.linalg.pinv(design), moments, cells.reshape((len(powers),) * 2))


def check_method(method, signal_floor):
    """Raise InputError if a choice of a fit has no meaning."""
    if method not in METHODS:
        raise InputError(f"Fit method {method!r} is unknown; choose one of {METHODS}.")
    if not 0 < signal_floor < 1:
        raise InputError(
            f"signal_floor is {signal_floor}; a fraction of the b0 signal between 0 and 1 is "
            f"needed; the default is {SIGNAL_FLOOR}."
        )


def log_signal(signal, reference, floor):
    """Take the logarithm of signals, raising those that have none to a floor.

    Parameters
    ----------
    signal : numpy.ndarray of float64, shape (n, n_voxels)
        Overwritten.
    reference : numpy.ndarray of bool, shape (n,)
        The volumes whose mean over finite positive samples is the voxel's b0 signal.
    floor : float
        Fraction of that mean.

    Returns
    -------
    logs : numpy.ndarray of float64, shape (n, n_voxels)
        Zero throughout in a voxel without b0 signal.
    floored : numpy.ndarray of bool, shape (n, n_voxels)
        Samples that were under the floor or not finite; all those of a voxel
        without b0 signal.
    empty : numpy.ndarray of bool, shape (n_voxels,)
        Voxels without b0 signal.
    """
    # One sample that is not finite leaves a sum that is not; finding it takes a pass of its own.
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(signal.sum(axis=0)).all()
    if not finite:
        signal[~np.isfinite(signal)] = 0
    usable = np.maximum(signal[reference], 0)
    s0 = usable.sum(axis=0) / np.maximum(np.count_nonzero(usable, axis=0), 1)
    empty = s0 == 0
    limit = np.where(empty, 1.0, floor * s0)
    floored = signal < limit
    logs = np.log(np.maximum(signal, limit, out=signal), out=signal)
    if empty.any():
        floored[:, empty], logs[:, empty] = True, 0
    return logs, floored, empty


def solve(model, logs, floored, method, floor):
    """Fit the linear model to log signals.

    Weights are the squared signals that an unweighted fit predicts, since the
    logarithm multiplies the noise of a sample by one over its signal. They
    are taken relative to the largest of the voxel and kept over ``floor ** 2``,
    so that the normal equations stay solvable in every voxel.

    A floored sample weighs ``floor ** 2`` whatever is predicted: next to noise
    its neighbours in b and direction weigh little more and it still counts, but
    a zero amid strong signals, where nothing decays that fast, is ignored.

    Parameters
    ----------
    model : LinearModel
    logs : numpy.ndarray of float64, shape (n, n_voxels)
        Overwritten.
    floored : numpy.ndarray of bool, shape (n, n_voxels)
        Samples whose log is that of the floor.
    method : {"WLS", "OLS"}
    floor : float
        Lowest predicted signal, as a fraction of the largest.

    Returns
    -------
    numpy.ndarray, shape (p, n_voxels)

    References
    ----------
    Chung, Lu and Henry (2006), doi:10.1016/j.neuroimage.2006.07.001
    """
    estimate = model.inverse @ logs
    if method == "OLS":
        return estimate
    weights = model.design @ estimate
    weights -= weights.max(axis=0)
    np.maximum(weights, np.log(floor), out=weights)
    if floored.any():
        weights[floored] = np.log(floor)
    weights *= 2
    np.exp(weights, out=weights)
    moments = model.moments @ weights
    weights *= logs
    return solve_positive(moments, model.cells, model.design.T @ weights)


def solve_positive(numbers, cells, right):
    """Solve symmetric positive-definite systems, one per voxel, by Cholesky decomposition.

    LAPACK takes one small matrix at a time; here each step of the
    decomposition is one operation over all voxels, which lie side by side in
    memory.

    Parameters
    ----------
    numbers : numpy.ndarray, shape (m, n_voxels)
        The different numbers in the matrices.
    cells : numpy.ndarray of int, shape (p, p)
        Which of them each cell holds.
    right : numpy.ndarray, shape (p, n_voxels)
        Overwritten.

    Returns
    -------
    numpy.ndarray, shape (p, n_voxels)

    Examples
    --------
    >>> numbers, cells = np.array([[4.0], [2.0]]), np.array([[0, 1], [1, 1]])
    >>> solve_positive(numbers, cells, np.array([[8.0], [6.0]]))
    array([[1.],
           [2.]])
    """
    p = len(right)
    lower = np.empty((p, p, right.shape[1]), dtype=right.dtype)
    for j in range(p):
        column = numbers[cells[j:, j]]
        # Where rounding leaves nothing of a pivot, its unknown is not determined: hold it near 0.
        least = PIVOT * column[0]
        if j:
            column -= np.einsum("ikv,kv->iv", lower[j:, :j], lower[j, :j])
            right[j] -= np.einsum("kv,kv->v", lower[j, :j], right[:j])
        scale = 1 / np.sqrt(np.maximum(column[0], least))
        np.multiply(column, scale, out=lower[j:, j])
        lower[j, j] = scale
        right[j] *= scale
    for j in reversed(range(p)):
        right[j] -= np.einsum("iv,iv->v", lower[j + 1 :, j], right[j + 1 :])
        right[j] *= lower[j, j]
    return right
