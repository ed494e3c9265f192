"""Estimate the bias field of a T1w, from white and grey matter that should be equally bright."""

import numpy as np

from bids_sexclf.volumes import rescale_grid


def sample_lattice(volume, step, shape):
    """Interpolate a volume at the voxels of another grid; outside, the nearest voxel counts.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    step : ndarray, shape (4, 4)
        Carries voxels of the other grid to those of the volume.
    shape : tuple of int
        Of the other grid.

    Returns
    -------
    ndarray, shape `shape`
    """
    from scipy.ndimage import affine_transform

    return affine_transform(volume, step[:3, :3], step[:3, 3], shape, order=1, mode="nearest")


class BiasField:
    """The bias field: its smooth logarithm on a lattice of large blocks.

    Parameters
    ----------
    inside : ndarray of bool, shape (X, Y, Z)
        The brain.
    grid : volumes.Grid
        Of `inside`.
    recipe : tissues.Recipe

    Attributes
    ----------
    lattice : ndarray of float32
        Logarithm of the field, on `grid`, whose voxels are the blocks.
    values : ndarray of float32, shape (n,)
        Logarithm of the field at each of the n voxels of the brain.
    """

    def __init__(self, inside, grid, recipe):
        self.inside, self.recipe = inside, recipe
        steps = np.maximum(1, np.round(recipe.block_mm / grid.voxel_size)).astype(int)
        self.grid = rescale_grid(grid, grid.voxel_size * steps)
        places = np.argwhere(inside)
        self._block = np.ravel_multi_index((places // steps).T, self.grid.shape)
        self._step = np.linalg.inv(self.grid.affine) @ grid.affine
        self._width = recipe.field_mm / self.grid.voxel_size
        self.lattice = np.zeros(self.grid.shape, np.float32)
        self.values = np.zeros(len(places), np.float32)

    def refine(self, clean, means, deviations, parts):
        """Update the field so that each of white and grey matter is equally bright everywhere.

        Parameters
        ----------
        clean : ndarray, shape (n,)
            Signal without the field so far.
        means, deviations : sequence of float
            Of the signal of each tissue.
        parts : ndarray, shape (5, n)
            Share of each of `tissues.PARTS`.
        """
        weights = {1: self.recipe.grey_weight * parts[2], 2: parts[4]}
        log_signal = np.log(clean)
        above = below = np.float32(0)
        for tissue, weight in weights.items():
            precise = weight * np.float32((means[tissue] / deviations[tissue]) ** 2)
            above = above + precise * (log_signal - np.float32(np.log(means[tissue])))
            below = below + precise
        above, below = (self._smooth(values) for values in (above, below))
        # Far from all white matter there is no information: the field does not change.
        self.lattice += (above / (below + 1e-3 * below.max())).astype(np.float32)
        values = sample_lattice(self.lattice, self._step, self.inside.shape)[self.inside]
        # The mean of white matter does not change.
        level = np.average(values.astype(float), weights=parts[4])
        self.lattice -= np.float32(level)
        self.values = values - np.float32(level)

    def _smooth(self, values):
        """Sum values within each block, and smooth the sums."""
        from scipy.ndimage import gaussian_filter

        blocks = np.bincount(self._block, values, self.lattice.size).reshape(self.lattice.shape)
        return gaussian_filter(blocks, self._width, mode="constant", truncate=3)
