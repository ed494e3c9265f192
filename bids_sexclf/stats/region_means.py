"""Average a map over the regions of an atlas."""

import numpy as np

from bids_sexclf.errors import GridError


def region_means(volume, parcellation, indices):
    """Average a map over each region, where the map has a value.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Zero and what is not finite mean "no value": off a skeleton, outside a participant's brain.
    parcellation : ndarray of int, shape (X, Y, Z)
        0 outside every region; on the grid of the volume.
    indices : array-like of int, shape (R,)
        Requested regions, from 1.

    Returns
    -------
    means : ndarray, shape (R,)
        In the map's units; NaN where no voxel of the region has a value.
    counts : ndarray of int, shape (R,)
        Number of voxels averaged.

    Raises
    ------
    GridError
        If the shapes differ.

    Examples
    --------
    >>> region_means(np.array([0, 2.0, 4.0, 7.0]), np.array([1, 1, 1, 3]), [1, 2, 3])
    (array([ 3., nan,  7.]), array([2, 0, 1]))
    """
    if volume.shape != parcellation.shape:
        raise GridError(
            f"Found a map of shape {volume.shape} and an atlas of {parcellation.shape}, needed one "
            "grid. Resample the atlas to the map's grid."
        )
    indices = np.asarray(indices, dtype=int)
    has_value = (parcellation > 0) & np.isfinite(volume) & (volume != 0)
    regions, values = parcellation[has_value].astype(int), volume[has_value].astype(float)
    size = 1 + max([*indices.tolist(), 0, *([int(regions.max())] if regions.size else [])])
    counts = np.bincount(regions, minlength=size)[indices]
    totals = np.bincount(regions, weights=values, minlength=size)[indices]
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan), counts


def pool(means, counts, groups):
    """Compute the mean over groups of regions, as if each group were one region.

    Parameters
    ----------
    means : ndarray, shape (R,)
    counts : ndarray of int, shape (R,)
    groups : iterable of list of int
        Positions of the members, from 0.

    Returns
    -------
    means : ndarray, shape (G,)
        Every voxel has the same weight; NaN where no member has a value.
    counts : ndarray of int, shape (G,)

    Examples
    --------
    >>> pool(np.array([1.0, 4.0, np.nan]), np.array([2, 1, 0]), [[0, 1], [2]])
    (array([ 2., nan]), array([3, 0]))
    """
    totals, groups = np.where(counts > 0, means, 0) * counts, [list(group) for group in groups]
    sizes = np.array([counts[group].sum() for group in groups], dtype=int)
    sums = np.array([totals[group].sum() for group in groups], dtype=float)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan), sizes
