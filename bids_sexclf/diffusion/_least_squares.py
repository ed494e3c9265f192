"""Fit a linear model of the log signal in many voxels at once, chunk by chunk."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from bids_sexclf.errors import InputError

METHODS = ("WLS", "OLS")

SIGNAL_FLOOR = 1e-3
"""Lowest signal that enters a logarithm, as a fraction of the voxel's b0 signal.

About one grey level of an integer scan, so what lies under it was lost or cut off
at zero rather than measured. Much lower, and the logarithm of a single zero rules
the fit; much higher, and true signals of fluid at high b are raised as well.
"""

CHUNK_SIZE = 2000
"""Voxels fitted at once: small enough for the cache, large enough for matrix products."""


class LinearModel(NamedTuple):
    """Hold what every voxel shares in a least-squares fit.

    Attributes
    ----------
    design : numpy.ndarray, shape (n, p)
    inverse : numpy.ndarray, shape (n, p)
        Transposed pseudo-inverse of the design.
    products : numpy.ndarray, shape (n, p (p + 1) / 2)
        Products of every pair of design columns.
    pairs : numpy.ndarray of int, shape (p, p)
        Which product belongs in which cell of the normal matrix.
    """

    design: np.ndarray
    inverse: np.ndarray
    products: np.ndarray
    pairs: np.ndarray

    @classmethod
    def from_design(cls, design):
        """Prepare a design matrix of shape (n, p)."""
        p = design.shape[1]
        rows, columns = np.triu_indices(p)
        pairs = np.empty((p, p), dtype=np.intp)
        pairs[rows, columns] = pairs[columns, rows] = np.arange(rows.size)
        products = design[:, rows] * design[:, columns]
        return cls(design, np.linalg.pinv(design).T, products, pairs)


def check_options(method, signal_floor, chunk_size, n_threads):
    """Raise InputError if an option of a fit has no meaning."""
    if method not in METHODS:
        raise InputError(f"Fit method {method!r} is unknown; choose one of {METHODS}.")
    if not 0 < signal_floor < 1:
        raise InputError(
            f"signal_floor is {signal_floor}; a fraction of the b0 signal between 0 and 1 is "
            f"needed; the default is {SIGNAL_FLOOR}."
        )
    if chunk_size < 1 or n_threads < 1:
        raise InputError(
            f"chunk_size is {chunk_size} and n_threads {n_threads}; both must be at least 1; the "
            f"defaults are {CHUNK_SIZE} and 1."
        )


def log_signal(signal, reference, floor):
    """Take the logarithm of signals, raising those that have none to a floor.

    Parameters
    ----------
    signal : numpy.ndarray, shape (n_voxels, n)
    reference : numpy.ndarray of bool, shape (n,)
        The volumes whose mean over finite positive samples is the voxel's b0 signal.
    floor : float
        Fraction of that mean.

    Returns
    -------
    logs : numpy.ndarray of float64, shape (n_voxels, n)
        Zero throughout in a voxel without b0 signal.
    floored : numpy.ndarray of bool, shape (n_voxels, n)
        Samples that were under the floor or not finite; all those of a voxel
        without b0 signal.
    empty : numpy.ndarray of bool, shape (n_voxels,)
        Voxels without b0 signal.
    """
    signal = signal.astype(np.float64)
    signal[~np.isfinite(signal)] = 0
    usable = np.maximum(signal[:, reference], 0)
    s0 = usable.sum(axis=1) / np.maximum(np.count_nonzero(usable, axis=1), 1)
    empty = s0 == 0
    limit = np.where(empty, 1.0, floor * s0)[:, None]
    floored = (signal < limit) | empty[:, None]
    logs = np.log(np.maximum(signal, limit, out=signal), out=signal)
    logs[empty] = 0
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
    logs : numpy.ndarray of float64, shape (n_voxels, n)
    floored : numpy.ndarray of bool, shape (n_voxels, n)
        Samples whose log is that of the floor.
    method : {"WLS", "OLS"}
    floor : float
        Lowest predicted signal, as a fraction of the largest.

    Returns
    -------
    numpy.ndarray, shape (n_voxels, p)

    References
    ----------
    Chung, Lu and Henry (2006), doi:10.1016/j.neuroimage.2006.07.001
    """
    estimate = logs @ model.inverse
    if method == "OLS":
        return estimate
    weights = estimate @ model.design.T
    weights -= weights.max(axis=1, keepdims=True)
    np.maximum(weights, np.log(floor), out=weights)
    weights[floored] = np.log(floor)
    weights *= 2
    np.exp(weights, out=weights)
    normal = (weights @ model.products)[:, model.pairs]
    weights *= logs
    return np.linalg.solve(normal, (weights @ model.design)[..., None])[..., 0]


def map_chunks(fit_chunk, dwi, mask, volumes, maps, *, chunk_size, n_threads):
    """Fill maps voxel by voxel, holding one chunk of the scan per thread.

    Parameters
    ----------
    fit_chunk : callable
        Takes signals of shape (n_voxels, n), returns a dict of arrays whose
        first axis is voxels and whose keys are those of `maps`.
    dwi : numpy.ndarray, shape (X, Y, Z, N)
    mask : numpy.ndarray of bool, shape (X, Y, Z)
    volumes : numpy.ndarray of int, shape (n,)
        The volumes that enter the fit.
    maps : dict of numpy.ndarray, shape (X, Y, Z) or (X, Y, Z, k)
        Written in place.
    chunk_size, n_threads : int
    """
    voxels = _order_voxels(dwi, mask)
    every = volumes.size == dwi.shape[-1]
    jobs = partial(_fill_chunk, fit_chunk, dwi, None if every else volumes, maps)
    chunks = [
        tuple(axis[start : start + chunk_size] for axis in voxels)
        for start in range(0, voxels[0].size, chunk_size)
    ]
    if n_threads == 1:
        for chunk in chunks:
            jobs(chunk)
        return
    # numpy releases the interpreter lock in its loops, so threads share the scan for free.
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(jobs, chunks))


def _fill_chunk(fit_chunk, dwi, volumes, maps, where):
    signal = dwi[where]
    fitted = fit_chunk(signal if volumes is None else signal[:, volumes])
    for name, values in maps.items():
        values[where] = fitted[name]


def _order_voxels(dwi, mask):
    # Scans read from NIfTI run fastest along x: neighbours in memory share cache lines.
    if abs(dwi.strides[0]) < abs(dwi.strides[2]):
        return np.nonzero(mask.T)[::-1]
    return np.nonzero(mask)
