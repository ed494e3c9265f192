"""Shuffle the targets of the shuffled control, alike in every fold that tests the same people."""

import numpy as np

from bids_sexclf import targets
from bids_sexclf.cohort.blocks import gather_people
from bids_sexclf.seeds import stream
from bids_sexclf.stats.shuffling import shuffle_ages, shuffle_sexes

TABLE = "resemblance.tsv"
"""People who resemble each other like relatives are dealt one sex more, or none, together."""


def deal_targets(target, kind, cohort, resemblance, splits, repeat, seed):
    """Shuffle targets, so that they contain no information on the true ones.

    Parameters
    ----------
    target : ndarray, shape (rows,)
        The true ones, of the rows of the cohort.
    kind : str
        Name of the target.
    cohort, resemblance, splits : pandas.DataFrame
    repeat : int
        All folds of a repeat share the deal.
    seed : int
        Of the study.

    Returns
    -------
    ndarray, shape (rows,)
        All sessions of a participant have the same target.
    """
    people = gather_people(cohort, resemblance)
    row = people.index.get_indexer(cohort["participant_id"])
    first = np.array([np.flatnonzero(row == person)[0] for person in range(len(people))])
    shuffle = shuffle_sexes if targets.find(kind).is_classes else shuffle_ages
    cell = _cells(splits, repeat).reindex(people.index).fillna("unused").to_numpy(str)
    family = people["family"].to_numpy().astype(str)
    return shuffle(target[first], cell, family, stream(seed, "shuffled", repeat))[row]


def _cells(splits, repeat):
    """Return the test fold of each participant, or its part in the first fold."""
    of_repeat = splits[splits["repeat"] == repeat]
    tested = of_repeat[of_repeat["part"] == "test"].drop_duplicates("participant_id")
    cell = (
        of_repeat.drop_duplicates("participant_id").set_index("participant_id")["part"].astype(str)
    )
    cell.update("fold " + tested.set_index("participant_id")["fold"].astype(str))
    return cell
