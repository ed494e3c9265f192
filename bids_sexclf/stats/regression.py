"""Scores of predicted ages: errors, explained variance and bias.

Every score is a function ``score(target, prediction, fold=None) -> float`` of ages in years. An
undefined score is ``nan``.
"""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.stats import _bca
from bids_sexclf.stats._evidence import check_draws, check_finite, check_labels
from bids_sexclf.stats.resampling import exchange, reached, replicates

SCORES = ("mae", "r2", "age_bias")
"""Names of the scores; each is a function of this module."""

LOWER_IS_BETTER = ("mae",)
WITHOUT_NULL = ("age_bias",)
"""Scores that have no permutation p: a lean is not better or worse than chance."""


def mae(target, prediction, fold=None):
    """Compute the mean absolute error, years.

    Parameters
    ----------
    target, prediction : array_like of float, shape (n,)
        Years.
    fold : object
        Plays no part.

    Returns
    -------
    float

    Examples
    --------
    >>> mae([20, 30, 40], [21, 30, 35])
    2.0
    """
    return float(np.mean(np.abs(np.subtract(prediction, target))))


def r2(target, prediction, fold=None):
    """Compute the share of the variance of age that predictions explain.

    Parameters
    ----------
    target, prediction, fold
        As for ``mae``.

    Returns
    -------
    float
        1 for perfect predictions, 0 for the mean age, negative for worse; ``nan`` if all ages are
        equal.

    Examples
    --------
    >>> r2([20, 30, 40], [30, 30, 30]), r2([20, 30, 40], [20, 30, 40])
    (0.0, 1.0)
    """
    target = np.asarray(target, float)
    spread = np.sum((target - target.mean()) ** 2)
    error = np.sum(np.subtract(prediction, target) ** 2)
    return float(1 - error / spread) if spread > 0 else np.nan


def age_bias(target, prediction, fold=None):
    """Compute the age bias: the slope of prediction minus age on age.

    Parameters
    ----------
    target, prediction, fold
        As for ``mae``.

    Returns
    -------
    float
        Years per year; 0 means no bias. A negative slope is usual: young people are predicted too
        old and old people too young; -1 for equal predictions. ``nan`` if all ages are equal.

    References
    ----------
    .. [1] Le et al. (2018). Front. Aging Neurosci. 10, 317. doi:10.3389/fnagi.2018.00317

    Examples
    --------
    >>> age_bias([20, 30, 40], [30, 30, 30]), age_bias([20, 30, 40], [25, 35, 45])
    (-1.0, 0.0)
    """
    target = np.asarray(target, float)
    centred = target - target.mean()
    spread = np.sum(centred**2)
    return float(centred @ np.subtract(prediction, target) / spread) if spread > 0 else np.nan


def arrange(target, prediction, fold=None, group=None, *further):
    """Check ages, and sort rows, so that results do not depend on their order.

    Parameters
    ----------
    target, prediction : array_like of float, shape (n,)
        Years.
    fold, group : array_like, shape (n,), optional
        Labels of models and of families.
    *others : array_like, shape (n,)
        More columns to bring into the same order.

    Returns
    -------
    target, prediction, fold, block, *others : numpy.ndarray, shape (n,)
        ``fold`` and ``block`` hold codes 0, 1, ...; without a group every row is a block.

    Raises
    ------
    InputError
        If values are not finite, or shapes differ.
    """
    columns = [check_finite(one) for one in (target, prediction, *further)]
    n = columns[0].size
    if any(one.shape != (n,) for one in columns):
        raise InputError(
            f"Found columns of shapes {[one.shape for one in columns]}, needed one shape (n,). "
            "Take them from the same table."
        )
    fold = np.zeros(n, int) if fold is None else check_labels(fold, n, "fold")
    block = np.arange(n) if group is None else check_labels(group, n, "group")
    order = np.lexsort((block, *columns[1:], columns[0], fold))
    block = np.arange(n) if group is None else block[order]
    target, prediction, *further = (one[order] for one in columns)
    return target, prediction, fold[order], block, *further


def bootstrap(
    score, target, prediction, fold=None, group=None, n=2000, level=0.95, seed=0, factor=1.0
):
    """Compute the bootstrap interval of a score over participants.

    Parameters
    ----------
    score : callable
        One of ``SCORES``.
    target, prediction, fold, group
        See ``arrange``; families are drawn whole.
    n : int
        Resamples.
    level : float
        Coverage, in (0, 1).
    seed : int
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    low, high : float
        Bias-corrected and accelerated; ``nan`` where the interval is undefined.
    """
    n, level = check_draws(n, level)
    target, prediction, _, block = arrange(target, prediction, fold, group)

    def of(rows):
        return score(target[rows], prediction[rows])

    stratum = np.zeros(block.max() + 1, int)
    draws, left_out = replicates(of, block, stratum, n, seed)
    speed = _bca.acceleration(left_out, stratum)
    return _bca.interval(draws, of(np.arange(target.size)), speed, level, factor)


def compare(
    target, prediction, other_prediction, group=None, n=2000, level=0.95, seed=0, factor=1.0
):
    """Compare the mean absolute errors of two models on the same participants.

    Parameters
    ----------
    target, prediction, other_prediction : array_like of float, shape (n,)
        Years.
    group, n, level, seed, factor
        As for ``bootstrap``.

    Returns
    -------
    dict
        ``difference`` (negative where the first model has the smaller error), ``low``, ``high``
        (years), and ``p`` (two-sided).
    """
    n, level = check_draws(n, level)
    target, prediction, _, block, other_prediction = arrange(
        target, prediction, None, group, other_prediction
    )
    gain = np.abs(prediction - target) - np.abs(other_prediction - target)
    stratum = np.zeros(block.max() + 1, int)
    draws, left_out = replicates(lambda rows: gain[rows].mean(), block, stratum, n, seed)
    speed, value = _bca.acceleration(left_out, stratum), float(gain.mean())
    low, high = _bca.interval(draws, value, speed, level, factor)
    p = _bca.p_of_zero(draws, value, speed, factor)
    return {"difference": value, "low": low, "high": high, "p": p}


def permutation(score, target, prediction, fold, group, participant, n=1000, seed=0, factor=1.0):
    """Compute the permutation p-value of a score.

    Ages are exchanged between participants of a fold; families are exchanged as whole blocks.

    Parameters
    ----------
    score : callable
        ``mae`` or ``r2``.
    target, prediction, fold, group
        See ``arrange``.
    participant : array_like, shape (n,)
        A participant with several rows has one age in each permutation.
    n : int
    seed : int
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    null_mean : float
    p : float
        In [1 / (n + 1), 1]; ``nan`` if the score is.

    References
    ----------
    .. [1] Phipson & Smyth (2010). Stat. Appl. Genet. Mol. Biol. 9, 39.
       doi:10.2202/1544-6115.1585
    """
    n, _ = check_draws(n)
    unit = check_labels(participant, np.size(target), "participant").astype(float)
    target, prediction, fold, block, unit = arrange(target, prediction, fold, group, unit)
    deal = exchange(target, fold, unit.astype(int), block)
    rng = np.random.default_rng(seed)
    sign = -1 if score.__name__ in LOWER_IS_BETTER else 1
    observed = sign * score(target, prediction)
    if np.isnan(observed):
        return np.nan, np.nan
    null = np.array([sign * score(deal(rng), prediction) for _ in range(n)])
    return float(sign * null.mean()), reached(null, observed, factor)
