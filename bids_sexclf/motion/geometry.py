"""Linear transforms of a head: its displacement, and the rotation of its gradients."""

import numpy as np

HEAD_RADIUS = 50.0
"""Radius, mm, of the sphere on which displacements are measured."""


def image_axes(affine):
    """Return the directions of the image axes in world space.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to world.

    Returns
    -------
    ndarray, shape (3, 3)
        One unit vector per column.
    """
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def image_centre(shape, affine):
    """Return the middle of an image in world space, shape (3,), mm."""
    return affine[:3, :3] @ ((np.array(shape[:3]) - 1) / 2) + affine[:3, 3]


def turn_gradients(bvecs, rotations, affine):
    """Rotate b-vectors with their volumes.

    Parameters
    ----------
    bvecs : ndarray, shape (N, 3)
        FSL's convention: along the image axes, the first one mirrored where the affine has a
        positive determinant.
    rotations : ndarray, shape (N, 3, 3)
        From the reference to each volume, in world space: the gradient of a head rotated by R
        is rotated by the inverse of R.
    affine : ndarray, shape (4, 4)
        Voxel to world.

    Returns
    -------
    ndarray, shape (N, 3)

    References
    ----------
    Leemans and Jones 2009, doi:10.1002/mrm.21890.
    """
    axes = image_axes(affine)
    if np.linalg.det(axes) > 0:
        axes = axes * np.array([-1.0, 1.0, 1.0])
    return np.einsum("ji,nkj,kl,nl->ni", axes, rotations, axes, bvecs)


def displacement(first, second, centre):
    """Return the mean displacement between two linear transforms over a head-sized sphere.

    Parameters
    ----------
    first, second : ndarray, shape (4, 4)
        World to world, mm.
    centre : ndarray, shape (3,)
        Of the head, mm.

    Returns
    -------
    float
        Root mean square displacement over a sphere of 50 mm (Jenkinson 1999), mm. Stretch and
        shear, as eddy currents cause, do not count.
    """
    change = _rigid_part(second, centre) @ np.linalg.inv(_rigid_part(first, centre)) - np.eye(4)
    shift = change[:3, :3] @ centre + change[:3, 3]
    square = HEAD_RADIUS**2 * np.trace(change[:3, :3].T @ change[:3, :3]) / 5 + shift @ shift
    return float(np.sqrt(square))


def rotation_part(linear):
    """Return the closest rotation to a matrix, shape (3, 3) (polar decomposition)."""
    from scipy.linalg import polar

    return polar(linear)[0]


def _rigid_part(matrix, centre):
    """Return the rigid transform with the same rotation and the same motion of the centre."""
    rigid = np.eye(4)
    rigid[:3, :3] = rotation_part(matrix[:3, :3])
    rigid[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - rigid[:3, :3] @ centre
    return rigid
