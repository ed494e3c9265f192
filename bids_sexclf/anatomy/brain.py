"""Masks and quality numbers of a head: arrays in, arrays and numbers out."""

import numpy as np

from bids_sexclf.anatomy.outline import cut_level
from bids_sexclf.errors import InputError


def ball(radius, voxel_size):
    """Make a ball-shaped structuring element.

    Parameters
    ----------
    radius : float
        mm.
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    ndarray of bool
        Odd in each axis; its middle is the centre.
    """
    reach = [int(np.floor(radius / size + 1e-6)) for size in voxel_size]
    axes = [np.arange(-n, n + 1) * size for n, size in zip(reach, voxel_size, strict=True)]
    squares = np.meshgrid(*[axis**2 for axis in axes], indexing="ij")
    return sum(squares) <= radius**2 + 1e-6


LARGEST_BRAIN_ML = 2200
"""Volume inside the dura that no healthy head exceeds; heads with skin, face and neck start at
about 3000 ml in adults."""

LEAST_BRAIN_ML = 200
"""Volume inside the dura below which no mask is believed; newborns have about 400 ml."""


def distance_outside(mask, voxel_size):
    """Measure how far each voxel lies outside a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        mm from the faces of the mask's outermost voxels; negative inside. Unlike the mask, it can
        be interpolated on another grid and thresholded at any distance.
    """
    from scipy import ndimage

    half = float(np.mean(voxel_size)) / 2
    outside, inside = (
        ndimage.distance_transform_edt(part, sampling=voxel_size) for part in (~mask, mask)
    )
    return outside - inside + np.where(mask, half, -half)


def carried_mask(t1w, distance, voxel_size):
    """Make a brain mask from the template's distance on the scan, and check that it holds a brain.

    The threshold is zero, and larger only where zero would cut through the brain, see
    `bids_sexclf.anatomy.outline.cut_level`.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    distance : ndarray, shape (X, Y, Z)
        mm outside the template's mask, see `distance_outside`.
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        One part without holes.

    Raises
    ------
    InputError
        If the mask is empty, or its inside has no signal.
    """
    from scipy import ndimage

    core = t1w[distance < -6]
    tissue = float(np.median(core)) if core.size else 0.0
    if not tissue > 0:
        raise InputError(
            f"Found a brain mask of {int((distance < 0).sum())} voxels whose inside has "
            f"median signal {tissue:g}, needed a head whose brain has signal. Look at the scan: "
            "the registration to the template's head has failed, or the image is not a T1w of a "
            "whole head."
        )
    inside = ndimage.binary_fill_holes(largest_part(distance < 0))
    level = cut_level(t1w, distance, inside, voxel_size)
    if not level.any():
        return inside
    return ndimage.binary_fill_holes(largest_part(inside | (distance < level)))


def is_stripped(t1w, voxel_size):
    """Return whether a T1w holds only a brain, without the skull.

    This is so if the voxels above the lowest value of the image form one piece that is no larger
    than a brain, is surrounded by empty voxels, and has signal up to its rim. A whole head, also
    one that is defaced or has an empty background, is more than twice as large.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    bool

    Notes
    -----
    The size is that of adults: an infant's head whose background is empty can be as small as an
    adult's brain.
    """
    from scipy import ndimage

    region = _filled(t1w)
    volume = region.sum() * np.prod(voxel_size) / 1000
    if not 0 < volume <= LARGEST_BRAIN_ML:
        return False
    around = ndimage.binary_dilation(region, ball(6, voxel_size)) & ~region
    inner = ndimage.binary_erosion(region, ball(max(3, 1.05 * max(voxel_size)), voxel_size))
    signal = t1w - t1w.min()
    rim = np.median(signal[region & ~inner])
    return bool((signal[around] == 0).mean() > 0.9 and rim > 0.2 * np.median(signal[inner]))


def stripped_mask(t1w):
    """Return the brain mask of a T1w without its skull: the voxels that are not empty.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)

    Raises
    ------
    InputError
        If no voxel is empty, so that the brain has no outline.
    """
    mask = _filled(t1w)
    if not mask.any() or mask.all():
        raise InputError(
            f"Found a T1w in which {int(mask.sum())} of {mask.size} voxels are not empty, needed "
            "a brain with an empty background, since --skull-strip skip, or auto, takes it as "
            "already stripped. Use --skull-strip force."
        )
    return mask


def _filled(t1w):
    """Return the largest part of the voxels that are not empty, without holes and thin threads."""
    from scipy import ndimage

    return ndimage.binary_fill_holes(largest_part(ndimage.binary_opening(t1w > t1w.min())))


def largest_part(mask):
    """Keep the largest connected part of a mask.

    Parameters
    ----------
    mask : ndarray of bool

    Returns
    -------
    ndarray of bool
    """
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


TREND = 50.0
"""Width, mm (full, at half maximum), of the trend that head coils lay over a b0: a narrower one
would lift the dim scalp to the brain's brightness."""

NECK = 8.0
"""Radius, mm, of a ball that does not fit into a bridge from the brain to eyes or face."""

GAP = 4.0
"""Half the width, mm, of gaps in the brain's outline that are closed."""


DARK = 0.35
"""Share of the brain's signal nearby below which a voxel at the rim of a b0 mask is bone or air."""

PEEL = 6.0
"""Depth, mm, to which such voxels are removed; deeper dark voxels are lost signal."""


def b0_mask(b0, voxel_size):
    """Mask the brain on a diffusion scan's mean b0.

    The signal is divided by its own smooth trend (50 mm), since head coils leave the deep brain
    dark; then Otsu's threshold on the median-filtered volume (dipy's ``median_otsu``), and the
    largest part that remains connected when thin bridges, as to the eyes, are cut. Voxels at its
    rim that are as dark as bone are then removed: the median filter blurs the vertex, and at the
    last slice it sees only the wider slices below.

    Parameters
    ----------
    b0 : ndarray, shape (X, Y, Z)
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        Without holes.

    Raises
    ------
    InputError
        If no part is bright enough.
    """
    from dipy.segment.mask import median_otsu
    from scipy import ndimage

    b0 = np.nan_to_num(b0)
    head = b0 > 0.15 * np.percentile(b0, 98)
    width = TREND / 2.3548 / np.asarray(voxel_size)
    near = np.maximum(ndimage.gaussian_filter(head.astype(float), width), 1e-3)
    trend = ndimage.gaussian_filter(np.where(head, b0, 0), width) / near
    flat = np.where(head, b0 / np.maximum(trend, 1e-6), 0)
    # Eyes and vessels must not raise the threshold.
    top = np.percentile(flat[head], 98) if head.any() else 0
    _, mask = median_otsu(np.minimum(flat, top), median_radius=2, numpass=2)
    if not mask.any():
        raise InputError(
            "Found a mean b0 in which no brain stands out, needed signal well above the "
            "background. Look at the b0 volumes, and at which volumes the b-values call b0."
        )
    whole = _cut_bridges(mask.astype(bool), voxel_size)
    return _cut_bridges(_peel(whole, b0, voxel_size), voxel_size)


def _peel(mask, b0, voxel_size):
    """Remove voxels from the rim of a mask that are dark as bone and connected to the outside."""
    from scipy import ndimage

    width = 10.0 / np.asarray(voxel_size)
    near = np.maximum(ndimage.gaussian_filter(mask.astype(float), width), 1e-3)
    nearby = ndimage.gaussian_filter(np.where(mask, b0, 0), width) / near
    # The brain may continue beyond the field of view: the end of the image is not a rim.
    room = int(np.ceil(PEEL / min(voxel_size))) + 1
    padded = np.pad(mask, room, mode="edge")
    depth = ndimage.distance_transform_edt(padded, sampling=voxel_size)[(slice(room, -room),) * 3]
    dark = mask & (b0 < DARK * nearby) & (depth <= PEEL + 1e-6)
    return mask & ~ndimage.binary_propagation(~mask, mask=~mask | dark)


def _cut_bridges(mask, voxel_size):
    """Keep the part that wide connections hold together, with its gaps and holes closed."""
    from scipy import ndimage

    def reach(part):
        return ndimage.distance_transform_edt(part, sampling=voxel_size)

    # A head that the field of view cuts off continues beyond it.
    room = int(np.ceil(2 * NECK / min(voxel_size)))
    mask = np.pad(mask, room, mode="edge")
    core = reach(mask) > NECK
    if core.any():
        mask = mask & (reach(~largest_part(core)) <= NECK + 1.05 * max(voxel_size))
    mask = largest_part(mask)
    closed = mask | (reach(reach(~mask) <= GAP) > GAP)
    return ndimage.binary_fill_holes(closed)[(slice(room, -room),) * 3]


def trim_rim(fa):
    """Set the outermost voxels of an FA map to zero.

    Noise and partial volume with tissue outside the brain give a bright rim, which would be
    registered as if it were white matter.

    Parameters
    ----------
    fa : ndarray, shape (X, Y, Z)
        0 outside the brain.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        Zero in every voxel of which one of the 26 neighbours lies outside, or off the image; holes
        inside the brain do not count as outside.

    References
    ----------
    Smith et al. 2006, doi:10.1016/j.neuroimage.2006.02.024.
    """
    from scipy import ndimage

    fa = np.nan_to_num(fa)
    inside = ndimage.binary_fill_holes(fa > 0)
    return np.where(ndimage.binary_erosion(inside, np.ones((3, 3, 3))), fa, 0)


def overlap(first, second):
    """Return the Dice overlap of two masks.

    Parameters
    ----------
    first, second : ndarray of bool, of one shape

    Returns
    -------
    float
        In [0, 1]; 0 where both are empty.
    """
    total = int(first.sum()) + int(second.sum())
    return float(2 * (first & second).sum() / total) if total else 0.0


def agreement(volume, template, mask):
    """Correlate a registered volume with its template inside a mask.

    Parameters
    ----------
    volume, template : ndarray, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z)

    Returns
    -------
    float
        Pearson correlation in [-1, 1]; 0 where one of the two is constant.
    """
    first, second = volume[mask].astype(float), template[mask].astype(float)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def signal_to_noise(volume, white):
    """Divide mean by standard deviation of the signal inside white matter.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    white : ndarray of bool, shape (X, Y, Z)

    Returns
    -------
    float
        Above 0; 0 where there is no signal. Tissue contrast inside the mask lowers it, so it
        compares scans of one protocol and is no noise level in absolute terms.
    """
    values = volume[white].astype(float)
    return float(values.mean() / values.std()) if values.size and values.std() > 0 else 0.0


def volume_ml(mask, affine):
    """Return the volume of a mask in millilitres.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.

    Returns
    -------
    float
    """
    return float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
