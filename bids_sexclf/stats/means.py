"""Estimate the interval of a mean over participants; families are resampled whole."""

import numpy as np

from bids_sexclf.stats import _bca
from bids_sexclf.stats._evidence import check_draws, check_finite, check_labels
from bids_sexclf.stats.resampling import block_counts


def mean_interval(values, group=None, *, target=None, n=2000, level=0.95, seed=0, factor=1.0):
    """Estimate the interval of a mean over participants.

    Parameters
    ----------
    values : array_like of float, shape (participants,) or (participants, columns)
        Finite, in any unit.
    group : array_like, shape (participants,), optional
        Families, drawn whole.
    target : array_like, shape (participants,), optional
        Two classes (0 and 1). With it the interval is that of the average of the two class means:
        both weigh alike, and families are drawn within those of one class, of the other, and of
        both.
    n : int
        Number of resamples; all columns share them.
    level : float
        Coverage, in (0, 1).
    seed : int
        Equal seeds give equal intervals.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    low, high : float, or numpy.ndarray of shape (columns,)
        In the unit of the values; bias-corrected and accelerated. A constant column gives
        its value twice; with a single participant or family both are ``nan``.

    Raises
    ------
    InputError
        If a value is not finite, or group, ``n`` or ``level`` are refused.

    References
    ----------
    .. [1] Efron (1987). J. Am. Stat. Assoc. 82, 171. doi:10.1080/01621459.1987.10478410
    """
    n, level = check_draws(n, level)
    values = check_finite(values)
    table = values.reshape(len(values), -1)
    block = np.arange(len(table)) if group is None else check_labels(group, len(table), "group")
    classes = np.ones((len(table), 1))
    if target is not None:
        positive = np.asarray(target) == 1
        classes = np.stack([positive, ~positive], axis=1).astype(float)
    size, total, stratum = _class_sums(table, block, classes)
    counts = block_counts(stratum, n, seed)
    means = _average_means(np.tensordot(counts, total, 1), counts @ size)
    centre = _average_means(total.sum(axis=0), size.sum(axis=0))
    bounds = np.full((2, table.shape[1]), np.nan)
    if len(size) > 1:
        left_out = _average_means(total.sum(axis=0) - total, size.sum(axis=0) - size)
        for k in range(table.shape[1]):
            speed = _bca.acceleration(left_out[:, k], stratum)
            bounds[:, k] = _bca.interval(means[:, k], centre[k], speed, level, factor)
        bounds = np.where(np.ptp(table, axis=0) == 0, table[0], bounds)
    if values.ndim == 1:
        return float(bounds[0, 0]), float(bounds[1, 0])
    return bounds[0], bounds[1]


def _class_sums(table, block, classes):
    """Sum members and values of each family by class; rows may have any order.

    Returns
    -------
    size : numpy.ndarray of float, shape (blocks, classes)
    total : numpy.ndarray of float, shape (blocks, classes, columns)
    stratum : numpy.ndarray of int, shape (blocks,)
    """
    n_blocks = int(block.max()) + 1
    size = np.zeros((n_blocks, classes.shape[1]))
    total = np.zeros((n_blocks, classes.shape[1], table.shape[1]))
    rows = np.lexsort(table.T)
    np.add.at(size, block[rows], classes[rows])
    np.add.at(total, block[rows], classes[rows, :, None] * table[rows, None])
    order = np.lexsort([*total.reshape(n_blocks, -1).T, *size.T])
    present = size[order] > 0
    stratum = np.unique(present, axis=0, return_inverse=True)[1].reshape(-1)
    return size[order], total[order], stratum


def _average_means(total, size):
    """Average the means of the classes; total (..., classes, columns), size (..., classes)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / size[..., None]).mean(axis=-2)
