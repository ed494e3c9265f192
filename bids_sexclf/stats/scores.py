"""Scores of logits for two classes: discrimination and calibration.

Every score is a function ``score(target, logit, fold=None) -> float``. ``target``
is 1 for the positive class and 0 for the other, a positive logit predicts the
positive class, and the probability of the positive class is ``expit(logit)``.
An undefined score is ``nan``.
"""

import numpy as np
from scipy.special import expit, ndtri

from bids_sexclf.errors import InputError
from bids_sexclf.stats._evidence import check_evidence
from bids_sexclf.stats._recalibration import recalibrate

SCORES = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "brier",
    "calibration_error",
    "calibration_slope",
    "calibration_intercept",
)
"""Names of the scores; each is a function of this module."""

LOWER_IS_BETTER = ("brier", "calibration_error")
"""Scores of which a small value is the good one."""

WITHOUT_NULL = ("calibration_intercept",)
"""Scores that say nothing about chance, so that no permutation p belongs beside them."""

SHARES = ("auc", "accuracy", "balanced_accuracy", "precision", "recall")
"""Scores that are a share of participants or of pairs, in [0, 1]."""

OF_LEVEL = ("precision", "recall", "calibration_intercept")
"""Scores that move with the level of the logits. A man in the training part raises the logits of
those tested elsewhere, and lowers none of his own: what folds teach each other does not add up."""

WITHOUT_INTERVAL = ("calibration_error",)
"""Scores whose own bias exceeds their spread, so that a bootstrap interval would not cover."""


def _concordance(target, logit, fold):
    """Count concordant pairs (ties count half) and all pairs of different class, per fold."""
    fold = np.zeros(target.size, dtype=int) if fold is None else fold
    order = np.lexsort((logit, fold))
    target, logit, fold = target[order], logit[order], fold[order]
    first = np.r_[True, (logit[1:] != logit[:-1]) | (fold[1:] != fold[:-1])]
    tie = np.cumsum(first) - 1
    size = np.bincount(tie)
    rank = (np.cumsum(size) - (size - 1) / 2)[tie]
    members = np.bincount(fold)
    positive = np.bincount(fold, weights=target)
    below = np.cumsum(members) - members
    rank_sum = np.bincount(fold, weights=(rank - below[fold]) * target)
    return rank_sum - positive * (positive + 1) / 2, positive * (members - positive)


def auc(target, logit, fold=None):
    """Compute the AUC: the share of pairs, one of each class, in the right order.

    Only pairs *within* a fold are compared, and the pairs of all folds are pooled: the logits of
    two folds come from two models and have different scales, so the order of a pair across folds
    depends on the models as much as on the participants. A tie counts half. With ``fold=None`` one
    model computed all logits, and all pairs are compared.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`.

    Returns
    -------
    float
        In [0, 1]; 1 is perfect, and 0.5 is expected under the null. A fold with one
        class has no pairs; ``nan`` if no fold has any.

    References
    ----------
    .. [1] Hanley & McNeil (1982). Radiology 143, 29. doi:10.1148/radiology.143.1.7063747
    .. [2] Forman & Scholz (2010). SIGKDD Explor. 12, 49. doi:10.1145/1882471.1882479

    Examples
    --------
    >>> auc([0, 0, 1, 1], [-1.0, 0.5, 0.0, 2.0])
    0.75
    """
    concordant, pairs = _concordance(*check_evidence(target, logit, fold))
    return float(concordant.sum() / pairs.sum()) if pairs.sum() else np.nan


def _share(hit, of):
    """Return the share of true entries among some, ``nan`` if there are none."""
    return float(np.mean(hit[of])) if of.any() else np.nan


def accuracy(target, logit, fold=None):
    """Compute the share of participants whose class is predicted correctly.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.

    Returns
    -------
    float
        In [0, 1]. Under the null it is not 0.5 but depends on the class rates: a constant
        prediction has the share of the larger class.
    """
    target, logit, _ = check_evidence(target, logit, fold)
    return float(np.mean((logit > 0) == target))


def balanced_accuracy(target, logit, fold=None):
    """Compute the mean over classes of the share of correct predictions.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.

    Returns
    -------
    float
        In [0, 1]; 0.5 is expected under the null, whatever the rates. ``nan`` if a
        class is absent.
    """
    target, logit, _ = check_evidence(target, logit, fold)
    return (_share(logit > 0, target) + _share(logit <= 0, ~target)) / 2


def precision(target, logit, fold=None):
    """Compute the share of positive predictions that are correct.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.

    Returns
    -------
    float
        In [0, 1]; the share of the positive class is expected under the null.
        ``nan`` if no prediction is positive.
    """
    target, logit, _ = check_evidence(target, logit, fold)
    return _share(target, logit > 0)


def recall(target, logit, fold=None):
    """Compute the share of the positive class that is predicted positive.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.

    Returns
    -------
    float
        In [0, 1]; under the null the share of positive predictions is expected, which
        may have any value: do not read it alone. ``nan`` if the positive class is absent.
    """
    target, logit, _ = check_evidence(target, logit, fold)
    return _share(logit > 0, target)


def brier(target, logit, fold=None):
    """Compute the Brier score: the mean squared error of probabilities.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.

    Returns
    -------
    float
        In [0, 1]; small is good. With r the share of the positive class, the best
        that can be expected under the null is r (1 - r), 0.25 for equal classes.

    References
    ----------
    .. [1] Brier (1950). Mon. Weather Rev. 78, 1.
       doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    target, logit, _ = check_evidence(target, logit, fold)
    return float(np.mean((expit(logit) - target) ** 2))


def _bin(logit, bins):
    """Assign each logit to one of ``bins`` bins of equal count; equal logits share a bin."""
    _, inverse, count = np.unique(logit, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / logit.size
    return np.floor(middle * bins).astype(int)[inverse]


def calibration_curve(target, logit, bins=10, level=0.95):
    """Compute predicted and observed rates in bins of equal count.

    Parameters
    ----------
    target, logit
        See :func:`check_evidence`.
    bins : int
        Number of bins. Equal logits stay in one bin, so bins may differ in count, and
        those that stay empty are left out.
    level : float
        Coverage of the Wilson interval, in (0, 1).

    Returns
    -------
    dict of numpy.ndarray, each of shape (bins that hold anyone,)
        ``predicted`` (mean probability, in [0, 1]), ``observed`` (share of the positive
        class, in [0, 1]), ``n``, and the interval of the observed share ``low``, ``high``.

    Raises
    ------
    InputError
        If the evidence is refused, ``bins`` is below 1 or ``level`` is not in (0, 1).

    Notes
    -----
    The interval assumes independent participants; with families it is too narrow.

    References
    ----------
    .. [1] Wilson (1927). J. Am. Stat. Assoc. 22, 209. doi:10.1080/01621459.1927.10502953
    """
    target, logit, _ = check_evidence(target, logit)
    if bins < 1 or not 0 < level < 1:
        raise InputError(
            f"Found bins={bins} and level={level}, needed bins >= 1 and 0 < level < 1: "
            "ask for ten bins and a level of 0.95."
        )
    used_bins, code, n = np.unique(_bin(logit, int(bins)), return_inverse=True, return_counts=True)
    predicted = np.bincount(code, weights=expit(logit), minlength=used_bins.size) / n
    observed = np.bincount(code, weights=target, minlength=used_bins.size) / n
    z = ndtri((1 + level) / 2)
    centre = (observed + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(observed * (1 - observed) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    return {"predicted": predicted, "observed": observed, "n": n, "low": low, "high": high}


def calibration_error(target, logit, fold=None, bins=10):
    """Compute the mean distance between predicted and observed rates over bins of equal count.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.
    bins : int
        Number of bins, as in :func:`calibration_curve`.

    Returns
    -------
    float
        In [0, 1]; small is good. Sampling makes it positive, of the order of sqrt(bins / n),
        also for a calibrated model: compare only models with equal n, and report no bootstrap
        interval, which would contain the bias twice. A constant logit at the base rate has 0
        without any discrimination.

    References
    ----------
    .. [1] Naeini, Cooper & Hauskrecht (2015). AAAI 29, 2901. doi:10.1609/aaai.v29i1.9602
    """
    target, logit, _ = check_evidence(target, logit, fold)
    curve = calibration_curve(target, logit, bins)
    distance = np.abs(curve["observed"] - curve["predicted"])
    return float(np.average(distance, weights=curve["n"]))


def calibration_slope(target, logit, fold=None):
    """Compute the calibration slope: the factor that would calibrate the logits.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.

    Returns
    -------
    float
        Any real number. 1 is calibrated, below 1 overconfident, above 1 underconfident, and
        0 is expected under the null. ``nan`` if a class is absent, all logits are equal,
        or the fit does not converge.

    Notes
    -----
    Logistic regression of the target on the logit with Jeffreys' prior, so that the slope is
    finite when the classes are separated; it then is a kind of lower bound. The prior does not
    depend on the scale of the logits: logits twice as large give half the slope. The effect of
    the prior is of the order of 1 / n.

    References
    ----------
    .. [1] Cox (1958). Biometrika 45, 562. doi:10.1093/biomet/45.3-4.562
    .. [2] Firth (1993). Biometrika 80, 27. doi:10.1093/biomet/80.1.27
    .. [3] Heinze & Schemper (2002). Stat. Med. 21, 2409. doi:10.1002/sim.1047
    """
    target, logit, _ = check_evidence(target, logit, fold)
    return recalibrate(target, logit)[1]


def calibration_intercept(target, logit, fold=None):
    """Compute the calibration intercept: the shift of logits beside the slope.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`; the fold plays no part.

    Returns
    -------
    float
        In logits, any real number. 0 is calibrated, above 0 means that the positive
        class is predicted too rarely. Under the null the log odds of the positive class
        are expected. ``nan`` when :func:`calibration_slope` is.

    Notes
    -----
    The intercept of the regression that estimates the slope, not the one with slope 1.
    """
    target, logit, _ = check_evidence(target, logit, fold)
    return recalibrate(target, logit)[0]


def _fold_roc(target, logit):
    """Return false and true positive rates of one fold, from (0, 0) to (1, 1)."""
    order = np.argsort(-logit)
    target, logit = target[order], logit[order]
    last = np.r_[logit[1:] != logit[:-1], True]
    false, true = np.cumsum(~target)[last], np.cumsum(target)[last]
    return np.r_[0, false] / false[-1], np.r_[0, true] / true[-1]


def _levels(fpr, tpr, at):
    """Return the lower and the upper end of a curve at each of the abscissae ``at``."""
    first = np.searchsorted(fpr, at, side="left")
    last = np.searchsorted(fpr, at, side="right") - 1
    before = np.maximum(first - 1, 0)
    run = np.where(fpr[first] > fpr[before], fpr[first] - fpr[before], 1)
    between = tpr[before] + (tpr[first] - tpr[before]) * (at - fpr[before]) / run
    on = fpr[first] == at
    return np.where(on, tpr[first], between), np.where(on, tpr[last], between)


def roc_curve(target, logit, fold=None):
    """Compute the ROC curve, whose area is :func:`auc`.

    Each fold has its own curve, since its logits have their own scale. The curves are averaged at
    equal false positive rate, weighted by the number of pairs in each fold; the area of the
    average by the trapezoid rule therefore equals ``auc(target, logit, fold)``.

    Parameters
    ----------
    target, logit, fold
        See :func:`check_evidence`.

    Returns
    -------
    fpr, tpr : numpy.ndarray, shape (points,)
        In [0, 1], neither decreasing, from (0, 0) to (1, 1). Folds with one class are
        left out; if no fold has both classes, ``tpr`` is ``nan`` at 0 and 1.

    References
    ----------
    .. [1] Fawcett (2006). Pattern Recognit. Lett. 27, 861. doi:10.1016/j.patrec.2005.10.010
    """
    target, logit, fold = check_evidence(target, logit, fold)
    _, pairs = _concordance(target, logit, fold)
    if not pairs.any():
        return np.array([0.0, 1.0]), np.full(2, np.nan)
    fold = np.zeros(target.size, dtype=int) if fold is None else fold
    used = np.flatnonzero(pairs)
    curves = [_fold_roc(target[fold == f], logit[fold == f]) for f in used]
    at = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    levels = np.array([_levels(fpr, tpr, at) for fpr, tpr in curves])
    low, high = np.einsum("f,fek->ek", pairs[used] / pairs[used].sum(), levels)
    return np.repeat(at, 2), np.clip(np.column_stack([low, high]).ravel(), 0, 1)
