"""Compute the AUC among women and men who are paired by a confound."""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.stats import _bca
from bids_sexclf.stats._evidence import check_draws, check_evidence, check_finite, check_labels
from bids_sexclf.stats.matching import match_pairs
from bids_sexclf.stats.resampling import replicates
from bids_sexclf.stats.scores import auc

FEWEST = 4
"""Pairs below which nothing is said."""


def standardise_within(evidence, fold, participant):
    """Standardise evidence within each fold, and average it over the rows of each participant.

    Parameters
    ----------
    evidence : numpy.ndarray of float, shape (rows,)
    fold, participant : numpy.ndarray of int, shape (rows,)
        Codes 0, 1, ...

    Returns
    -------
    numpy.ndarray of float, shape (participants,)
        Evidence of different folds on one scale; 0 where all evidence of a fold is equal.
    """
    count = np.bincount(fold)
    centred = evidence - (np.bincount(fold, weights=evidence) / count)[fold]
    spread = np.sqrt(np.bincount(fold, weights=centred**2) / count)[fold]
    standard = np.where(spread > 0, centred / np.where(spread > 0, spread, 1), 0)
    return np.bincount(participant, weights=standard) / np.bincount(participant)


def matched_auc(
    target,
    evidence,
    confound,
    calipers,
    *,
    fold,
    participant,
    n=2000,
    level=0.95,
    seed=0,
    factor=1.0,
):
    """Compute the AUC among women and men paired by a confound, for several calipers.

    Parameters
    ----------
    target : array_like, shape (rows,)
        1 for the positive class, 0 for the other.
    evidence, confound : array_like of float, shape (rows,)
        Of people outside the training data; the confound in any unit.
    calipers : sequence of float
        Largest differences within a pair, in the unit of the confound; ``inf`` makes as many pairs
        as possible.
    fold, participant : array_like, shape (rows,)
    n, level, seed, factor
        As for :func:`bids_sexclf.stats.resampling.bootstrap`; whole pairs are resampled.

    Returns
    -------
    list of dict
        ``caliper``, ``pairs``, ``difference`` (mean difference of the confound within pairs,
        positive class less the other), ``auc``, ``low`` and ``high``; the last three are ``nan``
        with fewer than four pairs.

    Raises
    ------
    InputError
        If rows differ in number, or values are not finite.

    Notes
    -----
    The model is not fitted again: if its evidence depends only on the confound, the AUC falls to
    0.5 as the caliper becomes smaller.
    """
    n, level = check_draws(n, level)
    target, evidence, fold = check_evidence(target, evidence, fold)
    confound = check_finite(confound)
    if confound.shape != evidence.shape:
        raise InputError(
            f"Found a confound of shape {confound.shape} for evidence of shape {evidence.shape}, "
            "needed one number per row. Take both from the same table."
        )
    unit = check_labels(participant, evidence.size, "participant")
    first = np.unique(unit, return_index=True)[1]
    scores, label = standardise_within(evidence, fold, unit), target[first]
    values = np.bincount(unit, weights=confound) / np.bincount(unit)
    men, women = np.flatnonzero(label), np.flatnonzero(~label)
    entries = []
    for caliper in calipers:
        reach = caliper if np.isfinite(caliper) else np.ptp(values) + 1
        pairs = match_pairs(values[men], values[women], reach)
        rows = np.stack([men[pairs[:, 0]], women[pairs[:, 1]]], axis=1)
        apart = values[rows[:, 0]] - values[rows[:, 1]]
        entry = {"caliper": float(caliper), "pairs": len(rows)}
        entry["difference"] = float(apart.mean()) if len(rows) else np.nan
        entries.append(entry | _score(label, scores, rows, n, level, seed, factor))
    return entries


def _score(label, scores, pairs, n, level, seed, factor):
    """Compute the AUC of the members of pairs, and its interval by resampling pairs."""
    if len(pairs) < FEWEST:
        return {"auc": np.nan, "low": np.nan, "high": np.nan}
    rows, block = pairs.ravel(), np.repeat(np.arange(len(pairs)), 2)

    def of(chosen):
        return auc(label[rows[chosen]], scores[rows[chosen]])

    stratum = np.zeros(len(pairs), dtype=int)
    draws, left_out = replicates(of, block, stratum, n, seed)
    value = of(np.arange(rows.size))
    speed = _bca.acceleration(left_out, stratum)
    low, high = np.clip(_bca.interval(draws, value, speed, level, factor), 0, 1)
    return {"auc": value, "low": float(low), "high": float(high)}
