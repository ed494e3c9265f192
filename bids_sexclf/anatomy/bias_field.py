"""Estimate the bias field of a T1w, from white and grey matter that should be equally bright.

The logarithm of the field is a polynomial, because coils make fields that are smooth over the whole
brain. A field that follows smaller features takes true differences of a region's white matter for
bias, and hands them to the grey matter beside it with the sign turned.
"""

import numpy as np
from numpy.polynomial.legendre import legvander

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


LEAST_VOXELS, LEAST_SHARE = 2.0, 0.5
"""Voxels of a tissue, or share of the voxels of a block, that a block needs to be used."""

LIMIT = 3.0
"""Residuals beyond this number of standard deviations are ignored."""

FITS = 10
"""Reweighted fits of one robust fit."""

PRIOR = 1e-6
"""How strongly coefficients are drawn to 0, relative to what the data say: for tiny brains."""


class BiasField:
    """The bias field: its logarithm on a lattice of large blocks.

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
        Logarithm of the field, on `grid`, whose voxels are the blocks. Blocks outside the brain
        have the value of the nearest block inside.
    values : ndarray of float32, shape (n,)
        Logarithm of the field at each of the n voxels of the brain.
    """

    def __init__(self, inside, grid, recipe):
        from scipy.ndimage import distance_transform_edt

        self.inside = inside
        steps = np.maximum(1, np.round(recipe.block_mm / grid.voxel_size)).astype(int)
        self.grid = rescale_grid(grid, grid.voxel_size * steps)
        self._least = min(LEAST_VOXELS, LEAST_SHARE * steps.prod())
        places = np.argwhere(inside)
        blocks = np.ravel_multi_index((places // steps).T, self.grid.shape)
        used, self._block = np.unique(blocks, return_inverse=True)
        indices = np.unravel_index(used, self.grid.shape)
        self._basis = make_basis(np.transpose(indices) * self.grid.voxel_size, recipe.degree)
        rank = np.full(self.grid.shape, -1)
        rank[indices] = np.arange(used.size)
        nearest = distance_transform_edt(
            rank < 0, self.grid.voxel_size, return_distances=False, return_indices=True
        )
        self._nearest = rank[tuple(nearest)]
        self._step = np.linalg.inv(self.grid.affine) @ grid.affine
        self.lattice = np.zeros(self.grid.shape, np.float32)
        self.values = np.zeros(len(places), np.float32)

    def refine(self, clean, means, parts):
        """Estimate the field anew, so that each of white and grey matter is equally bright.

        Parameters
        ----------
        clean : ndarray, shape (n,)
            Signal without the field so far.
        means : sequence of float
            Of the signal of each tissue.
        parts : ndarray, shape (5, n)
            Share of each of `tissues.PARTS`.
        """
        log_signal = np.log(clean) + self.values
        tissues = [
            self._average(log_signal - np.log(means[tissue]), parts[row])
            for tissue, row in ((1, 2), (2, 4))
        ]
        field = self._basis @ fit_both(self._basis, tissues)
        self.lattice = field.astype(np.float32)[self._nearest]
        values = sample_lattice(self.lattice, self._step, self.inside.shape)[self.inside]
        # The mean of white matter stays what it was.
        level = np.average(values.astype(float), weights=parts[4])
        self.lattice -= np.float32(level)
        self.values = values - np.float32(level)

    def _average(self, values, share):
        """Return the weighted mean of each block, and the block's weight."""
        weight = np.bincount(self._block, share, len(self._basis))
        total = np.bincount(self._block, share * values, len(self._basis))
        return total / np.maximum(weight, 1e-6), np.where(weight >= self._least, weight, 0)


def make_basis(places, degree):
    """Return the products of Legendre polynomials up to a total degree.

    Parameters
    ----------
    places : ndarray, shape (n, 3)
        mm.
    degree : int

    Returns
    -------
    ndarray, shape (n, terms)
        The longest axis of all places goes from -1 to 1; the other axes have the same scale.
    """
    low, high = places.min(0), places.max(0)
    scaled = (places - (low + high) / 2) / max((high - low).max() / 2, 1e-6)
    x, y, z = (legvander(axis, degree) for axis in scaled.T)
    orders = np.argwhere(np.indices((degree + 1,) * 3).sum(0) <= degree)
    return np.stack([x[:, i] * y[:, j] * z[:, k] for i, j, k in orders], axis=1)


def fit_both(basis, tissues):
    """Fit one polynomial to what several tissues say of the field.

    Tissues weigh as their residuals allow, and a block that speaks against the polynomial does not
    count: true bias raises all tissues of a place alike, a difference of one tissue does not.

    Parameters
    ----------
    basis : ndarray, shape (n, terms)
        Of `make_basis`, at each block.
    tissues : sequence of (ndarray, ndarray), each of shape (n,)
        For each tissue mean of the logarithm of its signal, relative to its mean, and weight of
        each block.

    Returns
    -------
    ndarray, shape (terms,)

    References
    ----------
    Tukey's biweight by iteratively reweighted least squares: Holland and Welsch 1977,
    doi:10.1080/03610927708827533.
    """
    robust = [np.ones(len(basis)) for _ in tissues]
    for _ in range(FITS):
        products, sums = 0.0, 0.0
        for (values, weights), factor in zip(tissues, robust, strict=True):
            weighted = basis * (weights * factor)[:, None]
            products, sums = products + weighted.T @ basis, sums + weighted.T @ values
        prior = max(PRIOR * np.trace(products) / len(products), np.finfo(float).tiny)
        products += prior * np.eye(len(products))
        field = basis @ (found := np.linalg.solve(products, sums))
        robust = [_reweight(values - field, weights) for values, weights in tissues]
    return found


def _reweight(residuals, weights):
    """Return Tukey's biweights over the variance of the residuals."""
    distance = np.abs(residuals)
    order = np.argsort(distance)
    total = np.cumsum(weights[order])
    median = distance[order][np.searchsorted(total, total[-1] / 2)]
    spread = max(median / 0.6745, 1e-4)
    inner = np.minimum(distance / (LIMIT * spread), 1)
    return ((1 - inner**2) ** 2 + 1e-3) / spread**2
