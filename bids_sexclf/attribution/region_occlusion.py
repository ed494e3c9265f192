"""Region occlusion: replace each region, and compute the loss of evidence.

References
----------
Zeiler MD, Fergus R. Visualizing and understanding convolutional networks. ECCV 2014.
doi:10.1007/978-3-319-10590-1_53

Chen J, et al. Deep learning with diffusion MRI as in vivo microscope reveals sex-related
differences in human white matter microstructure. Sci Rep 2024.
doi:10.1038/s41598-024-60340-y
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate, find_regions
from bids_sexclf.errors import GridError, InputError

NEEDS = {"evidence", "parcellation", "fill"}
YIELDS = "regions"
SCOPE = "participant"
UNIT = "evidence"
EXACT_ON_LINEAR = True
EXACT_ZERO = True
MEMORY = 64 * 2**20
"""Bytes of occluded copies held at once; one copy is held even where it is larger."""


def attribute(rows, view):
    """Compute the evidence of whole volumes, and its loss without each region.

    The value of a region is ``evidence - evidence without the region``. A positive value supports
    male (or older). For the true class, flip the sign for women.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, X, Y, Z), or volumes.Channels
        Raw volumes of the participants; read one by one. A region is replaced in all channels.
    view : attribution.View
        Evidence, parcellation and fill are read, and ``near`` where there is one.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (draws, regions): one draw per replacement that the fill offers;
        regions in ascending order of the atlas indices.

    Raises
    ------
    GridError
        If the parcellation lies on another grid.
    InputError
        If it holds no region, or a replacement does not fit.

    Notes
    -----
    A value describes the use of this region by this model, given this fill. It does not show the
    information in the region alone, nor the cause of the difference.

    Examples
    --------
    >>> from bids_sexclf.attribution import View
    >>> from bids_sexclf.fills import Replacement
    >>> zero = lambda volume, row: [Replacement(0 * volume)]
    >>> labels = np.array([2, 1, 1])[:, None, None]
    >>> view = View(lambda volumes: volumes.sum((1, 2, 3)), labels > 0, labels, zero)
    >>> answer = next(attribute(np.ones((1, 3, 1, 1)), view))
    >>> answer.evidence, answer.values.tolist()
    (3.0, [[2.0, 1.0]])
    """
    parcellation = _check_parcellation(view.parcellation, rows.shape[-3:])
    index = find_regions(parcellation)
    labels = parcellation.ravel()
    places = {region: np.flatnonzero(labels == region) for region in index}
    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        whole = float(evaluate(view.evidence, volume[None])[0])
        replacements = view.fill(volume, row)
        evidence = view.near(volume) if view.near and replacements else view.evidence
        values = np.zeros((len(replacements), len(index)))
        for draw, replacement in enumerate(replacements):
            put_in = _check_replacement(replacement.volume, volume)
            changed, occluded = _without_each(evidence, volume, labels, places, put_in)
            values[draw, np.searchsorted(index, changed)] = whole - occluded
        yield Answer(
            whole,
            values,
            index,
            tuple(replacement.source for replacement in replacements),
            tuple(replacement.weight for replacement in replacements),
        )


def _without_each(evidence, volume, labels, places, put_in):
    """Compute the evidence without each region that the fill changes.

    Returns
    -------
    changed : ndarray of int
        Atlas indices of the changed regions; for others the evidence is that of the whole volume.
    occluded : ndarray of float64, the same shape
    """
    # Channels, a single one too, by voxels.
    flat = volume.reshape(-1, labels.size)
    put_in = put_in.reshape(flat.shape)
    changed = np.unique(labels[(flat != put_in).any(axis=0)])
    changed = changed[changed != 0]
    occluded = np.empty(len(changed))
    step = max(1, MEMORY // volume.nbytes)
    for start in range(0, len(changed), step):
        batch = changed[start : start + step]
        copies = np.repeat(flat[None], len(batch), axis=0)
        for copy, region in zip(copies, batch, strict=True):
            copy[:, places[region]] = put_in[:, places[region]]
        occluded[start : start + step] = evaluate(evidence, copies.reshape(-1, *volume.shape))
    return changed, occluded


def _check_parcellation(parcellation, grid):
    parcellation = np.asarray(parcellation)
    if parcellation.shape != tuple(grid):
        raise GridError(
            f"Found a parcellation of shape {parcellation.shape} for volumes of {tuple(grid)}, "
            "needed one grid. Resample the atlas to the grid of the maps."
        )
    if parcellation.dtype.kind not in "iu" or not parcellation.any():
        raise InputError(
            f"Found a parcellation of {parcellation.dtype} with {np.count_nonzero(parcellation)} "
            "voxels in regions, needed whole numbers and at least one region. Choose another "
            "atlas, or a finer grid."
        )
    return parcellation


def _check_replacement(put_in, volume):
    put_in = np.asarray(put_in, dtype=volume.dtype)
    if put_in.shape != volume.shape or not np.isfinite(put_in).all():
        raise InputError(
            f"Found a fill of shape {put_in.shape} with {(~np.isfinite(put_in)).sum()} values that "
            f"are not finite for a volume of {volume.shape}; needed one finite value per voxel. "
            "Check the fill, and the maps of the people it is made from."
        )
    return put_in
