"""The target: who is male, or how old; how much each sex weighs; how answers are scored."""

import numpy as np

from bids_sexclf.errors import InputError


def check_target(target, n_participants, kind="sex"):
    """Return the target as numbers if it can be learnt from.

    Parameters
    ----------
    target : array-like, shape (n,)
        1 for male, 0 for female; or ages, years.
    n_participants : int
        Participants the inputs hold.
    kind : {"sex", "age"}

    Returns
    -------
    ndarray of int64 (sex) or float64 (age), shape (n,)

    Raises
    ------
    InputError
        If its length or its values do not fit, or if no one is there.
    """
    target = np.asarray(target)
    if target.shape != (n_participants,) or n_participants == 0:
        raise InputError(
            f"Found a target of shape {target.shape} for {n_participants} participants, needed "
            "one value each, and at least one participant. Make the splits again."
        )
    if kind == "age":
        return _check_ages(target.astype(np.float64))
    if not np.isin(target, (0, 1)).all():
        others = sorted(set(target[~np.isin(target, (0, 1))].tolist()))[:5]
        raise InputError(
            f"Found target values {others}, needed 1 for male and 0 for female. Check the sex "
            "column of cohort.tsv."
        )
    return target.astype(np.int64)


def _check_ages(ages):
    bad = ~np.isfinite(ages) | (ages < 0)
    if bad.any():
        raise InputError(
            f"Found {int(bad.sum())} of {len(ages)} ages that are unknown or negative, needed "
            "years. Check the age_years column of cohort.tsv."
        )
    return ages


def scale_target(target, kind):
    """Give what to subtract from the target and what to divide it by, learnt from training.

    Parameters
    ----------
    target : ndarray, shape (n,)
        Of the training part.
    kind : {"sex", "age"}

    Returns
    -------
    shift, spread : float
        0 and 1 for sex; mean and standard deviation of the ages, years.

    Raises
    ------
    InputError
        If all are of one age.

    Examples
    --------
    >>> scale_target(np.array([20.0, 40.0, 60.0, 80.0]), "age")
    (50.0, 22.360679774997898)
    """
    if kind == "sex":
        return 0.0, 1.0
    if np.ptp(target) == 0:
        raise InputError(
            f"Found {len(target)} training participants of one age ({target[0]:g} years), needed "
            "several ages. Add participants, or study sex."
        )
    return float(target.mean()), float(target.std())


def weigh_sexes(target, how, kind="sex"):
    """Weigh participants by their class.

    Parameters
    ----------
    target : ndarray, shape (n,)
    how : {"balanced", "none"}
    kind : {"sex", "age"}

    Returns
    -------
    tuple of float
        Weight of a female and of a male participant; 1 and 1 for age.

    Raises
    ------
    InputError
        If only one sex is there.
    """
    if kind == "age":
        return 1.0, 1.0
    weights = balance(target)
    return weights if how == "balanced" else (1.0, 1.0)


def balance(target):
    """Weigh participants so that both sexes count alike.

    Parameters
    ----------
    target : ndarray of int, shape (n,)
        1 for male, 0 for female.

    Returns
    -------
    tuple of float
        Weight of a female and of a male participant; their mean over participants is 1.

    Raises
    ------
    InputError
        If only one sex is there.

    Examples
    --------
    >>> balance(np.array([0, 0, 0, 1]))
    (0.6666666666666666, 2.0)
    """
    counts = np.bincount(target, minlength=2)
    if counts.min() == 0:
        raise InputError(
            f"Found {counts[0]} female and {counts[1]} male participants in the training part, "
            "needed some of both. Add participants, or use fewer folds."
        )
    return tuple((len(target) / (2 * counts)).tolist())


def check_varied(target, kind):
    """Refuse a training part from which nothing can be told apart.

    Parameters
    ----------
    target : ndarray, shape (n,)
    kind : {"sex", "age"}

    Raises
    ------
    InputError
        If it is all of one sex, or all of one age.
    """
    if kind == "sex":
        balance(target)
    else:
        scale_target(target, kind)


def score(answer, target, kind):
    """Score answers to participants that were not learnt from.

    Parameters
    ----------
    answer, target : ndarray, shape (n,)
        Logits and 0 or 1; or years and years.
    kind : {"sex", "age"}

    Returns
    -------
    float or None
        AUC, or mean absolute error in years; None where one sex is missing.
    """
    if kind == "age":
        return float(np.abs(answer - target).mean())
    if len(np.unique(target)) < 2:
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(target, answer))
