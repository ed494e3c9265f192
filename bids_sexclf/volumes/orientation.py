"""Orientation of a scan in its header: unknown, clear, ambiguous, or with sheared axes.

Programs treat a header without orientation differently, and also one whose two fields (qform,
sform) contradict each other; most of them ignore shear. Scans are therefore written again with one
clear orientation, so that all steps read the same.
"""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.volumes.grids import Grid

MOST_SHEAR_MM = 0.1
"""Displacement of a corner of the image that counts as rounding, not shear, mm."""


MOST_GROWTH = 4
"""Largest growth of the number of voxels when axes are straightened."""


def knows_sides(path):
    """Return whether the header of an image defines left and right.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    bool
        False where qform and sform codes are both 0. True where the header cannot be read, which
        other checks report.
    """
    header = _read_header(path)
    return header is None or _codes(header) != (0, 0)


def is_clear(path):
    """Return whether all programs read the same orientation in a header.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    bool
        False where both codes are 0, where qform and sform contradict each other, or where axes
        are sheared.
    """
    header = _read_header(path)
    if header is None:
        return True
    codes, shape = _codes(header), header.get_data_shape()[:3]
    if codes == (0, 0) or measure_shear(shape, header.get_best_affine()) > MOST_SHEAR_MM:
        return False
    return 0 in codes or _apart(shape, header.get_qform(), header.get_sform()) <= MOST_SHEAR_MM


def _read_header(path):
    import nibabel as nib

    try:
        header = nib.load(path).header
        return header if "sform_code" in header else None
    except Exception:  # nibabel raises many kinds on a damaged header
        return None


def _codes(header):
    return int(header["qform_code"]), int(header["sform_code"])


def _apart(shape, first, second):
    """Return the largest distance between the corners of two grids, mm."""
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in shape])).reshape(len(shape), -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm((first - second)[:3] @ corners, axis=0).max())


def straighten(shape, affine):
    """Return the grid without shear that covers an image.

    Its axes are the nearest ones at right angles; voxel sizes do not change.

    Parameters
    ----------
    shape : tuple of int
        (X, Y, Z), or more.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.

    Returns
    -------
    Grid

    Raises
    ------
    InputError
        If the axes are too far from right angles for a real scan.
    """
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    u, _, right = np.linalg.svd(affine[:3, :3] / zooms)
    axes = u @ right
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in shape[:3]])).reshape(3, -1)
    # Positions of the corners along the new axes, in voxels.
    along = (axes.T @ (affine[:3, :3] @ corners + affine[:3, 3:])) / zooms[:, None]
    low, high = along.min(1), along.max(1)
    straight = np.eye(4)
    straight[:3, :3] = axes * zooms
    straight[:3, 3] = axes @ (low * zooms)
    size = np.ceil(high - low - 1e-3) + 1
    if not np.prod(size) <= MOST_GROWTH * np.prod(shape[:3], dtype=float):
        raise InputError(
            f"Found image axes that displace a corner by {measure_shear(shape, affine):.3g} mm "
            "against right angles, needed those of a scan. Convert the scan again."
        )
    return Grid(tuple(int(n) for n in size), straight)


def measure_shear(shape, affine):
    """Compute how far shear displaces a corner of an image.

    Parameters
    ----------
    shape : tuple of int
        (X, Y, Z), or more.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.

    Returns
    -------
    float
        mm; 0 for axes at right angles. Infinite where the affine does not span space.
    """
    affine = np.asarray(affine, float)
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not zooms.all():
        return float("inf")
    u, _, right = np.linalg.svd(affine[:3, :3] / zooms)
    straight = affine.copy()
    straight[:3, :3] = u @ right * zooms
    return _apart(tuple(shape[:3]), affine, straight)


def is_sheared(shape, affine):
    """Return whether the axes of an image are sheared by more than rounding."""
    return bool(MOST_SHEAR_MM < measure_shear(shape, affine) < float("inf"))


def check_straight(shape, affine, path):
    """Raise InputError for sheared axes, which a qform cannot store.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray, shape (4, 4)
    path : path-like
        For the message.

    Raises
    ------
    InputError
    """
    if is_sheared(shape, affine):
        raise InputError(
            f"Found axes for {path} that are not at right angles "
            f"({measure_shear(shape, affine):.1f} mm at a corner), needed some that are. "
            "Convert the scan again, or resample it."
        )
