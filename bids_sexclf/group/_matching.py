"""Compute the AUC of a model among women and men paired by brain size."""

import numpy as np

from bids_sexclf.stats.matched import matched_auc

CALIPERS = (np.inf, 100.0, 50.0, 25.0, 10.0)
"""Largest differences of brain volume within a pair, mL; infinite: whoever can be paired."""


def match_rows(key, rows, study, factor):
    """Compute the AUC of one model on one map among pairs, for several calipers.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    rows : pandas.DataFrame
        Its test predictions, with ``brain_volume_ml``.
    study : settings.Study
    factor : float
        Of the variance.

    Returns
    -------
    list of tuple
        Rows of the ``matching`` table; none if fewer than four of either sex have a volume.
    """
    with_volume = rows[rows["brain_volume_ml"].notna()]
    counts = with_volume.groupby("target")["participant_id"].nunique().reindex([0, 1]).fillna(0)
    if counts.min() < 4:
        return []
    entries = matched_auc(
        with_volume["target"].to_numpy(int),
        with_volume["evidence"].to_numpy(float),
        with_volume["brain_volume_ml"].to_numpy(float),
        CALIPERS,
        fold=(with_volume["repeat"].astype(str) + "/" + with_volume["fold"].astype(str)).to_numpy(),
        participant=with_volume["participant_id"].to_numpy(str),
        n=study.bootstraps,
        level=study.interval_level,
        seed=study.random_seed,
        factor=factor,
    )
    return [
        (
            *key,
            one["caliper"] if np.isfinite(one["caliper"]) else np.nan,
            one["pairs"],
            one["difference"],
            one["auc"],
            one["low"],
            one["high"],
            factor,
        )
        for one in entries
    ]
