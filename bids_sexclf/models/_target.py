"""The target: who is male, and how much each sex weighs."""

import numpy as np

from bids_sexclf.errors import InputError


def check_target(target, n_participants):
    """Return the target as integers if it can be learnt from.

    Parameters
    ----------
    target : array-like, shape (n,)
        1 for male, 0 for female.
    n_participants : int
        Participants the inputs hold.

    Returns
    -------
    ndarray of int64, shape (n,)

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
    if not np.isin(target, (0, 1)).all():
        others = sorted(set(target[~np.isin(target, (0, 1))].tolist()))[:5]
        raise InputError(
            f"Found target values {others}, needed 1 for male and 0 for female. Check the sex "
            "column of cohort.tsv."
        )
    return target.astype(np.int64)


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
