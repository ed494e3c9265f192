"""Nested search: choose among a few settings within the training part only."""

import numpy as np

from bids_sexclf import targets

FOLDS = 5
BANDS = 5
"""Bands of age, at most, over which inner folds are balanced."""


def deal(target, groups, seed, folds=FOLDS, kind="sex"):
    """Split the training part into balanced inner folds; families and sessions stay together.

    Parameters
    ----------
    target : ndarray, shape (n,)
        1 for male, 0 for female; or ages, years.
    groups : array-like, shape (n,), or None
        Groups that must stay together; none by default.
    seed : int
    folds : int
        Largest number of folds.
    kind : str
        Name of the target. Folds are balanced by class, or by bands of equal count.

    Returns
    -------
    list of (ndarray, ndarray)
        Training and test rows; empty if there are fewer than two groups (of each sex, if sex is
        the target). No fold has one sex only in training or test, or one age only in training.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    classes = targets.find(kind).is_classes
    groups = np.arange(len(target)) if groups is None else np.asarray(groups)
    apart = [label == target for label in (0, 1)] if classes else [slice(None)]
    folds = min(folds, *(len(np.unique(groups[rows])) for rows in apart), len(target))
    if folds < 2:
        return []
    strata = target if classes else _bands(target, min(BANDS, len(target) // folds))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        dealt = list(splitter.split(target, strata, groups))
    needed = 2 if classes else 1
    return [
        (learn, judge)
        for learn, judge in dealt
        if len(np.unique(target[learn])) > 1 and len(np.unique(target[judge])) >= needed
    ]


def _bands(ages, count):
    """Return the band of each age, by rank, with equal counts."""
    rank = np.empty(len(ages), int)
    rank[np.argsort(ages, kind="stable")] = np.arange(len(ages))
    return rank * count // len(ages)


def choose(grid, answer, target, folds, kind="sex"):
    """Choose the best setting over inner folds; the earlier one if equal.

    Parameters
    ----------
    grid : list of dict
        Settings, the simplest first.
    answer : callable
        ``answer(setting, learn, judge)`` gives the logits, or the ages, of the rows to judge by.
    target : ndarray, shape (n,)
    folds : list
        As `deal` returns it.
    kind : str
        Name of the target. The best has the highest mean AUC, or the lowest mean absolute error.

    Returns
    -------
    setting : dict
    score : float or None
        Its mean AUC, or mean absolute error in years; None if nothing was searched.
    """
    if len(grid) == 1 or not folds:
        return grid[0], None
    goal = targets.find(kind)
    scores = [
        np.mean([goal.score(answer(setting, *rows), target[rows[1]]) for rows in folds])
        for setting in grid
    ]
    sign = 1 if goal.is_classes else -1
    best = int(np.argmax(sign * np.round(scores, 12)))
    return grid[best], float(scores[best])
