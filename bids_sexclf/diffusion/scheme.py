"""Read the b-values and b-vectors of a series from their files, and list their faults."""

import numpy as np

from bids_sexclf.cells import to_numbers
from bids_sexclf.disk import read_small
from bids_sexclf.errors import InputError

B0_THRESHOLD = 50.0
"""Largest b-value of a b0 volume by default, s/mm²."""

LOWEST_B, HIGHEST_B = 200, 50_000
"""Range of the largest b-value of a series to which a tensor can be fitted, s/mm²."""

UNITS = {"s/m²": 1e-6, "ms/µm²": 1e3}
"""Other units of b-values that occur, with the factor to s/mm²."""

LARGEST_FILE = 10**7
"""Largest size of a file of gradients, bytes."""


def read_bvals(path):
    """Read the b-values of a series, in one line or several.

    Parameters
    ----------
    path : path-like
        Numbers with blanks, tabs, commas or semicolons between them.

    Returns
    -------
    ndarray of float, shape (N,)
        s/mm².

    Raises
    ------
    InputError
        If the file is absent or empty, or holds something that is not a number.
    """
    return np.array([value for row in _read_rows(path, "b-values") for value in row])


def read_gradients(bval, bvec):
    """Read the b-values and b-vectors of a series.

    Parameters
    ----------
    bval, bvec : path-like
        As FSL and BIDS write them: three lines of x, y, z; one line per volume is read too.

    Returns
    -------
    bvals : ndarray of float, shape (N,)
        s/mm².
    bvecs : ndarray of float, shape (M, 3)
        Zero where the file holds NaN, as it may for b0 volumes. M is N in a sound pair of files.

    Raises
    ------
    InputError
        If a file is absent or empty, or holds something that is not a number; if the b-vectors
        are not a table of three lines or three columns; if a vector is infinite or incomplete.
    """
    bvals, rows = read_bvals(bval), _read_rows(bvec, "b-vectors")
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1 or 3 not in (len(rows), lengths[0]):
        raise InputError(
            f"Found {bvec} with {len(rows)} lines of {' and '.join(map(str, lengths))} numbers, "
            "needed three lines (x, y, z) of one number per volume. Write the b-vectors again."
        )
    bvecs = np.array(rows)
    by_line = len(rows) == 3 and (lengths[0] != 3 or len(bvals) == 3)
    bvecs = bvecs.T if by_line else bvecs
    unknown = np.isnan(bvecs)
    wrong = (unknown.any(1) & ~unknown.all(1)) | np.isinf(bvecs).any(1)
    if wrong.any():
        raise InputError(
            f"Found {bvec} with {wrong.sum()} b-vectors that are infinite, or of which only a part "
            "is a number; needed x, y and z. Write the b-vectors again."
        )
    return bvals, np.nan_to_num(bvecs)


def _read_rows(path, kind):
    """Read the numbers of each line of a text file that is not empty."""
    try:
        text = read_small(path, LARGEST_FILE).decode("utf-8-sig")
        lines = [line.partition("#")[0].replace(",", " ").replace(";", " ").split()
                 for line in text.splitlines()]  # fmt: skip
        rows = [to_numbers(line).tolist() for line in lines if line]
    except (OSError, ValueError) as fault:  # UnicodeDecodeError is a ValueError
        reason = getattr(fault, "strerror", None) or str(fault)[:200]
        raise InputError(
            f"Found {path}, from which {kind} cannot be read ({reason}); needed numbers with "
            "blanks between them. Write the file again, or fetch it (datalad get)."
        ) from fault
    if not rows:
        raise InputError(
            f"Found {path} without any number, needed {kind}. Write the file again, or fetch it."
        )
    return rows


def find_b0(bvals, b0_threshold=B0_THRESHOLD):
    """Return which volumes are b0 volumes.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm².
    b0_threshold : float
        Largest b-value of a b0 volume, s/mm².

    Returns
    -------
    ndarray of bool, shape (N,)
        Volumes up to the threshold; where there is none, those of the lowest b-value.

    Examples
    --------
    >>> find_b0(np.array([0, 60, 1000])).tolist(), find_b0(np.array([60, 1000])).tolist()
    ([True, False, False], [True, False])
    """
    return bvals <= max(b0_threshold, bvals.min())


def find_traces(bvals, bvecs, b0_threshold=B0_THRESHOLD):
    """Return which volumes are trace images: weighted means without a direction.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
    b0_threshold : float
        s/mm².

    Returns
    -------
    ndarray of bool, shape (N,)
        All False where no weighted volume has a direction: then the file is wrong.
    """
    weighted, directed = bvals > b0_threshold, np.linalg.norm(bvecs, axis=1) > 1e-6
    if not (weighted & directed).any():
        return np.zeros(len(bvals), bool)
    return weighted & ~directed


def scheme_faults(bvals, bvecs, b0_threshold=B0_THRESHOLD):
    """List the faults of the gradients of a series.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
        Without trace volumes.
    b0_threshold : float
        s/mm².

    Returns
    -------
    list of str
        Texts to be written after the name of the series.
    """
    from bids_sexclf.diffusion.tensor import fit_tensor

    wrong = bvals[~(np.isfinite(bvals) & (bvals >= 0))]
    if wrong.size:
        return [f"has b-values such as {wrong[0]:g}, needed numbers of at least 0 s/mm²"]
    faults = _unit_faults(float(bvals.max()))
    if not faults and bvals.min() > b0_threshold:
        faults.append(
            f"has no b=0 volume (lowest b-value {bvals.min():g}), needed one at most "
            f"{b0_threshold:g}; --b0-threshold chooses another limit"
        )
    length = np.linalg.norm(bvecs[bvals > b0_threshold], axis=1)
    crooked = int((~(np.abs(length - 1) < 0.05)).sum())
    if crooked and not faults:
        faults.append(f"has {crooked} b-vectors that are not of unit length")
    if not faults:
        try:  # fitting one voxel runs the checks of the fit itself, so no second rule is needed
            voxel = np.ones((1, 1, 1, len(bvals)))
            fit_tensor(voxel, bvals, np.nan_to_num(bvecs), b0_threshold=b0_threshold)
        except InputError as fault:
            faults.append(f"cannot determine a tensor: {fault}")
    return faults


def _unit_faults(highest):
    """List a fault where the largest b-value cannot be in s/mm²."""
    if LOWEST_B <= highest <= HIGHEST_B:
        return []
    words = f"has {highest:g} as its largest b-value, needed {LOWEST_B} to {HIGHEST_B} s/mm²"
    if highest == 0:
        return [f"{words}: no volume is diffusion-weighted"]
    likely = [
        f"; if they are in {unit}, multiply the .bval file by {factor:g}"
        for unit, factor in UNITS.items()
        if LOWEST_B <= highest * factor <= HIGHEST_B
    ]
    return [words + "".join(likely)]
