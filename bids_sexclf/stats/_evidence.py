"""Check targets, logits and labels before statistics use them."""

import numpy as np

from bids_sexclf.errors import InputError

MISSING = ("", "n/a", "N/A", "nan", "NaN", "None", "<NA>", "NaT")


def check_draws(n, level=0.95):
    """Check the number of draws and the level, and return them.

    Parameters
    ----------
    n : int
        At least 1.
    level : float
        In (0, 1).

    Returns
    -------
    n : int
    level : float

    Raises
    ------
    InputError
        If either is out of range.
    """
    if int(n) != n or n < 1 or not 0 < level < 1:
        raise InputError(
            f"Found n={n} draws and level={level}, needed a whole n >= 1 and 0 < level < 1: "
            "ask for some thousand draws and a level of 0.95."
        )
    return int(n), float(level)


def _floats(values, noun):
    """Convert values to an array of floats, or raise InputError."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Found {noun} that are not numbers ({error}), needed floats: read the column as float."
        ) from error


def check_finite(values):
    """Check that a table of participants is finite, and return it as floats.

    Parameters
    ----------
    values : array_like of float, shape (participants,) or (participants, columns)

    Returns
    -------
    numpy.ndarray of float, same shape

    Raises
    ------
    InputError
        If the shape is wrong or empty, or any value is not a finite number.
    """
    values = _floats(values, "values")
    if values.ndim not in (1, 2) or values.size == 0:
        raise InputError(
            f"Found values of shape {values.shape}, needed (participants,) or "
            "(participants, columns), not empty: give one row per participant."
        )
    bad = np.sum(~np.isfinite(values))
    if bad:
        raise InputError(
            f"Found {bad} of {values.size} values that are not finite, needed none: exclude the "
            "participants or regions they belong to, and count them."
        )
    return values


def check_labels(label, n, noun):
    """Convert the labels of rows to integer codes.

    Parameters
    ----------
    label : array_like, shape (n,)
        Numbers or strings that say which fold, family or participant a row belongs to.
    n : int
        Number of rows needed.
    noun : str
        What the labels name; used in the message.

    Returns
    -------
    numpy.ndarray of int, shape (n,)
        Codes 0, 1, ... in the sorted order of the labels.

    Raises
    ------
    InputError
        If the shape differs, or a label is missing.

    Examples
    --------
    >>> check_labels(["b", "a", "b"], 3, "fold").tolist()
    [1, 0, 1]
    """
    label = np.asarray(label)
    if label.shape != (n,):
        raise InputError(
            f"Found {noun} labels of shape {label.shape}, needed one per row, shape ({n},): "
            f"take {noun} and logit from the same table."
        )
    if label.dtype.kind not in "iub":
        label = label.astype(str)
        missing = np.flatnonzero(np.isin(label, MISSING))
        if missing.size:
            raise InputError(
                f"Found {missing.size} rows without a {noun} (first at row {missing[0]}), needed "
                f"a {noun} for every row: where it is unknown give each participant one of its own."
            )
    return np.unique(label, return_inverse=True)[1]


def check_evidence(target, logit, fold=None):
    """Check targets, logits and folds together, and return them for a score.

    Parameters
    ----------
    target : array_like, shape (n,)
        1 for the positive class, 0 for the other.
    logit : array_like of float, shape (n,)
        Evidence for the positive class, in logits.
    fold : array_like, shape (n,), optional
        The model that computed the logit: numbers or strings.

    Returns
    -------
    target : numpy.ndarray of bool, shape (n,)
    logit : numpy.ndarray of float, shape (n,)
    fold : numpy.ndarray of int, shape (n,), or None

    Raises
    ------
    InputError
        If shapes differ or are empty, a target is neither 0 nor 1, a logit is not
        a finite number, or a fold is missing.
    """
    target, logit = np.asarray(target), _floats(logit, "logits")
    if logit.ndim != 1 or logit.size == 0 or target.shape != logit.shape:
        raise InputError(
            f"Found target of shape {target.shape} and logit of shape {logit.shape}, needed two "
            "equal shapes (n,) with n > 0: give one row per prediction."
        )
    # Text cannot be compared with numbers; as objects, it differs from both.
    target = target.astype(object) if target.dtype.kind in "US" else target
    positive = np.equal(target, 1)
    strange, infinite = (
        np.sum(~(positive | np.equal(target, 0)).astype(bool)),
        np.sum(~np.isfinite(logit)),
    )
    if strange or infinite:
        raise InputError(
            f"Found {strange} targets other than 0 and 1 and {infinite} logits that are not finite "
            f"in {logit.size} rows, needed none: exclude these rows and count them, or refit."
        )
    return positive, logit, None if fold is None else check_labels(fold, logit.size, "fold")
