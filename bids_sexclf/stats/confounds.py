"""Measure how much of a score simpler explanations, such as brain size, account for."""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.stats import _bca
from bids_sexclf.stats._evidence import check_draws, check_evidence, check_finite, check_labels
from bids_sexclf.stats.regional import sign_flips
from bids_sexclf.stats.resampling import arrange, block_sums, class_strata, replicates
from bids_sexclf.stats.scores import auc


def _check_beside(values, n, noun):
    """Check a column of finite numbers, one per row, and return it."""
    values = check_finite(values)
    if values.shape != (n,):
        raise InputError(
            f"Found {noun} of shape {values.shape}, needed one number per row, shape ({n},): "
            f"take {noun} and logit from the same table."
        )
    return values


def _centred_ranks(values, cell):
    """Rank values within each cell, from -1/2 to 1/2 about its middle."""
    from scipy.stats import rankdata

    ranks = np.empty(values.size)
    for c in np.unique(cell):
        in_cell = cell == c
        ranks[in_cell] = (rankdata(values[in_cell]) - (in_cell.sum() + 1) / 2) / in_cell.sum()
    return ranks


def _taken_out(beside, cell, target):
    """Return columns that span the effect of `beside` within each sex, and the means of cells."""
    cells = cell[:, None] == np.unique(cell)
    # Ranks within a small cell lose the distances between people; ranks within the sex keep them.
    ranks = [_centred_ranks(beside, one) for one in (cell, target)]
    slopes = [rank * sex for rank in ranks for sex in (target, ~target)]
    return np.column_stack([cells, *slopes])


def _association(first, second, nuisance, group, n, seed):
    """Compute the partial correlation of two columns, and test it by sign flips of families."""
    unknown = {"rho": np.nan, "p": np.nan, "n": first.size}
    if first.size < 3:
        return unknown
    basis, size, _ = np.linalg.svd(nuisance, full_matrices=False)
    basis = basis[:, size > 1e-9 * size.max(initial=0)]
    pair = [column - basis @ (basis.T @ column) for column in (first, second)]
    lengths = [np.sqrt(np.sum(column**2)) for column in pair]
    if min(lengths) < 1e-9 or first.size - basis.shape[1] < 2:
        return unknown
    first, second = (column / length for column, length in zip(pair, lengths, strict=True))
    _, total = block_sums(np.column_stack([first * second, second[:, None] * basis]), group)
    flips = sign_flips(total, n, seed)
    rho = next(flips)[0, 0]
    reached = 0
    for flipped in flips:
        # A flipped column is no longer orthogonal to the basis: correct its standard deviation.
        spread = np.sqrt(np.clip(1 - np.sum(flipped[:, 1:] ** 2, axis=1), 1e-9, None))
        reached += np.sum(np.abs(flipped[:, 0]) / spread >= abs(rho) - 1e-9)
    return {
        "rho": float(np.clip(rho, -1, 1)),
        "p": float((1 + reached) / (n + 1)),
        "n": first.size,
    }


def partial_association(
    logit, target, covariate, group=None, fold=None, n=5000, seed=0, beside=None
):
    """Correlate logits with a covariate, such as brain volume, within each sex.

    A network that has learned only head size gives larger logits to larger heads of
    *either* sex; differences between the sexes cannot cause this correlation.

    Parameters
    ----------
    logit, target, fold
        See :func:`bids_sexclf.stats.scores.check_evidence`. With folds, ranks are taken
        within fold and sex, since the logits of two folds are not on one scale.
    covariate : array_like of float, shape (participants,)
        Finite, in any unit.
    group : array_like, shape (participants,), optional
        Families, whose contributions are flipped as blocks.
    n : int
        Number of sign flips.
    seed : int
    beside : array_like of float, shape (participants,), optional
        What both columns may go with and is not asked about, such as age: its effect within
        each sex is taken out of the ranks of both before they are correlated. Finite, in any unit.

    Returns
    -------
    dict of dict
        ``negative`` (target 0), ``positive`` (target 1) and ``pooled`` (ranks within each
        sex, both sexes together), each with ``rho`` (Spearman correlation, in [-1, 1], partial
        where there is `beside`; 0 expected under the null), ``p`` (two-sided, in
        [1 / (n + 1), 1]) and ``n``. ``rho`` and ``p`` are ``nan`` with fewer than three
        participants, without any spread, or where `beside` leaves fewer than two degrees of
        freedom.

    Raises
    ------
    InputError
        If evidence, covariate, group, fold, ``beside`` or ``n`` are refused.

    Notes
    -----
    The p-value flips the signs of each family's sum of rank products, which are symmetric
    about zero when ranks are independent; it is close to exact, not exact. A covariate that
    is part of a true sex difference correlates too: this shows association, not cause. It holds for
    the fitted models, which may by chance have learnt something associated with the covariate.

    The effect of `beside` is linear in its ranks within the fold and sex and in its ranks within
    the sex, with a slope for each sex; together they can fit a curved effect. Removing it makes the
    products dependent, so each flipped sum is divided by its own standard deviation [2]_.

    References
    ----------
    .. [1] Hemerik, Goeman & Finos (2020). J. R. Stat. Soc. B 82, 841. doi:10.1111/rssb.12369
    .. [2] De Santis et al. (2025). J. Am. Stat. Assoc. doi:10.1080/01621459.2025.2491775
    """
    n, _ = check_draws(n)
    target, logit, fold = check_evidence(target, logit, fold)
    covariate = _check_beside(covariate, logit.size, "covariate")
    group = None if group is None else check_labels(group, logit.size, "group")
    cell = target if fold is None else 2 * fold + target
    logit_ranks, covariate_ranks = _centred_ranks(logit, cell), _centred_ranks(covariate, cell)
    nuisance, order = np.empty((logit.size, 0)), np.arange(logit.size)
    if beside is not None:
        beside = _check_beside(beside, logit.size, "beside")
        nuisance = _taken_out(beside, cell, target)
        order = np.lexsort(
            (beside, covariate_ranks, logit_ranks, cell)
        )  # sums must not depend on the order of rows
    parts = {"negative": ~target, "positive": target, "pooled": np.full(target.size, True)}
    rows = {name: order[part[order]] for name, part in parts.items()}
    return {
        name: _association(
            logit_ranks[in_group],
            covariate_ranks[in_group],
            nuisance[in_group],
            None if group is None else group[in_group],
            n,
            seed,
        )
        for name, in_group in rows.items()
    }


def explained_by(
    target,
    logit,
    covariate_logit,
    fold=None,
    group=None,
    n=2000,
    level=0.95,
    seed=0,
    factor=1.0,
):
    """Compare the AUC of a network with that of a baseline on the same participants.

    Parameters
    ----------
    target, logit, fold
        See :func:`bids_sexclf.stats.scores.check_evidence`; the logits of the network.
    covariate_logit : array_like of float, shape (n,)
        Logits of the baseline model, such as brain size alone, for the same rows.
    group : array_like, shape (n,), optional
        Families, drawn as blocks.
    n : int
        Number of resamples; network and baseline share them.
    level : float
        Coverage, in (0, 1).
    seed : int
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    dict
        ``network`` and ``baseline`` (AUC, in [0, 1]), ``difference`` (network - baseline, in
        [-1, 1]; 0 expected under the null), its interval ``low``, ``high``, the two-sided
        ``p`` that agrees with the interval, and ``explained``: True unless the whole
        interval lies above 0, that is, unless the network is shown to beat the baseline.

    Raises
    ------
    InputError
        If evidence, baseline, group, ``n`` or ``level`` are refused.

    Notes
    -----
    ``explained`` is absence of evidence, not evidence of absence: in a small sample everything is
    explained. Report the interval beside it. Under cross-validation the factor makes this more
    likely: it is correct where neither model is better than chance, and too large where both are.
    The interval is as in :func:`bids_sexclf.stats.resampling.bootstrap`, and ``nan`` in the same
    cases.

    References
    ----------
    .. [1] Efron (1987). J. Am. Stat. Assoc. 82, 171. doi:10.1080/01621459.1987.10478410
    """
    n, level = check_draws(n, level)
    covariate_logit = _check_beside(covariate_logit, np.size(logit), "covariate_logit")
    target, logit, fold, block, simple = arrange(target, logit, fold, group, covariate_logit)
    stratum = class_strata(target, block)

    def aucs(rows):
        part = None if fold is None else fold[rows]
        return auc(target[rows], logit[rows], part), auc(target[rows], simple[rows], part)

    def difference(rows):
        network, baseline = aucs(rows)
        return network - baseline

    network, baseline = aucs(np.arange(target.size))
    draws, left_out = replicates(difference, block, stratum, n, seed)
    speed = _bca.acceleration(left_out, stratum)
    low, high = _bca.interval(draws, network - baseline, speed, level, factor)
    return {
        "network": network,
        "baseline": baseline,
        "difference": network - baseline,
        "low": low,
        "high": high,
        "p": _bca.p_of_zero(draws, network - baseline, speed, factor),
        "explained": not low > 0,
    }
