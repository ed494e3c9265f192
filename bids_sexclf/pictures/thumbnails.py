"""Small pictures of a mask's outline on a volume, for a page of many participants."""

import numpy as np

PIXEL_MM = 2.5
"""Size of a pixel, mm."""

OUTLINE = (232, 89, 12)
"""Colour of the outline: red, green, blue."""

GAP = 2
"""Black columns between the slices."""


def draw_thumbnail(volume, affine, mask):
    """Draw an axial, a coronal and a sagittal slice side by side, with the outline of a mask.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    mask : ndarray of bool, shape (X, Y, Z)
        The slices go through the middle of the mask. Where the mask is empty, through the middle
        of the volume.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        Left is left; up is superior, or anterior in the axial slice.
    """
    from bids_sexclf.pictures.slices import find_window

    volume, sizes = _turn(np.nan_to_num(np.asarray(volume, np.float32)), affine)
    mask, _ = _turn(np.asarray(mask, np.float32), affine)
    inside = mask > 0.5
    voxels = np.argwhere(inside) if inside.any() else np.argwhere(np.ones_like(inside))
    middle = (voxels.min(0) + voxels.max(0)) // 2
    top = find_window(volume, inside)[1]
    tiles = [_draw_slice(volume, mask, sizes, axis, middle[axis], top) for axis in (2, 1, 0)]
    height = max(tile.shape[0] for tile in tiles)
    columns = []
    for tile in tiles:
        above = (height - tile.shape[0]) // 2
        below = height - tile.shape[0] - above
        columns += [np.pad(tile, ((above, below), (0, GAP), (0, 0)))]
    return np.hstack(columns)[:, :-GAP]


def _turn(volume, affine):
    """Reorder a volume to RAS+ axes; return it with its voxel sizes in mm."""
    import nibabel as nib

    turned = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
    return np.asarray(turned.dataobj), nib.affines.voxel_sizes(turned.affine)


def _draw_slice(volume, mask, sizes, axis, index, top):
    """Draw one slice in grey with the outline of the mask; the first row is on top."""
    from scipy.ndimage import binary_erosion, zoom

    scales = [sizes[image_axis] / PIXEL_MM for image_axis in range(3) if image_axis != axis]
    grey = zoom(np.take(volume, index, axis), scales, order=1, grid_mode=True, mode="nearest")
    inside = zoom(np.take(mask, index, axis), scales, order=1, grid_mode=True, mode="nearest") > 0.5
    grey = (255 * np.clip(grey / top, 0, 1)).astype(np.uint8)
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    picture[inside & ~binary_erosion(inside)] = OUTLINE
    return picture.transpose(1, 0, 2)[::-1]


def save_png(picture, path):
    """Save a picture as a small PNG of at most 32 colours.

    Parameters
    ----------
    picture : ndarray of uint8, shape (rows, columns, 3)
    path : path-like

    Returns
    -------
    str
        The path.
    """
    from PIL import Image

    image = Image.fromarray(picture).quantize(32, dither=Image.Dither.NONE)
    image.save(path, format="PNG", optimize=True)
    return str(path)
