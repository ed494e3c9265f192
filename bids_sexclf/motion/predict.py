"""Predict each volume of a diffusion series from all the others.

A Gaussian process over gradient directions and b-values (Andersson and
Sotiropoulos 2015) predicts how one volume should look if the head had not
moved relative to the others.

References
----------
Andersson and Sotiropoulos 2015, doi:10.1016/j.neuroimage.2015.07.067.
Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, section 5.4.2.
"""

from itertools import product

import numpy as np

MEAN_VARIANCE = 100.0
"""Variance of the mean over directions, relative to that of the directions' contrast."""

WIDTHS = (0.6, 0.9, 1.2, np.pi / 2)
"""Angles, rad, beyond which two directions are independent."""

REACHES = (2.0, 6.0, 12.0)
"""Length scale of the covariance over the square root of b, in sqrt(s/mm²)."""

NOISES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Noise variance, relative to that of the directions' contrast."""


def covariance(bvals, bvecs, width, reach):
    """Compute the covariance of the signals of a series' volumes.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
        Unit vectors; a direction and its opposite are one.
    width : float
        Angle in rad beyond which the signals of two directions are independent.
    reach : float
        Length scale of the square root of b.

    Returns
    -------
    ndarray, shape (N, N)
        Symmetric and positive semi-definite, without noise.
    """
    root = np.sqrt(bvals)
    near = np.exp(-((root[:, None] - root) ** 2) / (2 * reach**2))
    angle = np.arccos(np.clip(np.abs(bvecs @ bvecs.T), 0, 1)) / width
    sphere = np.where(angle < 1, 1 - 1.5 * angle + 0.5 * angle**3, 0.0)
    return near * (MEAN_VARIANCE + sphere)


def residual_operator(kernel, noise):
    """Return the matrix that maps a series to its leave-one-out errors.

    Parameters
    ----------
    kernel : ndarray, shape (N, N)
    noise : float
        Variance, in the unit of `kernel`.

    Returns
    -------
    ndarray, shape (N, N)
        ``operator @ series`` is each volume minus its prediction from the others.
    """
    inverse = np.linalg.inv(kernel + noise * np.eye(len(kernel)))
    return inverse / np.diag(inverse)[:, None]


def fit_predictor(products, bvals, bvecs):
    """Fit the Gaussian process with the least leave-one-out error, and return its predictor.

    Parameters
    ----------
    products : ndarray, shape (N, N)
        Sums over voxels of the products of two volumes.
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)

    Returns
    -------
    ndarray, shape (N, N)
        ``predictor @ series`` predicts every volume from the others: its diagonal is zero.
    """
    best, least_error = None, np.inf
    for width, reach in product(WIDTHS, REACHES):
        kernel = covariance(bvals, bvecs, width, reach)
        for noise in NOISES:
            operator = residual_operator(kernel, noise)
            error = np.einsum("ij,jk,ik->", operator, products, operator, optimize=True)
            if error < least_error:
                best, least_error = operator, error
    return np.eye(len(best)) - best


def mean_predictor(count):
    """Predict each of `count` volumes by the mean of the others, shape (count, count)."""
    return (1 - np.eye(count)) / max(count - 1, 1)
