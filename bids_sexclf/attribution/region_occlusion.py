"""Replace one region after the other by one value, and see what evidence is lost.

References
----------
Chen J, et al. Deep learning with diffusion MRI as in vivo microscope reveals sex-related
differences in human white matter microstructure. Sci Rep 2024.
doi:10.1038/s41598-024-60340-y
"""

import numpy as np

from bids_sexclf.errors import GridError, InputError

YIELDS = "regions"
MEMORY = 64 * 2**20
"""Bytes of occluded copies held at once; one copy is held even where it is larger."""


def attribute(evidence, volume_rows, parcellation, fills, progress=None):
    """Give the evidence of whole volumes and of volumes without each region.

    The drop of a region is ``logit - logit_occluded``. Positive: the region spoke for male.
    Negative: it spoke for female. To ask for the true class, flip the sign for women.

    Parameters
    ----------
    evidence : callable
        Volumes (k, X, Y, Z) to logits (k,); positive speaks for male.
    volume_rows : volumes.Rows or ndarray, shape (n, X, Y, Z), or volumes.Channels
        Raw volumes of the participants; read one by one. A region is replaced in all channels.
    parcellation : ndarray of int, shape (X, Y, Z)
        Atlas indices; 0 is background.
    fills : array-like, shape (n,) or (n, channels)
        What replaces the voxels of a region in each participant, in units of the map.
    progress : callable, optional
        Called after each participant with ``done`` and ``total``.

    Returns
    -------
    logit : ndarray of float64, shape (n,)
    logit_occluded : ndarray of float64, shape (n, n_regions)
        Regions in ascending order of the indices in `parcellation`.

    Raises
    ------
    GridError
        If the parcellation lies on another grid.
    InputError
        If it holds no region, or fills do not fit.

    Notes
    -----
    A drop says what this model makes of this region, given this fill: not what the region
    alone could tell, and not what caused the difference.

    References
    ----------
    Chen 2024, doi:10.1038/s41598-024-60340-y, fill with the mean of the white matter. They
    follow the probability of the true class, which saturates; here it is the logit for male.

    Examples
    --------
    >>> total = lambda volumes: volumes.sum((1, 2, 3))
    >>> attribute(total, np.ones((1, 3, 1, 1)), np.array([2, 1, 1])[:, None, None], [0.0])
    (array([3.]), array([[1., 2.]]))
    """
    parcellation = _checked_parcellation(parcellation, volume_rows.shape[-3:])
    fills = _checked_fills(fills, volume_rows.shape)
    places = [np.flatnonzero(parcellation == index) for index in find_regions(parcellation)]
    logit = np.empty(len(volume_rows))
    logit_occluded = np.empty((len(volume_rows), len(places)))
    for row, fill in enumerate(fills):
        volume = np.asarray(volume_rows[row], dtype=np.float32)
        logit[row] = _evaluated(evidence, volume[None])[0]
        logit_occluded[row] = _without_each(evidence, volume, places, fill, logit[row])
        if progress is not None:
            progress(done=row + 1, total=len(fills))
    return logit, logit_occluded


def find_regions(parcellation):
    """Find the regions of a parcellation.

    Parameters
    ----------
    parcellation : ndarray of int, shape (X, Y, Z)
        Atlas indices; 0 is background.

    Returns
    -------
    ndarray of int
        The indices present, ascending, without the background 0.
    """
    indices = np.unique(parcellation)
    return indices[indices != 0]


def _without_each(evidence, volume, places, fill, whole):
    """Give the evidence without each region; `whole` where the fill changes nothing."""
    occluded = np.full(len(places), whole, dtype=np.float64)
    # Channels, a single one too, by voxels.
    flat = volume.reshape(-1, np.prod(volume.shape[-3:]))
    fill = np.broadcast_to(np.asarray(fill, volume.dtype), len(flat))[:, None]
    changed = [region for region, place in enumerate(places) if (flat[:, place] != fill).any()]
    step = max(1, MEMORY // volume.nbytes)
    for start in range(0, len(changed), step):
        some = changed[start : start + step]
        copies = np.repeat(flat[None], len(some), axis=0)
        for copy, region in zip(copies, some, strict=True):
            copy[:, places[region]] = fill
        occluded[some] = _evaluated(evidence, copies.reshape(-1, *volume.shape))
    return occluded


def _evaluated(evidence, volumes):
    logits = np.asarray(evidence(volumes), dtype=np.float64)
    if logits.shape != (len(volumes),):
        raise InputError(
            f"Found evidence of shape {logits.shape} for {len(volumes)} volumes, needed one logit "
            "each. Pass a function from (k, X, Y, Z) to (k,)."
        )
    return logits


def _checked_parcellation(parcellation, grid):
    parcellation = np.asarray(parcellation)
    if parcellation.shape != tuple(grid):
        raise GridError(
            f"Found a parcellation of shape {parcellation.shape} for volumes of {tuple(grid)}, "
            "needed one grid. Carry the atlas to the grid of the maps."
        )
    if parcellation.dtype.kind not in "iu" or not parcellation.any():
        raise InputError(
            f"Found a parcellation of {parcellation.dtype} with {np.count_nonzero(parcellation)} "
            "voxels in regions, needed whole numbers and at least one region. Choose another "
            "atlas, or a finer grid."
        )
    return parcellation


def _checked_fills(fills, shape):
    fills, n_participants = np.asarray(fills, dtype=np.float64), shape[0]
    needed = [(n_participants,), tuple(shape[:2])] if len(shape) == 5 else [(n_participants,)]
    if fills.shape not in needed or not np.isfinite(fills).all():
        raise InputError(
            f"Found fills of shape {fills.shape}, {(~np.isfinite(fills)).sum()} of them not "
            f"finite, for {n_participants} participants; needed one number each. Check the mask "
            "they are averaged over."
        )
    return fills
