"""Test, per region, whether occluding it takes evidence away.

A drop is evidence(whole) - evidence(occluded) in logits; positive means that the region
spoke for the class. All tests are one-sided, towards positive drops.
"""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.stats._evidence import check_draws, check_finite
from bids_sexclf.stats.resampling import block_sums


def check_drop(drop):
    """Return drops as floats, or refuse them.

    Parameters
    ----------
    drop : array_like of float, shape (participants, regions)

    Returns
    -------
    numpy.ndarray of float, shape (participants, regions)

    Raises
    ------
    InputError
        If the shape is another, empty, or any drop is not finite.
    """
    drop = check_finite(drop)
    if drop.ndim != 2:
        raise InputError(
            f"Found drops of shape {drop.shape}, needed (participants, regions): "
            "give a single region as one column."
        )
    return drop


def _signed_ranks(column):
    """Give the rank sums of positive and of negative values; zeros are ranked, then left out."""
    from scipy.stats import rankdata

    rank = rankdata(np.abs(column))
    return rank[column > 0].sum(), rank[column < 0].sum()


def wilcoxon_drop(drop, factor=1.0):
    """Test each region by a Wilcoxon signed-rank test over participants.

    Parameters
    ----------
    drop : array_like of float, shape (participants, regions)
        In logits.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    dict of numpy.ndarray, each of shape (regions,)
        ``mean`` (logits), ``effect_size`` (matched-pairs rank-biserial correlation, in
        [-1, 1]; 1 if every drop that is not zero is positive, 0 expected under the null)
        and ``p`` (in [0, 1], alternative: the drop is above zero; uniform under the null,
        uncorrected). A region whose drops are all zero has p = 1 and effect size 0.

    Raises
    ------
    InputError
        If a drop is not finite, or the shape is not (participants, regions).

    Notes
    -----
    Zeros are treated after Pratt: they take part in the ranking, so that few tiny drops
    among many zeros do not pass for large ones, and then leave. The test takes participants
    as independent and drops as symmetric about zero under the null; with families use
    :func:`signflip_max`. Drops of cross-validated models depend on each other across folds:
    the normal deviate of p is divided by the root of ``factor``.

    References
    ----------
    .. [1] Wilcoxon (1945). Biometrics Bull. 1, 80. doi:10.2307/3001968
    .. [2] Pratt (1959). J. Am. Stat. Assoc. 54, 655. doi:10.1080/01621459.1959.10501526
    .. [3] Kerby (2014). Compr. Psychol. 3, 1. doi:10.2466/11.IT.3.1
    """
    from scipy.stats import norm, wilcoxon

    drop = check_drop(drop)
    effect_size, p = np.zeros(drop.shape[1]), np.ones(drop.shape[1])
    # One region at a time: a zero in one must not change how p is computed in another.
    for r in np.flatnonzero(drop.any(axis=0)):
        above, below = _signed_ranks(drop[:, r])
        effect_size[r] = (above - below) / (above + below)
        p[r] = wilcoxon(drop[:, r], zero_method="pratt", alternative="greater").pvalue
    if factor != 1:
        p = norm.sf(norm.isf(p) / np.sqrt(factor))
    return {"mean": drop.mean(axis=0), "effect_size": effect_size, "p": p}


def find_strongest(rows, level=0.05):
    """Find the region whose hiding costs most among those shown to matter.

    Parameters
    ----------
    rows : pandas.DataFrame
        Regions of one model, map, method, fill and atlas, at least one, with ``mean``,
        ``effect_size`` and ``p_holm``.
    level : float
        Below this corrected p a region is shown to matter.

    Returns
    -------
    pandas.Series
        Of those shown to matter the one of the largest mean fall; where none is, the nearest:
        that of the smallest corrected p, then of the largest fall and effect. Among equals the
        first.
    """
    sure = rows[rows["p_holm"] < level]
    if len(sure):
        return sure.sort_values("mean", ascending=False, kind="stable").iloc[0]
    order = ["p_holm", "mean", "effect_size"]
    return rows.sort_values(order, ascending=[True, False, False], kind="stable").iloc[0]


def sign_flips(total, n, seed):
    """Sum blocks, as observed and with their signs flipped at random.

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


def signflip_max(drop, group=None, n=5000, seed=0, factor=1.0):
    """Test all regions at once against the largest statistic that flipped signs give.

    Under the null a drop is as likely positive as negative, so flipping all drops of a
    participant (of a family) changes nothing. Each flip keeps the largest studentised mean
    over the regions; a region is judged against those.

    Parameters
    ----------
    drop : array_like of float, shape (participants, regions)
        In logits.
    group : array_like, shape (participants,), optional
        Families, flipped as blocks.
    n : int
        Number of flips.
    seed : int
        Equal seeds give equal p-values, whatever the order of the participants.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    numpy.ndarray of float, shape (regions,)
        p_fwe, in [1 / (n + 1), 1]: the chance that any region at all does as well under
        the null. A region whose drops are all zero has 1.

    Raises
    ------
    InputError
        If a drop is not finite, the shape is not (participants, regions), or group or
        ``n`` are refused.

    Notes
    -----
    With blocks the mean is studentised by the spread of block sums. With few blocks there
    are few distinct flips: with b of them no p-value can be far below 2 ** -b.

    References
    ----------
    .. [1] Nichols & Holmes (2002). Hum. Brain Mapp. 15, 1. doi:10.1002/hbm.1058
    .. [2] Winkler et al. (2014). NeuroImage 92, 381. doi:10.1016/j.neuroimage.2014.01.060
    """
    n, _ = check_draws(n)
    _, total = block_sums(check_drop(drop), group)
    # Studentised by the root of the sum of squares, which no flip changes.
    scale = np.sqrt(np.sum(total**2, axis=0))
    flips = sign_flips(total / np.where(scale > 0, scale, 1), n, seed)
    observed = next(flips)[0]
    largest = np.concatenate([flipped.max(axis=1) for flipped in flips])
    # Equal sums may differ in their last bits.
    reached = np.sqrt(factor) * largest[:, None] >= observed - 1e-9
    return (1 + reached.sum(axis=0)) / (n + 1)
