"""Resample one volume once: through its own linear transform, after any distortion field."""

import numpy as np

MISSED = 0.1
"""Share of the volumes that may have left a voxel outside their field of view."""


def read_displacements(path):
    """Read an ANTs displacement field.

    Parameters
    ----------
    path : path-like
        Five-dimensional NIfTI; vectors in mm along LPS+ axes.

    Returns
    -------
    ndarray of float32, shape (3, X, Y, Z)
        mm along RAS+ axes: a point of the grid plus its vector is where the image is read.
    """
    import nibabel as nib

    field = np.asarray(nib.load(path).dataobj, np.float32)
    field = np.moveaxis(field.reshape(*field.shape[:3], 3), -1, 0)
    return field * np.array([-1, -1, 1], np.float32)[:, None, None, None]


def distorted_places(shape, affine, displacements):
    """Say where a distortion field reads each voxel of its grid.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray, shape (4, 4)
        Voxel to world.
    displacements : ndarray, shape (3, X, Y, Z)
        mm, RAS+.

    Returns
    -------
    ndarray of float32, shape (3, X, Y, Z)
        In voxels.
    """
    places = np.indices(shape[:3], dtype=np.float32)
    places += np.tensordot(np.linalg.inv(affine[:3, :3]), displacements, axes=1).astype(np.float32)
    return places


def displacements(places, affine):
    """Turn places into the displacement field that ANTs applies: the reverse of `distorted_places`.

    Parameters
    ----------
    places : ndarray, shape (3, X, Y, Z)
        In voxels.
    affine : ndarray, shape (4, 4)

    Returns
    -------
    ndarray, shape (X, Y, Z, 3)
        mm, LPS+.
    """
    shifts = places - np.indices(places.shape[1:], dtype=np.float32)
    field = np.tensordot(np.diag([-1.0, -1.0, 1.0]) @ affine[:3, :3], shifts, axes=1)
    return np.moveaxis(field, 0, -1)


def through_pose(affine, pose, places=None, shape=None):
    """Say where a pose, and then a distortion field, read each voxel of a reference.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to world, of the reference and of the field.
    pose : ndarray, shape (4, 4)
        Reference to the head's place in the series, world to world, mm.
    places : ndarray, shape (3, X, Y, Z), optional
        Of the field, as `distorted_places` returns it.
    shape : tuple of int
        (X, Y, Z).

    Returns
    -------
    ndarray of float32, shape (3, X, Y, Z)
        In voxels.
    """
    from scipy.ndimage import map_coordinates

    route = np.linalg.inv(affine) @ pose @ affine
    grid = np.indices(shape[:3], dtype=np.float32)
    moved = np.tensordot(route[:3, :3].astype(np.float32), grid, axes=1)
    moved += route[:3, 3].astype(np.float32)[:, None, None, None]
    if places is None:
        return moved
    # The displacement is smooth and may be continued beyond the grid, places may not.
    shifts = [map_coordinates(part, moved, order=1, mode="nearest") for part in places - grid]
    return moved + np.stack(shifts)


def seen_mask(mask, affine, matrices, places=None):
    """Leave out of a mask what too many volumes have outside their field of view.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world.
    matrices : sequence of ndarray, shape (4, 4)
        As for `resample_volume`, one per volume.
    places : ndarray, shape (3, X, Y, Z), optional
        As for `resample_volume`.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        Without voxels that more than `MISSED` of the volumes do not hold.
    """
    points = np.array(np.nonzero(mask)) if places is None else places[:, mask]
    last, missed = np.array(mask.shape)[:, None] - 0.5, np.zeros(points.shape[1], np.int32)
    for matrix in matrices:
        route = np.linalg.inv(affine) @ matrix @ affine
        there = route[:3, :3] @ points + route[:3, 3:]
        missed += ((there < -0.5) | (there > last)).any(0)
    kept = mask.copy()
    kept[mask] = missed <= MISSED * len(matrices)
    return kept


def resample_volume(volume, affine, matrix, places=None, order=3):
    """Resample a volume where its head would lie in the reference, in one interpolation.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world.
    matrix : ndarray, shape (4, 4)
        Reference to volume, world to world, mm.
    places : ndarray, shape (3, X, Y, Z), optional
        Where the reference itself is read, in voxels, as `distorted_places` returns it.
    order : {1, 3}
        Linear interpolation, or cubic B-splines.

    Returns
    -------
    ndarray of float32, shape (X, Y, Z)
        At least zero; zero outside the field of view.
    """
    from scipy.ndimage import affine_transform, map_coordinates

    voxels = np.linalg.inv(affine) @ matrix @ affine
    if places is None and np.allclose(voxels, np.eye(4), atol=1e-9):
        return np.asarray(volume, np.float32)
    if places is None:
        carry, where = affine_transform, (voxels[:3, :3], voxels[:3, 3])
    else:
        through = np.tensordot(voxels[:3, :3].astype(np.float32), places, axes=1)
        through += voxels[:3, 3].astype(np.float32)[:, None, None, None]
        carry, where = map_coordinates, (through,)
    # Mirrored at the edge: a fall to zero there would ring into the head where it is cut off.
    moved = carry(volume, *where, order=order, mode="mirror", output=np.float32)
    seen = carry(np.ones(volume.shape, np.uint8), *where, order=0, mode="grid-constant")
    return np.maximum(moved, 0, out=moved) * seen
