"""Grids of voxels: compare them, change them, and resample volumes between them."""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.errors import GridError


@dataclass(frozen=True)
class Grid:
    """A box of voxels in world space.

    Attributes
    ----------
    shape : tuple of int
        (X, Y, Z).
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    """

    shape: tuple
    affine: np.ndarray

    @property
    def voxel_size(self):
        """Voxel size in mm, shape (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def check_same_grid(shape, affine, other_shape, other_affine, names=("one volume", "the other")):
    """Refuse two volumes that do not lie on one grid.

    Parameters
    ----------
    shape, other_shape : tuple of int
        Compared over the first three axes.
    affine, other_affine : ndarray, shape (4, 4)
        Compared to 1e-3 mm.
    names : pair of str
        What to call them in the message.

    Raises
    ------
    GridError
    """
    first, second = names
    if tuple(shape[:3]) != tuple(other_shape[:3]):
        raise GridError(
            f"Found {first} with shape {tuple(shape[:3])} and {second} with "
            f"{tuple(other_shape[:3])}, needed one grid. Make both at one resolution."
        )
    offset = np.abs(np.asarray(affine) - np.asarray(other_affine)).max()
    if offset > 1e-3:
        raise GridError(
            f"Found {first} and {second} with affines that differ by {offset:.4g}, needed one "
            "grid. Make both in one space, with one origin and one orientation."
        )


def same_grid(first, second, voxels=1e-3):
    """Return whether two grids are equal, up to a share of a voxel at the corners.

    Parameters
    ----------
    first, second : pair
        Shape (X, Y, Z) and affine.
    voxels : float
        Share of the first grid's smallest voxel size.

    Returns
    -------
    bool
    """
    (shape, affine), (second_shape, second_affine) = first, second
    if tuple(shape[:3]) != tuple(second_shape[:3]):
        return False
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in shape[:3]])).reshape(3, -1)
    apart = (np.asarray(affine) - second_affine)[:3] @ np.vstack([corners, np.ones(8)])
    return bool(np.abs(apart).max() <= voxels * np.linalg.norm(affine[:3, :3], axis=0).min())


def turn_axes(array, affine, like):
    """Flip and permute a volume's axes to those of another, without interpolation.

    Parameters
    ----------
    array : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    like : ndarray, shape (4, 4)
        Affine whose axes to follow, to the nearest.

    Returns
    -------
    array : ndarray
    affine : ndarray, shape (4, 4)
    """
    from nibabel import orientations as turns

    turn = turns.ornt_transform(turns.io_orientation(affine), turns.io_orientation(like))
    turned = turns.apply_orientation(array, turn)
    return turned, affine @ turns.inv_ornt_aff(turn, array.shape)


def rescale_grid(grid, voxel_size):
    """Cover the field of view of a grid with voxels of another size.

    Parameters
    ----------
    grid : Grid
    voxel_size : float
        Edge, mm.

    Returns
    -------
    Grid
        The same grid where the size is already right (to 1e-3 mm).
    """
    ratio = voxel_size / grid.voxel_size
    if np.allclose(ratio, 1, atol=1e-3):
        return grid
    shape = np.ceil(np.asarray(grid.shape[:3]) / ratio - 1e-6).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * ratio
    # The corner of the field of view is fixed; voxel centres move by half the change in size.
    affine[:3, 3] += grid.affine[:3, :3] @ ((ratio - 1) / 2)
    return Grid(tuple(int(size) for size in shape), affine)


def crop_grid(grid, mask, margin=1):
    """Cut a grid to the box around a mask.

    Parameters
    ----------
    grid : Grid
    mask : ndarray of bool, shape grid.shape
    margin : int
        Voxels kept around the box where the grid reaches.

    Returns
    -------
    Grid
    tuple of slice
        Where the box lies in the grid.
    """
    inside = np.argwhere(mask)
    low = np.maximum(inside.min(0) - margin, 0)
    high = np.minimum(inside.max(0) + 1 + margin, grid.shape)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return Grid(tuple(int(size) for size in high - low), affine), box


def resample(array, affine, grid, order=1):
    """Resample a volume to another grid in the same world space.

    A coarser grid averages: the volume is smoothed to the new voxel size first.

    Parameters
    ----------
    array : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    grid : Grid
    order : int
        0 for labels and masks, which are never smoothed; 1 for values.

    Returns
    -------
    ndarray, shape grid.shape
        Zero outside the field of view.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    if array.shape == tuple(grid.shape) and np.allclose(affine, grid.affine, atol=1e-3):
        return array
    old = np.linalg.norm(affine[:3, :3], axis=0)
    if order:
        # The full width at half maximum of the Gaussian is the difference in voxel size.
        width = np.sqrt(np.maximum(grid.voxel_size**2 - old**2, 0)) / old
        array = gaussian_filter(array.astype(np.float32), width / 2.3548)
    step = np.linalg.inv(affine) @ grid.affine
    return affine_transform(array, step[:3, :3], step[:3, 3], grid.shape, order=order)
