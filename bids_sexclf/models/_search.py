"""Nested search: choose among a few settings within the training part, and nowhere else."""

import numpy as np

FOLDS = 5


def deal(target, groups, seed, folds=FOLDS):
    """Deal the training part into inner folds, balanced by sex, families and sessions whole.

    Parameters
    ----------
    target : ndarray of int, shape (n,)
    groups : array-like, shape (n,), or None
        Who must stay together; everyone alone by default.
    seed : int
    folds : int
        At most so many.

    Returns
    -------
    list of (ndarray, ndarray)
        Rows to learn from and rows to judge by; empty where a sex has fewer than two groups.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.arange(len(target)) if groups is None else np.asarray(groups)
    folds = min(folds, *(len(np.unique(groups[target == sex])) for sex in (0, 1)))
    if folds < 2:
        return []
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        dealt = list(splitter.split(target, target, groups))
    return [pair for pair in dealt if all(len(np.unique(target[rows])) == 2 for rows in pair)]


def choose(grid, answer, target, folds):
    """Choose the setting with the highest mean AUC over inner folds; the earlier one if equal.

    Parameters
    ----------
    grid : list of dict
        Settings, the simplest first.
    answer : callable
        ``answer(setting, learn, judge)`` gives the logits of the rows to judge by.
    target : ndarray of int, shape (n,)
    folds : list
        As `deal` gives it.

    Returns
    -------
    setting : dict
    auc : float or None
        Its mean AUC; None where nothing was searched.
    """
    from sklearn.metrics import roc_auc_score

    if len(grid) == 1 or not folds:
        return grid[0], None
    scores = [
        np.mean(
            [roc_auc_score(target[judge], answer(setting, learn, judge)) for learn, judge in folds]
        )
        for setting in grid
    ]
    best = int(np.argmax(np.round(scores, 12)))
    return grid[best], float(scores[best])
