"""Find equal scans under two ids, and pairs of people who are as similar as relatives."""

import hashlib
import re

import numpy as np

from bids_sexclf.stats.resemblance import close_pairs
from bids_sexclf.tables import write_table
from bids_sexclf.volumes import release

TABLE = "resemblance.tsv"
VOXELS = 4000
"""Voxels that pairs are compared by: a regular choice from those inside the brain."""


def find_copies(array, cohort, name):
    """Find participants with identical volumes.

    Parameters
    ----------
    array : array-like, shape (n, X, Y, Z)
    cohort : pandas.DataFrame
        Its rows.
    name : str
        Of the map.

    Returns
    -------
    dict of int to str
        Row to the fault. All copies are named, since the true owner of the scan is unknown.
    """
    rows_by_digest = {}
    for row in range(len(cohort)):
        rows_by_digest.setdefault(hashlib.sha256(array[row].tobytes()).digest(), []).append(row)
        release(array)
    faults = {}
    for rows in rows_by_digest.values():
        people = set(cohort["participant_id"].iloc[rows])
        for row in rows if len(people) > 1 else ():
            sharing = sorted(people - {cohort["participant_id"].iloc[row]})
            faults[row] = (
                f"the {name} map holds the same values as that of {', '.join(sharing)}, needed one "
                "scan per participant"
            )
    return faults


def write_resemblance(folder, cohort, arrays, inside):
    """Write the pairs of participants of different families who are as similar as relatives.

    Parameters
    ----------
    folder : pathlib.Path
        Of the study.
    cohort : pandas.DataFrame
    arrays : dict of str to array-like
        Map name to volumes, shape (n, X, Y, Z).
    inside : ndarray of bool, shape (X, Y, Z)
    """
    import pandas as pd

    rows, voxels = [], np.flatnonzero(inside)
    voxels = voxels[:: max(1, len(voxels) // VOXELS)]
    first = np.flatnonzero(~cohort["participant_id"].duplicated())
    people = cohort.iloc[first].reset_index(drop=True)
    family = people["family_id"].fillna(people["participant_id"])
    site = people["site"].fillna("n/a")
    for name, array in arrays.items():
        values = np.empty((len(first), len(voxels)), np.float32)
        for place, row in enumerate(first):
            values[place] = array[row].ravel()[voxels]
            release(array)
        values -= pd.DataFrame(values).groupby(site).transform("mean").to_numpy(np.float32)
        pairs, correlation, limit = close_pairs(values)
        ids = people["participant_id"].to_numpy()
        rows += [
            (name, ids[first_row], ids[second], round(r, 4), round(limit, 4))
            for (first_row, second), r in zip(pairs, correlation, strict=True)
            if family[first_row] != family[second]
        ]
    columns = ["map", "participant_id", "other_id", "correlation", "limit"]
    table = pd.DataFrame(rows, columns=columns)
    write_table(table, folder / TABLE, "resemblance")


def say_relatives(cohort, table):
    """Return a warning that participants may be related although no family is declared.

    Parameters
    ----------
    cohort, table : pandas.DataFrame
        Of the schemas ``cohort`` and ``resemblance``.

    Returns
    -------
    str or None
        None if there is no sign of it.
    """
    signs = []
    if looks_related(cohort):
        signs.append(
            "the ids look like those of the Human Connectome Project, which scanned twins and "
            "siblings, and no family is declared"
        )
    pairs = table.drop_duplicates(["participant_id", "other_id"])
    if len(pairs):
        named = ", ".join(
            f"{row.participant_id} and {row.other_id}" for row in pairs.head(3).itertuples()
        )
        signs.append(
            f"{len(pairs)} pair(s) resemble each other far more than strangers do ({named}"
            f"{', …' if len(pairs) > 3 else ''}; see {TABLE})"
        )
    if not signs:
        return None
    return (
        f"Relatives, or one person under two ids, may lie in several parts: {'; '.join(signs)}. "
        "Scores are then too high: add family_id to participants.tsv, and run again from cohort."
    )


def looks_related(cohort):
    """Return whether a cohort may contain undeclared relatives.

    Parameters
    ----------
    cohort : pandas.DataFrame

    Returns
    -------
    bool
        True where all ids are six digits, as in the Human Connectome Project, which recruited
        twins and siblings, and no family is known.
    """
    ids = cohort["participant_id"]
    return bool(
        cohort["family_id"].isna().all()
        and ids.map(lambda name: bool(re.fullmatch(r"sub-\d{6}", name))).all()
    )
