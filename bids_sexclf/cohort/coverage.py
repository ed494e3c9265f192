"""Coverage of each scan: voxels outside are unknown, and must not look like a measured 0."""

import numpy as np

from bids_sexclf import layout
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import load, release

LEAST_OF_REGION = 0.9
"""Share of a region that must be measured for its mean to be told."""

MASKS = {"t1w_template": "t1w_coverage"} | dict.fromkeys(
    ("tensor_template", "kurtosis_template", "noddi_template"), "dwi_coverage"
)
"""Entry of a map to that of the mask of what was measured; both lie on one grid."""


def find_coverage(derivatives, entry):
    """Find the coverage masks.

    Parameters
    ----------
    derivatives : path-like
    entry : str
        Of the map, in ``data/names.json``.

    Returns
    -------
    dict of tuple to str
        (participant_id, session_id) to path. Maps without a mask count as measured everywhere.
    """
    mask = MASKS.get(entry)
    masks = layout.find_derivatives(derivatives, mask) if mask else []
    return {(row["participant_id"], row["session_id"]): row["path"] for row in masks}


def read_coverage(derivatives, path, shape):
    """Read a coverage mask on the grid of a map.

    Parameters
    ----------
    derivatives : pathlib.Path
    path : str or None
    shape : tuple of int
        Of the map.

    Returns
    -------
    ndarray of bool, shape `shape`, or None
        None where everything was measured.

    Raises
    ------
    InputError
        If the mask lies on another grid than the map.
    """
    if path is None:
        return None
    covered = load(derivatives / path, ndim=3)[0] > 0.5
    if covered.shape != tuple(shape):
        raise InputError(f"{path} has shape {covered.shape}, needed that of its map, {shape}")
    return None if covered.all() else covered


def fill_gaps(array, gaps, left_out=()):
    """Replace unmeasured voxels of a participant by the mean of all others.

    So they contain no information on this participant, and no border of zeros. A voxel that is
    measured in nobody stays 0.

    Parameters
    ----------
    array : ndarray or memmap, shape (n, X, Y, Z)
        Changed.
    gaps : dict of int to ndarray of bool, shape (X, Y, Z)
        Row to the voxels that it has not measured; rows without any may be absent.
    left_out : iterable of int
        Rows that count for nothing.

    Returns
    -------
    ndarray of float64, shape (X, Y, Z)
        Mean of the rows that measured each voxel; 0 where none did.
    """
    gaps = {row: gap for row, gap in gaps.items() if gap.any() and row not in left_out}
    total, count = np.zeros(array.shape[1:]), np.zeros(array.shape[1:], int)
    for row in range(len(array)):
        if row not in left_out:
            total += np.where(gaps[row], 0, array[row]) if row in gaps else array[row]
            count += ~gaps[row] if row in gaps else 1
            release(array)
    mean = total / np.maximum(count, 1)
    for row, gap in gaps.items():
        array[row] = np.where(gap, mean, array[row])
        release(array)
    return mean


def share_of_regions(covered, parcellation, indices):
    """Return the measured share of each region.

    Parameters
    ----------
    covered : ndarray of bool, shape (X, Y, Z), or None
    parcellation : ndarray of int, shape (X, Y, Z)
    indices : array-like of int, shape (R,)

    Returns
    -------
    ndarray, shape (R,)
        Voxels measured in each region.
    ndarray, shape (R,)
        Voxels of each region.

    Examples
    --------
    >>> share_of_regions(np.array([True, False, True]), np.array([1, 1, 2]), [1, 2])
    (array([1, 1]), array([2, 1]))
    """
    indices = np.asarray(indices, int)
    size = 1 + max(int(parcellation.max(initial=0)), int(indices.max(initial=0)))
    whole = np.bincount(parcellation.astype(int).ravel(), minlength=size)
    if covered is None:
        return whole[indices], whole[indices]
    inside = np.bincount(parcellation[covered].astype(int), minlength=size)
    return inside[indices], whole[indices]
