"""Masks and quality numbers of a head: arrays in, arrays and numbers out."""

import numpy as np

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


def refine_mask(t1w, mask, voxel_size):
    """Fit a template's brain mask to the scan it was carried to.

    Voxels of the outer 4 mm that are as dark as skull leave; voxels within one
    step outside that are as bright as brain join; thin bridges, islands and
    holes are removed. The mask means brain and the fluid between its folds,
    not all that lies within the skull.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
        Bias-corrected.
    mask : ndarray of bool, shape (X, Y, Z)
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)

    Raises
    ------
    InputError
        If the mask is empty, or its inside has no signal.
    """
    from scipy import ndimage

    step = ball(max(voxel_size) * 1.05, voxel_size)
    core = ndimage.binary_erosion(mask, ball(6, voxel_size))
    tissue = float(np.median(t1w[core])) if core.any() else 0.0
    if not tissue > 0:
        raise InputError(
            f"Found a brain mask of {int(mask.sum())} voxels whose inside has median signal "
            f"{tissue:g}, needed a head whose brain has signal. Look at the scan: the registration "
            "to the template's head has failed, or the image is not a T1w of a whole head."
        )
    bright = float(np.percentile(t1w[core], 98))
    rim = mask & ~ndimage.binary_erosion(mask, ball(4, voxel_size))
    outside = ndimage.binary_dilation(mask, step) & ~mask
    refined = mask & ~(rim & (t1w < 0.35 * tissue))
    refined |= outside & (t1w > 0.55 * tissue) & (t1w < bright)
    refined = _largest(ndimage.binary_opening(refined, step))
    # Padding keeps a brain that reaches the edge of the image from shrinking there.
    closed = ndimage.binary_closing(np.pad(refined, 4), ball(4.1, voxel_size))
    return ndimage.binary_fill_holes(closed)[4:-4, 4:-4, 4:-4]


def _largest(mask):
    """Keep the largest connected part."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def b0_mask(b0, voxel_size):
    """Mask the brain on a diffusion scan's mean b0.

    The signal is divided by its own smooth trend (30 mm), since head coils leave the deep brain
    dark; then Otsu's threshold on the median-filtered volume (dipy's ``median_otsu``), and the
    largest part with its gaps and holes closed.

    Parameters
    ----------
    b0 : ndarray, shape (X, Y, Z)
    voxel_size : array-like, shape (3,)
        mm.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)

    Raises
    ------
    InputError
        If nothing stands out.
    """
    from dipy.segment.mask import median_otsu
    from scipy import ndimage

    b0 = np.nan_to_num(b0)
    head = b0 > 0.15 * np.percentile(b0, 98)
    width = 30 / 2.3548 / np.asarray(voxel_size)
    near = np.maximum(ndimage.gaussian_filter(head.astype(float), width), 1e-3)
    trend = ndimage.gaussian_filter(np.where(head, b0, 0), width) / near
    flat = np.where(head, b0 / np.maximum(trend, 1e-6), 0)
    # Eyes and vessels must not raise the threshold.
    top = np.percentile(flat[head], 98) if head.any() else 0
    _, mask = median_otsu(np.minimum(flat, top), median_radius=2, numpass=2)
    step = ball(max(voxel_size) * 1.05, voxel_size)
    opened = ndimage.binary_opening(mask, step)
    mask = _largest(opened if opened.any() else mask)
    if not mask.any():
        raise InputError(
            "Found a mean b0 in which no brain stands out, needed signal well above the "
            "background. Look at the b0 volumes, and at which volumes the b-values call b0."
        )
    closed = ndimage.binary_closing(np.pad(mask, 8), ball(12, voxel_size))[8:-8, 8:-8, 8:-8]
    return ndimage.binary_fill_holes(closed)


def trim_rim(fa):
    """Set the outermost voxels of an FA map to zero.

    Noise and partial volume with what lies outside the brain give a bright rim, which would be
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
    """Give the volume of a mask in millilitres.

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
