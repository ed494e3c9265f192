"""Test whether the evidence of a model adds to brain size, age, motion, site, or all of them."""

import numpy as np

from bids_sexclf.cohort.blocks import CONFOUNDS, confound_columns, find_known
from bids_sexclf.stats.added import adds

LEVEL = 0.05


def add_rows(key, rows, people, factor):
    """Test one model on one map against each known confound, and against all together.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    rows : pandas.DataFrame
        Its test predictions.
    people : pandas.DataFrame
        As :func:`bids_sexclf.cohort.blocks.gather_people` gives it.
    factor : float
        Of the variance.

    Returns
    -------
    list of tuple
        Rows of the ``added`` table.
    """
    tested = people.loc[people.index.isin(rows["participant_id"])]
    names = find_known(tested)[0] + (["site"] if tested["site"].nunique() > 1 else [])
    sets = [[name] for name in names] + ([names] if len(names) > 1 else [])
    return [
        (*key, "+".join(confounds), *_judge(rows, tested, confounds, factor), factor)
        for confounds in sets
    ]


def _judge(rows, people, names, factor):
    """Return n, z, p, verdict and reason of one set of confounds."""
    numbers = [name for name in names if name in CONFOUNDS]
    people = people[people[numbers].notna().all(axis=1)]
    rows = rows[rows["participant_id"].isin(people.index)]
    place = people.index.get_indexer(rows["participant_id"])
    result = adds(
        rows["target"].to_numpy(int),
        rows["evidence"].to_numpy(float),
        confound_columns(people, names)[place],
        fold=(rows["repeat"].astype(str) + "/" + rows["fold"].astype(str)).to_numpy(),
        group=people["family"].to_numpy()[place],
        participant=rows["participant_id"].to_numpy(str),
        factor=factor,
    )
    verdict = None
    if not np.isnan(result["p"]):
        verdict = "adds" if result["p"] <= LEVEL else "not shown to add"
    return result["n"], result["z"], result["p"], verdict, result["reason"]
