"""The variance of cross-validated scores relative to that of independent test data."""

import numpy as np

from bids_sexclf.errors import InputError


def variance_factor(learnt, tested):
    """Compute the factor by which cross-validation increases the variance of a score.

    A model trained on A and tested on B has a score that varies with B only, and resampling B
    estimates this variance. Under cross-validation, another model is trained on B and tested on A.
    If A and B are similar by chance, both scores are high: their errors are correlated. Without an
    effect, a score is, to second order, a sum over pairs (i, j) of the influence of training
    participant j on test participant i, and for most models this influence is symmetric. A pair
    that counts in both directions has twice the weight, and so four times the variance, of a pair
    that counts in one direction. Resampling test participants captures half of it.

    Parameters
    ----------
    learnt, tested : array_like of bool, shape (folds, participants)
        From whom the model of each fold has learnt (epochs chosen on them included), and whom it
        is tested on.

    Returns
    -------
    float
        In [1, 2]: 1 where no pair of participants counts in both directions, as in a single split;
        2 for complete k-fold, repeated k-fold and leave-one-site-out.

    Raises
    ------
    InputError
        If shapes differ, or a fold has no training or no test participant.

    Notes
    -----
    The factor is correct under the null, and so for tests of no effect. With an effect it is too
    large for most scores, and for differences between models, whose errors need not be
    correlated. It is too small in two cases: the mean drop of a region with an effect, and the
    slope of age errors, where a participant has influence both in training and in testing. It does
    not hold for scores that depend on the level of logits (``scores.OF_LEVEL``), nor for models
    whose training labels are permuted separately in each fold.

    References
    ----------
    .. [1] Nadeau & Bengio (2003). Mach. Learn. 52, 239. doi:10.1023/A:1024068626366
    .. [2] Noirhomme et al. (2014). NeuroImage Clin. 4, 687. doi:10.1016/j.nicl.2014.04.004
    .. [3] Bates, Hastie & Tibshirani (2024). J. Am. Stat. Assoc. 119, 1434.
       doi:10.1080/01621459.2023.2197686

    Examples
    --------
    >>> learnt = [[False, True, True], [True, False, True], [True, True, False]]
    >>> variance_factor(learnt, np.logical_not(learnt))
    2.0
    >>> variance_factor([[True, True, False]], [[False, False, True]])
    1.0
    """
    learnt, tested = np.atleast_2d(learnt).astype(float), np.atleast_2d(tested).astype(float)
    if learnt.shape != tested.shape or not np.all(tested.any(axis=1) & learnt.any(axis=1)):
        raise InputError(
            f"Found teachers of shape {learnt.shape} and tested of shape {tested.shape}, needed "
            "one shape (folds, participants) with somebody of either in each fold. Take both from "
            "splits.tsv."
        )
    # Weight of a pair: number of folds in which j is in training and i in the test.
    both_ways = np.sum((tested @ learnt.T) * (learnt @ tested.T))
    one_way = np.sum((tested @ tested.T) * (learnt @ learnt.T))
    return float(1 + both_ways / one_way)
