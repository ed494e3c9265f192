"""Convert FSL's transforms from its millimetre coordinates to world space."""

import numpy as np

from bids_sexclf.errors import GridError


def fsl_axes(grid) -> np.ndarray:
    """Return the matrix from voxel indices to FSL's millimetres.

    FSL's coordinates start at the first voxel, along the axes of the image; the first axis is
    reversed where the affine has a positive determinant.

    Parameters
    ----------
    grid : volumes.Grid

    Returns
    -------
    ndarray, shape (4, 4)

    References
    ----------
    Jenkinson et al. 2012, doi:10.1016/j.neuroimage.2011.09.015.
    """
    axes = np.diag([*grid.voxel_size, 1.0])
    if np.linalg.det(grid.affine[:3, :3]) > 0:
        axes[0, 0] *= -1
        axes[0, 3] = (grid.shape[0] - 1) * grid.voxel_size[0]
    return axes


def fsl_to_world(matrix: np.ndarray, moving, fixed) -> np.ndarray:
    """Convert a FLIRT matrix to a matrix between world coordinates.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        Carries points of the moving image to the fixed one, in FSL's millimetres.
    moving, fixed : volumes.Grid
        Of the images that FLIRT was given.

    Returns
    -------
    ndarray, shape (4, 4)
        Maps points of the moving image to the fixed one, mm, RAS+.
    """
    into = fixed.affine @ np.linalg.inv(fsl_axes(fixed))
    return into @ np.asarray(matrix) @ fsl_axes(moving) @ np.linalg.inv(moving.affine)


def displacements(points: np.ndarray, moving, fixed) -> np.ndarray:
    """Convert an absolute FSL warp to the displacements of an ITK (ANTs) field.

    Parameters
    ----------
    points : ndarray, shape (X, Y, Z, 3)
        For each voxel of the fixed grid where its value lies in the moving image, in FSL's
        millimetres: what ``convertwarp --absout`` writes.
    moving, fixed : volumes.Grid

    Returns
    -------
    ndarray, shape (X, Y, Z, 3)
        mm, LPS+: first component to the left, second to the back, third upwards.

    Raises
    ------
    GridError
        If the warp does not lie on the fixed grid.
    """
    if tuple(points.shape) != (*fixed.shape[:3], 3):
        raise GridError(
            f"Found a warp of shape {tuple(points.shape)} for a fixed image of "
            f"{tuple(fixed.shape[:3])}, needed one vector per voxel. Make both again."
        )
    into = moving.affine @ np.linalg.inv(fsl_axes(moving))
    moving_points = points @ into[:3, :3].T + into[:3, 3]
    voxels = np.stack(np.meshgrid(*map(np.arange, fixed.shape[:3]), indexing="ij"), axis=-1)
    fixed_points = voxels @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    return (moving_points - fixed_points) * np.array([-1.0, -1.0, 1.0])
