"""Correct the outline of the template's brain mask where it cuts through the brain of a scan."""

import numpy as np

DEPTHS = np.arange(-6, 8.01, 0.5)
"""Depths of rays across the outline, mm outwards. 8 mm is more than the largest registration error
seen so far, and less than the distance to the scalp."""

APART = 3.0
"""Between rays, mm: less than half the width of a gyrus."""

AROUND = 25.0
"""Radius of the neighbourhood of a decision, mm: more than patches of bone that look like tissue,
in which bright marrow lies behind a very thin layer of bone."""

TISSUE = 0.8
"""Voxels darker than this share of the median signal within the outline nearby may not be brain
but fluid, dura, or marrow behind a thin layer of bone."""

LEAST = 2.0
"""Tissue that extends less beyond the outline, mm, is ignored: good outlines are that accurate."""

GAP = 0.75
"""A gap is darker than this share of the tissue before it. Fluid and bone are far darker, but a
thin skull fills a part of a voxel only."""

SMOOTH = 4.0
"""Standard deviation, mm, of the Gaussian that smooths the results of neighbourhoods."""


def cut_level(t1w, distance, inside, voxel_size):
    """Return the distance at which to threshold, so that the mask does not cut the brain.

    Rays cross the outline at right angles. On rays that start in bright tissue, the tissue should
    end at the outline. If on most rays of a neighbourhood the tissue continues for at least 2 mm
    and a dark gap follows, the outline is moved to the end of the tissue. Where no gap follows, as
    at the neck, or where few rays cross tissue, the outline stays. It is never moved inwards.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    distance : ndarray, shape (X, Y, Z)
        mm outside the template's mask, carried to the scan.
    inside : ndarray of bool, shape (X, Y, Z)
        Where it is below zero, without holes.
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        In the units of `distance`; 0 nearly everywhere, and 0 everywhere if the outline is good.
    """
    from scipy import ndimage

    voxel_size = np.asarray(voxel_size, float)
    level = np.zeros(distance.shape, np.float32)
    starts = _starts(inside, voxel_size)
    ray_levels = _levels(t1w, distance, starts, voxel_size)
    if not ray_levels.any():
        return level
    reach = np.ceil(5 * SMOOTH / voxel_size).astype(int)
    low = np.maximum(starts[ray_levels > 0].min(axis=0) - reach, 0)
    high = np.minimum(starts[ray_levels > 0].max(axis=0) + reach + 1, level.shape)
    near = ((starts >= low) & (starts < high)).all(axis=1)
    total, count = np.zeros((2, *(high - low)), np.float32)
    place = tuple((starts[near] - low).T)
    total[place], count[place] = ray_levels[near], 1
    width = SMOOTH / voxel_size
    total, count = (ndimage.gaussian_filter(part, width, truncate=3) for part in (total, count))
    box = tuple(map(slice, low, high))
    np.divide(total, count, out=level[box], where=count > 0)
    return level


def _starts(inside, voxel_size):
    """Return voxels of the outline, one for each cube of 3 mm."""
    from scipy import ndimage

    # Beyond the image there is no signal.
    edge = np.argwhere(inside & ~ndimage.binary_erosion(inside, border_value=1))
    _, first = np.unique((edge * voxel_size // APART).astype(int), axis=0, return_index=True)
    return edge[np.sort(first)]


def _levels(t1w, distance, starts, voxel_size):
    """Return the threshold of each neighbourhood, mm; 0 where the outline should stay."""
    from scipy.spatial import cKDTree

    across = np.eye(3) * 3 / voxel_size  # mm; less would show the steps of the template's voxels
    outward = _look(distance, starts[:, None] + across) - _look(distance, starts[:, None] - across)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    # Depths count from distance zero, which lies up to a voxel outside the mask.
    short = np.clip(-_look(distance, starts), 0, max(voxel_size))
    rays = starts[:, None] + outward[:, None] * (short[:, None] + DEPTHS)[..., None] / voxel_size
    signal, levels = _look(t1w, rays), _look(distance, rays)
    places = starts * voxel_size
    neighbours = min(len(starts), int(2 * np.pi * (AROUND / APART) ** 2))
    _, nearby = cKDTree(places).query(places, range(1, neighbours + 1), distance_upper_bound=AROUND)
    usual = np.median(signal[:, DEPTHS <= -2], axis=1)
    usual = np.nanmedian(np.append(usual, np.nan)[nearby], axis=1)[:, None]
    wanted = _wanted(np.where(usual > 0, signal / np.where(usual > 0, usual, 1), 0), levels)
    votes = np.append(wanted, np.nan)[nearby]
    enough = np.isfinite(votes).sum(axis=1) >= 0.25 * (nearby < len(starts)).sum(axis=1)
    ray_levels = np.zeros(len(starts))
    ray_levels[enough] = np.nanmedian(votes[enough], axis=1)
    return np.maximum(ray_levels, 0)


def _wanted(signal, levels):
    """Return the threshold that each ray suggests, mm; NaN on rays that cross no tissue."""
    within = signal[:, (DEPTHS >= -5) & (DEPTHS <= -3)]
    across = signal[:, (DEPTHS >= -2) & (DEPTHS <= LEAST)]
    tissue, gap = np.median(across, axis=1), signal[:, DEPTHS >= LEAST].min(axis=1)
    goes_on = (across.min(axis=1) > TISSUE) & (gap < GAP * tissue)
    # Good outlines lie where the signal has nearly fallen to that of the gap.
    ended = (signal < (tissue / 4 + gap * 3 / 4)[:, None]) & (DEPTHS > 0)
    wanted = np.where(goes_on, levels[np.arange(len(levels)), ended.argmax(axis=1)], 0.0)
    return np.where(within.min(axis=1) > TISSUE, wanted, np.nan)


def _look(volume, places):
    """Interpolate a volume at places (..., 3), in voxels."""
    from scipy import ndimage

    sampled = ndimage.map_coordinates(volume, places.reshape(-1, 3).T, order=1, mode="nearest")
    return sampled.reshape(places.shape[:-1])
