"""Bootstrap and permutation: resample participants, or exchange their labels."""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.stats import _bca
from bids_sexclf.stats._evidence import check_draws, check_evidence, check_labels
from bids_sexclf.stats.scores import SHARES


def block_counts(stratum, n, seed):
    """Draw how often each block is in a resample, with replacement and within strata.

    Parameters
    ----------
    stratum : array_like of int, shape (blocks,)
        Blocks of one stratum stand in for each other, so that strata keep their size.
    n : int
        Number of resamples.
    seed : int

    Returns
    -------
    numpy.ndarray of int, shape (n, blocks)
        Copies of each block; every resample has as many blocks of a stratum as the data.
    """
    stratum = np.asarray(stratum)
    rng = np.random.default_rng(seed)
    counts = np.empty((n, stratum.size), dtype=int)
    for s in np.unique(stratum):
        members = np.flatnonzero(stratum == s)
        even = np.full(members.size, 1 / members.size)
        counts[:, members] = rng.multinomial(members.size, even, size=n)
    return counts


def block_sums(table, group=None):
    """Sum the rows of each family; the result does not depend on the order of rows.

    Parameters
    ----------
    table : numpy.ndarray of float, shape (participants, columns)
    group : array_like, shape (participants,), optional
        Families; without it every row stands alone.

    Returns
    -------
    size : numpy.ndarray of int, shape (blocks,)
    total : numpy.ndarray of float, shape (blocks, columns)
    """
    order = np.lexsort(table.T)
    if group is None:
        return np.ones(len(table), dtype=int), table[order]
    block = check_labels(group, len(table), "group")[order]
    size = np.bincount(block)
    total = np.zeros((size.size, table.shape[1]))
    np.add.at(total, block, table[order])
    return size, total


def class_strata(target, block):
    """Return the stratum of each block: one class, the other class, or both.

    Parameters
    ----------
    target : numpy.ndarray of bool, shape (n,)
    block : numpy.ndarray of int, shape (n,)
        Codes 0, 1, ... of the blocks.

    Returns
    -------
    numpy.ndarray of int, shape (blocks,)
        Resampling within these strata keeps every class in the resample.
    """
    positive, members = np.bincount(block, weights=target), np.bincount(block)
    return np.where(positive == 0, 0, np.where(positive == members, 1, 2))


def replicates(statistic, block, stratum, n, seed):
    """Compute a statistic on resamples of blocks, and without each block in turn.

    Parameters
    ----------
    statistic : callable
        Takes row numbers, some of them repeated, and gives a float.
    block : numpy.ndarray of int, shape (rows,)
    stratum : numpy.ndarray of int, shape (blocks,)
    n : int
        Number of resamples.
    seed : int

    Returns
    -------
    draws : numpy.ndarray of float, shape (n,)
    left_out : numpy.ndarray of float, shape (blocks,)
    """
    rows = np.arange(block.size)
    counts = block_counts(stratum, n, seed)
    draws = np.array([statistic(np.repeat(rows, count[block])) for count in counts])
    if stratum.size == 1:
        return draws, np.full(1, np.nan)
    left_out = np.array([statistic(rows[block != b]) for b in range(stratum.size)])
    return draws, left_out


def arrange(target, logit, fold=None, group=None, *further):
    """Check evidence, and sort rows, so that results do not depend on their order.

    Parameters
    ----------
    target, logit, fold
        See :func:`bids_sexclf.stats.scores.check_evidence`.
    group : array_like, shape (n,), optional
        Families, kept whole; without it every row stands for itself.
    *others : numpy.ndarray, shape (n,)
        More columns to bring into the same order.

    Returns
    -------
    target, logit, fold, block, *others : numpy.ndarray, shape (n,)
        ``fold`` remains None if it was; ``block`` holds codes 0, 1, ...
    """
    target, logit, fold = check_evidence(target, logit, fold)
    block = None if group is None else check_labels(group, logit.size, "group")
    keys = [key for key in (block, *further, logit, target, fold) if key is not None]
    order = np.lexsort(keys)
    fold = None if fold is None else fold[order]
    block = np.arange(order.size) if block is None else block[order]
    return target[order], logit[order], fold, block, *(column[order] for column in further)


def bootstrap(score, target, logit, fold=None, group=None, n=2000, level=0.95, seed=0, factor=1.0):
    """Compute the bootstrap interval of a score over participants.

    Participants are resampled with replacement within their class; families are resampled whole,
    within strata of one class, of the other, and of both. The interval is bias-corrected and
    accelerated, since a score near its limit has a skewed distribution, for which a percentile
    interval is wrong.

    Parameters
    ----------
    score : callable
        ``score(target, logit, fold) -> float``, e.g. one of :data:`scores.SCORES`.
    target, logit, fold
        See :func:`bids_sexclf.stats.scores.check_evidence`.
    group : array_like, shape (n,), optional
        Families. If a participant has several rows (sessions, repeats) and no family
        is known, the participant is the group.
    n : int
        Number of resamples.
    level : float
        Coverage, in (0, 1).
    seed : int
        Equal seeds give equal intervals, whatever the order of the rows.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    low, high : float
        Both ``nan`` if the interval is undefined: the score is undefined, or is so in more than
        one resample in twenty, or is equal in all of them. A share of 0 or 1 has the exact
        binomial bound for as many trials as the rarer class has participants or families, for any
        factor: this is conservative, and never [1, 1].

    Raises
    ------
    InputError
        If evidence, group, ``n`` or ``level`` are refused.

    Notes
    -----
    The models are not fitted again: with a factor of 1 the interval covers the variation of the
    test sample. The factor of cross-validation adds the dependence between folds, in which test
    participants of one model train another. The variation by the training seed is not covered.

    References
    ----------
    .. [1] Efron (1987). J. Am. Stat. Assoc. 82, 171. doi:10.1080/01621459.1987.10478410
    .. [2] Field & Welsh (2007). J. R. Stat. Soc. B 69, 369.
       doi:10.1111/j.1467-9868.2007.00593.x
    """
    n, level = check_draws(n, level)
    target, logit, fold, block = arrange(target, logit, fold, group)
    stratum = class_strata(target, block)

    def of(rows):
        return score(target[rows], logit[rows], None if fold is None else fold[rows])

    draws, left_out = replicates(of, block, stratum, n, seed)
    value = of(np.arange(target.size))
    if value in (0, 1) and np.all(draws == value) and getattr(score, "__name__", "") in SHARES:
        return _exact_bounds(value, target, block, level)
    bounds = _bca.interval(draws, value, _bca.acceleration(left_out, stratum), level, factor)
    if getattr(score, "__name__", "") in SHARES:
        bounds = np.clip(bounds, 0, 1)
    return tuple(map(float, bounds))


def _exact_bounds(value, target, block, level):
    """Return the Clopper-Pearson interval of a share of 0 or 1, doi:10.1093/biomet/26.4.404."""
    fewest = min(np.unique(block[label == target]).size for label in (0, 1))
    reach = ((1 - level) / 2) ** (1 / fewest)
    return (reach, 1.0) if value else (0.0, 1 - reach)


def _check_units(target, unit, block):
    """Raise InputError for participants with two labels or in two families."""
    first = np.unique(unit, return_index=True)[1]
    torn = np.sum(block != block[first][unit])
    two = np.sum(target != target[first][unit])
    if torn or two:
        raise InputError(
            f"Found {torn} rows whose participant is also in another group and {two} whose "
            "participant has another target too, needed one of each per participant: "
            "mend participants.tsv."
        )


def exchange(target, fold, unit, block):
    """Return a function of a random generator that permutes the labels of participants.

    Parameters
    ----------
    target : numpy.ndarray, shape (n,)
        Labels, or other values, of rows.
    fold, unit, block : numpy.ndarray of int, shape (n,)
        Fold, participant and family of each row.

    Returns
    -------
    callable
        Returns values of the same kind and shape; a family gets those of another family of its
        fold and size.
    """
    _, first = np.unique(unit, return_index=True)
    lowest, highest = np.full(unit.size, unit.size), np.full(unit.size, -1)
    np.minimum.at(lowest, block, fold)
    np.maximum.at(highest, block, fold)
    block = block[first]
    home = np.where(lowest == highest, lowest, -1)[block]
    size = np.bincount(block)[block]
    layout = np.lexsort((block, size, home))

    def deal(rng):
        within, between = rng.random((2, unit.size))
        donor = np.lexsort((within[: first.size], between[block], size, home))
        label = np.empty(first.size, dtype=target.dtype)
        label[layout] = target[first[donor]]
        return label[unit]

    return deal


def permutation(
    score,
    target,
    logit,
    fold=None,
    group=None,
    n=1000,
    seed=0,
    higher_is_better=True,
    participant=None,
    factor=1.0,
):
    """Compute the permutation p-value of a score.

    Labels are exchanged between the participants of a fold. A whole family gets the labels of
    another family of the same fold and size, in random order within the family. A family in
    several folds (repeats) is exchanged with families of its size in the same folds. Where nothing
    can be exchanged, p is 1.

    Parameters
    ----------
    score : callable
        ``score(target, logit, fold) -> float``, e.g. one of :data:`scores.SCORES`.
    target, logit, fold
        See :func:`bids_sexclf.stats.scores.check_evidence`.
    group : array_like, shape (n,), optional
        Families; without it every participant stands alone.
    n : int
        Number of permutations.
    seed : int
    higher_is_better : bool
        False for :data:`scores.LOWER_IS_BETTER`.
    participant : array_like, shape (n,), optional
        Needed where participants have several rows (sessions, repeats): a participant
        has one label. Without it every row is a participant.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    null_mean : float
        Mean score of the permuted labels.
    p : float
        (1 + number of permutations at least as good) / (n + 1), in [1 / (n + 1), 1]; uniform
        under the null. With a factor, the score is first moved towards the mean of the permuted
        scores; p is then uniform as far as the factor is correct. Both are ``nan`` if the score
        is.

    Raises
    ------
    InputError
        If evidence, group or ``n`` are refused, or a participant has two labels.

    Notes
    -----
    The members of a family are assumed exchangeable. The models are not fitted again, so permuted
    scores vary less than scores of cross-validated models without an effect: the distance of the
    score from their mean is divided by the root of ``factor``. The model of shuffled labels, which
    is fitted, is reported as a check of the whole pipeline.

    References
    ----------
    .. [1] Phipson & Smyth (2010). Stat. Appl. Genet. Mol. Biol. 9, 39.
       doi:10.2202/1544-6115.1585
    .. [2] Winkler et al. (2015). NeuroImage 123, 253. doi:10.1016/j.neuroimage.2015.05.092
    """
    n, _ = check_draws(n)
    rows = np.size(logit)
    named = [] if participant is None else [check_labels(participant, rows, "participant")]
    target, logit, fold, block, *named = arrange(target, logit, fold, group, *named)
    unit = named[0] if named else np.arange(rows)
    block = unit if group is None else block
    _check_units(target, unit, block)
    deal = exchange(target, np.zeros_like(unit) if fold is None else fold, unit, block)
    rng = np.random.default_rng(seed)
    sign = 1 if higher_is_better else -1
    observed = sign * score(target, logit, fold)
    if np.isnan(observed):
        return np.nan, np.nan
    null = np.array([sign * score(deal(rng), logit, fold) for _ in range(n)])
    return float(sign * np.nanmean(null)), reached(null, observed, factor)


def reached(null, observed, factor=1.0):
    """Compute the p-value of a score, given scores under the null.

    Parameters
    ----------
    null : numpy.ndarray of float, shape (n,)
        A large score is a good one; an undefined one speaks for the null.
    observed : float
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    float
        In [1 / (n + 1), 1].
    """
    middle = np.nanmean(null)
    observed = middle + (observed - middle) / np.sqrt(factor)
    # Equal scores may differ in the last bit.
    worse = np.sum(null < observed - 1e-12 * max(1.0, abs(observed)))
    return float((1 + null.size - worse) / (null.size + 1))
