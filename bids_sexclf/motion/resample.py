"""Resample a volume in one interpolation: through its linear transform and a distortion field."""

import numpy as np

MISSED = 0.1
"""Largest share of volumes that may have a voxel outside their field of view."""


def read_displacements(path):
    """Read an ANTs displacement field.

    Parameters
    ----------
    path : path-like
        Five-dimensional NIfTI; vectors in mm along LPS+ axes.

    Returns
    -------
    ndarray of float32, shape (3, X, Y, Z)
        mm along RAS+ axes: the image is read at each grid point plus its vector.
    """
    import nibabel as nib

    field = np.asarray(nib.load(path).dataobj, np.float32)
    field = np.moveaxis(field.reshape(*field.shape[:3], 3), -1, 0)
    return field * np.array([-1, -1, 1], np.float32)[:, None, None, None]


def distorted_places(shape, affine, displacements):
    """Return the positions at which a distortion field reads each voxel of its grid.

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
    """Convert positions to a displacement field of ANTs: the inverse of `distorted_places`.

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
    """Return the positions at which a pose and a distortion field read each reference voxel.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to world, of the reference and of the field.
    pose : ndarray, shape (4, 4)
        Reference to the position of the head in the series, world to world, mm.
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
    # The displacement is smooth and may be extrapolated beyond the grid; positions may not.
    shifts = [map_coordinates(part, moved, order=1, mode="nearest") for part in places - grid]
    return moved + np.stack(shifts)


def seen_mask(mask, affine, matrices, places=None):
    """Remove from a mask the voxels that too many volumes have outside their field of view.

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
        Without voxels that more than the share `MISSED` of the volumes do not contain.
    """
    points = np.array(np.nonzero(mask)) if places is None else places[:, mask]
    last, missed = np.array(mask.shape)[:, None] - 0.5, np.zeros(points.shape[1], np.int32)
    for matrix in matrices:
        route = np.linalg.inv(affine) @ matrix @ affine
        positions = route[:3, :3] @ points + route[:3, 3:]
        missed += ((positions < -0.5) | (positions > last)).any(0)
    remaining = mask.copy()
    remaining[mask] = missed <= MISSED * len(matrices)
    return remaining


def resample_volume(volume, affine, matrix, places=None, order=3):
    """Resample a volume to the head position of the reference, in one interpolation.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world.
    matrix : ndarray, shape (4, 4)
        Reference to volume, world to world, mm.
    places : ndarray, shape (3, X, Y, Z), optional
        Positions at which the reference is read, in voxels, as `distorted_places` returns them.
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
        carry, options = affine_transform, (voxels[:3, :3], voxels[:3, 3])
    else:
        through = np.tensordot(voxels[:3, :3].astype(np.float32), places, axes=1)
        through += voxels[:3, 3].astype(np.float32)[:, None, None, None]
        carry, options = map_coordinates, (through,)
    # Mirror at the edge: a drop to zero there would cause ringing in a head that is cut off.
    moved = carry(volume, *options, order=order, mode="mirror", output=np.float32)
    in_view = carry(np.ones(volume.shape, np.uint8), *options, order=0, mode="grid-constant")
    return np.maximum(moved, 0, out=moved) * in_view
