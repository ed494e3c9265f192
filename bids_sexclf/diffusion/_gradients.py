"""Read b-values and b-vectors: check them, group them, turn them into a design."""

from collections import Counter
from itertools import combinations_with_replacement
from math import factorial, prod
from typing import NamedTuple

import numpy as np

from bids_sexclf.errors import InputError

UNIT_TOLERANCE = 1e-2
"""A b-vector may miss unit length by this much (text files round); dipy's tolerance."""

MAX_CONDITION = 300
"""Largest condition number of a design (columns scaled to unit length) that is fitted.

Schemes in use have 5 to 50 for a tensor and 20 to 130 for kurtosis; shells that differ only
by the scatter of the scanner's b-values have 500 and more.
"""


class Gradients(NamedTuple):
    """The checked gradients of the volumes that enter a fit.

    Attributes
    ----------
    bvals : numpy.ndarray, shape (n,)
        s/mm².
    bvecs : numpy.ndarray, shape (n, 3)
        Unit vectors; zero for b0 volumes without one.
    volumes : numpy.ndarray of int, shape (n,)
        Indices of these volumes in the scan.
    reference : numpy.ndarray of bool, shape (n,)
        The b0 volumes, or the lowest shell of a scan without any.
    """

    bvals: np.ndarray
    bvecs: np.ndarray
    volumes: np.ndarray
    reference: np.ndarray


def find_shells(bvals, b0_threshold=50, tolerance=100):
    """Group the diffusion-weighted volumes of a scan into shells.

    Sorted b-values belong to one shell as long as each is within `tolerance`
    of the one before it.

    Parameters
    ----------
    bvals : array-like, shape (N,)
        b-values, s/mm².
    b0_threshold : float, default 50
        Volumes up to this b-value (s/mm²) are b0 volumes and in no shell.
    tolerance : float, default 100
        Largest step between neighbours within one shell, s/mm².

    Returns
    -------
    list of tuple (float, numpy.ndarray)
        Mean b-value and ascending volume indices of each shell, lowest first.

    Examples
    --------
    >>> find_shells([5, 995, 1005, 2000])
    [(1000.0, array([1, 2])), (2000.0, array([3]))]
    """
    bvals = np.asarray(bvals, dtype=float)
    order = np.argsort(bvals, kind="stable")
    order = order[bvals[order] > b0_threshold]
    if order.size == 0:
        return []
    steps = np.flatnonzero(np.diff(bvals[order]) > tolerance) + 1
    return [(float(bvals[part].mean()), np.sort(part)) for part in np.split(order, steps)]


def check_gradients(dwi, bvals, bvecs, b0_threshold):
    """Check the gradients of a scan, and return them as float arrays.

    Parameters
    ----------
    dwi : numpy.ndarray or sliceable, shape (X, Y, Z, N)
    bvals : array-like, shape (N,)
        s/mm².
    bvecs : array-like, shape (N, 3)
        Unit vectors; those of b0 volumes may be anything and count as zero
        unless they are unit.
    b0_threshold : float
        s/mm².

    Returns
    -------
    Gradients

    Raises
    ------
    InputError
        With every fault found.
    """
    bvals = np.asarray(bvals, dtype=float)
    bvecs = np.asarray(bvecs, dtype=float)
    _check_shapes(dwi, bvals, bvecs)
    _check_values(bvals, bvecs, b0_threshold)
    length = np.linalg.norm(bvecs, axis=1)
    unit = np.abs(length - 1) <= UNIT_TOLERANCE
    bvecs = np.where(unit[:, None], bvecs / np.where(unit, length, 1)[:, None], 0.0)
    reference = bvals <= b0_threshold
    if not reference.any():
        reference[find_shells(bvals, b0_threshold)[0][1]] = True
    return Gradients(bvals, bvecs, np.arange(bvals.size), reference)


def _check_shapes(dwi, bvals, bvecs):
    faults = []
    if dwi.ndim != 4 or dwi.dtype.kind not in "biuf":
        faults.append(
            f"dwi has shape {dwi.shape} and type {dwi.dtype}; real numbers of shape (X, Y, Z, N) "
            f"are needed; pass the whole scan, volumes last"
        )
    n = dwi.shape[-1] if dwi.ndim == 4 else bvals.size
    if bvals.shape != (n,) or n == 0:
        faults.append(
            f"bvals has shape {bvals.shape} for {n} volumes; one b-value per volume is needed; "
            f"check that the .bval file belongs to this scan"
        )
    if bvecs.shape != (n, 3):
        hint = "transpose it" if bvecs.shape == (3, n) else "check that .bvec belongs to this scan"
        faults.append(f"bvecs has shape {bvecs.shape} for {n} volumes; ({n}, 3) is needed; {hint}")
    _raise_all(faults)


def _check_values(bvals, bvecs, b0_threshold):
    faults = []
    impossible = np.flatnonzero(~(np.isfinite(bvals) & (bvals >= 0)))
    if impossible.size:
        faults.append(
            f"b-values of volumes {impossible.tolist()} are {bvals[impossible].tolist()}; finite "
            f"values of at least 0 s/mm² are needed; correct the .bval file"
        )
    length = np.linalg.norm(bvecs, axis=1)
    crooked = np.flatnonzero((bvals > b0_threshold) & ~(np.abs(length - 1) <= UNIT_TOLERANCE))
    if crooked.size:
        faults.append(
            f"b-vectors of volumes {crooked.tolist()} have lengths "
            f"{np.round(length[crooked], 3).tolist()}; length 1 is needed where b is over "
            f"{b0_threshold} s/mm²; correct the .bvec file, or remove these volumes (a "
            f"trace-weighted image has no direction)"
        )
    _raise_all(faults)


def _raise_all(faults):
    if faults:
        raise InputError(". ".join(faults) + ".")


def limit_bvals(gradients, b_max):
    """Return the gradients of the volumes up to `b_max` s/mm² (None: all)."""
    if b_max is None:
        return gradients
    keep = gradients.bvals <= b_max
    return Gradients(*(part[keep] for part in gradients))


def symmetric_indices(order):
    """Return the sorted index tuples that name the elements of a symmetric 3-D tensor."""
    return list(combinations_with_replacement(range(3), order))


def multiplicities(order):
    """Return how often each element of `symmetric_indices` occurs in the full tensor.

    A column of shape (n_elements, 1), to be multiplied with elements of shape (n_elements, n).
    """
    return np.array(
        [
            [factorial(order) / prod(factorial(n) for n in Counter(index).values())]
            for index in symmetric_indices(order)
        ]
    )


def powers_of(b_power, order):
    """Return the powers of b and of the gradient that multiply the elements of a tensor.

    Parameters
    ----------
    b_power : int
        Of b in every row.
    order : int
        Of the tensor: 2 gives 6 rows, 4 gives 15, 0 gives one.

    Returns
    -------
    numpy.ndarray of int, shape (n_elements, 4)

    Examples
    --------
    >>> powers_of(1, 2)[:2].tolist()
    [[1, 2, 0, 0], [1, 1, 1, 0]]
    """
    rows = [[index.count(axis) for axis in range(3)] for index in symmetric_indices(order)]
    return np.insert(np.array(rows), 0, b_power, axis=1)


def monomials(gradients, powers):
    """Return products of powers of b (ms/µm²) and the components of the gradient.

    Parameters
    ----------
    gradients : Gradients
        Of n volumes.
    powers : numpy.ndarray of int, shape (p, 4)

    Returns
    -------
    numpy.ndarray, shape (n, p)
    """
    # b in ms/µm² keeps all columns near 1, which the normal equations need.
    variables = np.stack([gradients.bvals / 1000, *gradients.bvecs.T])
    table = np.cumprod([np.ones_like(variables), *[variables] * powers.max()], axis=0)
    return table[powers, [0, 1, 2, 3]].prod(axis=1).T


def find_rank(design):
    """Return how many unknowns a design of shape (n, p) determines well enough to fit."""
    scale = np.linalg.norm(design, axis=0)
    values = np.linalg.svd(design / np.where(scale > 0, scale, 1), compute_uv=False)
    return int(np.count_nonzero(values * MAX_CONDITION >= values.max(initial=1)))


def check_design(design, model, needed):
    """Return the design if it determines every unknown, else raise InputError.

    Parameters
    ----------
    design : numpy.ndarray, shape (n, p)
    model, needed : str
        The model that is fitted and the data it needs, for the message.
    """
    n, p = design.shape
    rank = find_rank(design)
    if rank < p:
        raise InputError(
            f"The {n} volumes determine {rank} of the {p} unknowns of the {model}; {needed} are "
            f"needed; use a scan with more directions or b-values, or a simpler model."
        )
    return design
