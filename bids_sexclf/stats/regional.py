"""Test, per region, whether hiding it lowers the probability of the correct class.

A drop is P(correct | whole) - P(correct | hidden); a positive drop means that the region supported
the correct class. All tests are one-sided, towards positive drops.

The claim that a model leans on a region uses only :func:`signflip_max`. The Wilcoxon test is
reported because it is the published rule; it does not test a mean, and ignores families and
multiple tests.
"""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.stats._evidence import check_draws, check_finite
from bids_sexclf.stats.resampling import block_sums


def check_drop(drop):
    """Check drops, and return them as floats.

    Parameters
    ----------
    drop : array_like of float, shape (participants, regions)

    Returns
    -------
    numpy.ndarray of float, shape (participants, regions)

    Raises
    ------
    InputError
        If the shape is wrong or empty, or any drop is not finite.
    """
    drop = check_finite(drop)
    if drop.ndim != 2:
        raise InputError(
            f"Found drops of shape {drop.shape}, needed (participants, regions): "
            "give a single region as one column."
        )
    return drop


def _signed_ranks(column):
    """Return the rank sums of positive and negative values; zeros are ranked but not summed."""
    from scipy.stats import rankdata

    rank = rankdata(np.abs(column))
    return rank[column > 0].sum(), rank[column < 0].sum()


def wilcoxon_drop(drop, factor=1.0):
    """Test each region by a Wilcoxon signed-rank test over participants.

    Parameters
    ----------
    drop : array_like of float, shape (participants, regions)
        In any unit.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    dict of numpy.ndarray, each of shape (regions,)
        ``mean``, ``effect_size`` (matched-pairs rank-biserial correlation, in
        [-1, 1]; 1 if every drop that is not zero is positive, 0 expected under the null)
        and ``p`` (in [0, 1], alternative: the drop is above zero; uniform under the null,
        uncorrected). A region whose drops are all zero has p = 1 and effect size 0.

    Raises
    ------
    InputError
        If a drop is not finite, or the shape is not (participants, regions).

    Notes
    -----
    Zeros are treated after Pratt: they are ranked, so that few tiny drops among many zeros do not
    look large, and are then removed. The test assumes independent participants and drops that are
    symmetric about zero under the null; with families use :func:`signflip_max`. Drops of
    cross-validated models are dependent across folds: the normal deviate of p is divided by the
    root of ``factor``.

    References
    ----------
    .. [1] Wilcoxon (1945). Biometrics Bull. 1, 80. doi:10.2307/3001968
    .. [2] Pratt (1959). J. Am. Stat. Assoc. 54, 655. doi:10.1080/01621459.1959.10501526
    .. [3] Kerby (2014). Compr. Psychol. 3, 1. doi:10.2466/11.IT.3.1
    """
    from scipy.stats import norm, wilcoxon

    drop = check_drop(drop)
    effect_size, p = np.zeros(drop.shape[1]), np.ones(drop.shape[1])
    # One region at a time: a zero in one must not change the method for another.
    for r in np.flatnonzero(drop.any(axis=0)):
        above, below = _signed_ranks(drop[:, r])
        effect_size[r] = (above - below) / (above + below)
        p[r] = wilcoxon(drop[:, r], zero_method="pratt", alternative="greater").pvalue
    if factor != 1:
        p = norm.sf(norm.isf(p) / np.sqrt(factor))
    return {"mean": drop.mean(axis=0), "effect_size": effect_size, "p": p}


LEVEL = 0.05
"""Family-wise p up to which a region is named."""


def is_named(rows):
    """Return which regions a model is shown to lean on.

    Report, figures, terminal and demo use this function.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of the regions table.

    Returns
    -------
    pandas.Series of bool
        False also where method and fill make no claim.
    """
    return rows["p_fwe"] <= LEVEL


def find_strongest(rows):
    """Find the region with the largest drop among those that the model leans on.

    Parameters
    ----------
    rows : pandas.DataFrame
        Regions of one model, map, method, fill and atlas, at least one, with ``mean``,
        ``effect_size`` and ``p_fwe``.

    Returns
    -------
    pandas.Series
        The named region with the largest mean drop. If no region is named, the one with the
        smallest family-wise p, then the largest drop and effect. Of equal ones, the first.
    """
    sure = rows[is_named(rows)]
    if len(sure):
        return sure.sort_values("mean", ascending=False, kind="stable").iloc[0]
    order = ["p_fwe", "mean", "effect_size"]
    return rows.sort_values(order, ascending=[True, False, False], kind="stable").iloc[0]


def sign_flips(total, n, seed):
    """Yield sums of blocks, as observed and with randomly flipped signs.

    Parameters
    ----------
    total : numpy.ndarray of float, shape (blocks, columns)
        Sums of the values of each block.
    n : int
        Number of flips; all columns share them.
    seed : int

    Yields
    ------
    numpy.ndarray of float, shape (flips, columns)
        First the observed sums, as a single row, then the flipped ones in portions.
    """
    yield total.sum(axis=0, keepdims=True)
    rng = np.random.default_rng(seed)
    portion = max(1, 2_000_000 // len(total))
    for start in range(0, n, portion):
        signs = rng.integers(0, 2, size=(min(portion, n - start), len(total)))
        yield (2.0 * signs - 1) @ total


def weigh_alike(target):
    """Compute weights of participants such that both classes count equally.

    Parameters
    ----------
    target : array_like, shape (participants,)
        1 for one class, 0 for the other.

    Returns
    -------
    numpy.ndarray of float, shape (participants,)
        n / (2 n_class); their mean is 1.

    Raises
    ------
    InputError
        If there is only one class.

    Examples
    --------
    >>> weigh_alike([1, 0, 0, 0]).tolist()
    [2.0, 0.6666666666666666, 0.6666666666666666, 0.6666666666666666]
    """
    target = np.asarray(target)
    classes, code, counts = np.unique(target, return_inverse=True, return_counts=True)
    if len(classes) != 2:
        raise InputError(
            f"Found {len(classes)} class(es) among {target.size} participants, needed two to "
            "weigh them alike: test women and men."
        )
    return target.size / (2 * counts[code])


def signflip(drop, group=None, n=5000, seed=0, factor=1.0, weight=None):
    """Test every region by sign flips, uncorrected and by the maximum statistic.

    Under the null, the summed drops of a family are positive or negative with equal probability,
    so that flips do not change their distribution. The largest studentised sum over regions of
    each flip gives the corrected p-value.

    Parameters
    ----------
    drop : array_like of float, shape (participants, regions)
        In any unit.
    group : array_like, shape (participants,), optional
        Families, flipped as blocks.
    n : int
        Number of flips.
    seed : int
        Equal seeds give equal p-values, whatever the order of the participants.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.
    weight : array_like of float, shape (participants,), optional
        See :func:`weigh_alike`; 1 for everyone by default.

    Returns
    -------
    p, p_fwe : numpy.ndarray of float, each of shape (regions,)
        In [1 / (n + 1), 1]. ``p`` is uncorrected; ``p_fwe`` is corrected over all regions. A
        region whose drops are all zero has 1.

    Raises
    ------
    InputError
        If a drop is not finite, the shape is not (participants, regions), or group, weight or
        ``n`` are refused.

    Notes
    -----
    The sum is studentised by the spread of block sums, which no flip changes. With b blocks there
    are 2 ** b distinct flips, and no p-value can be far below 2 ** -b.

    References
    ----------
    .. [1] Nichols & Holmes (2002). Hum. Brain Mapp. 15, 1. doi:10.1002/hbm.1058
    .. [2] Winkler et al. (2014). NeuroImage 92, 381. doi:10.1016/j.neuroimage.2014.01.060
    """
    n, _ = check_draws(n)
    drop = check_drop(drop)
    if weight is not None:
        weight = check_finite(weight)
        if weight.shape != (len(drop),) or (weight < 0).any():
            raise InputError(
                f"Found weights of shape {weight.shape}, {(weight < 0).sum()} of them negative, "
                f"for {len(drop)} participants; needed one each, none negative."
            )
        drop = drop * weight[:, None]
    _, total = block_sums(drop, group)
    scale = np.sqrt(np.sum(total**2, axis=0))
    flips = sign_flips(total / np.where(scale > 0, scale, 1), n, seed)
    observed = next(flips)[0]
    alone = np.zeros(drop.shape[1])
    largest = []
    for flipped in flips:
        # Equal sums may differ in the last bits.
        alone += (np.sqrt(factor) * flipped >= observed - 1e-9).sum(axis=0)
        largest.append(flipped.max(axis=1))
    reached = np.sqrt(factor) * np.concatenate(largest)[:, None] >= observed - 1e-9
    return (1 + alone) / (n + 1), (1 + reached.sum(axis=0)) / (n + 1)


def signflip_max(drop, group=None, n=5000, seed=0, factor=1.0, weight=None):
    """Test all regions by sign flips, corrected by the maximum statistic.

    Parameters
    ----------
    drop, group, n, seed, factor, weight
        See :func:`signflip`.

    Returns
    -------
    numpy.ndarray of float, shape (regions,)
        ``p_fwe`` of :func:`signflip`.

    Raises
    ------
    InputError
        See :func:`signflip`.
    """
    return signflip(drop, group, n, seed, factor, weight)[1]
