"""Describe how much less sure models of several folds are than models that share nobody."""

import numpy as np

from bids_sexclf.errors import InputError


def variance_factor(learnt, tested):
    """Return the factor by which cross-validation raises the variance of what participants tell.

    Where one model has learnt from A and is tested on B, what it scores varies with B alone, and
    resampling B says how much. Under cross-validation another model has learnt from B and is
    tested on A: if A and B happen to resemble each other, both score well, and both errors go in
    one direction. Where there is no effect a score is, to second order, a sum over pairs of
    participants of what j as a teacher does for i when tested, and for most learners what j does
    for i is what i does for j. A pair that counts both ways then has twice the weight, and four
    times the variance, of a pair that counts one way, of which resampling the tested sees half.

    Parameters
    ----------
    learnt, tested : array_like of bool, shape (folds, participants)
        From whom the model of each fold has learnt (epochs chosen on them included), and whom it
        is tested on.

    Returns
    -------
    float
        In [1, 2]: 1 where nobody who is tested teaches a model that tests a teacher, as in one
        split; 2 for complete k-fold, repeated k-fold and leave-one-site-out.

    Raises
    ------
    InputError
        If shapes differ, or a fold has no teacher or nobody to test.

    Notes
    -----
    The factor is right for what is found by chance, and so for tests of no effect. With an effect
    it is too large for most scores, and for differences between models, which need not vary
    together; and too small for two: the mean drop of a region that truly matters, and the lean of
    errors of age, where a participant moves the number as a teacher and as a tested one. It does
    not hold for scores that move with the level of logits (``scores.OF_LEVEL``), nor for models
    whose training labels were dealt anew in each fold.

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
    # Weight of a pair: in how many folds j has taught the model that i is tested by.
    both_ways = np.sum((tested @ learnt.T) * (learnt @ tested.T))
    one_way = np.sum((tested @ tested.T) * (learnt @ learnt.T))
    return float(1 + both_ways / one_way)
