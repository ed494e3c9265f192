"""The inputs of a job: participants of a part, their volumes or columns, their target."""

import numpy as np

from bids_sexclf.cohort import features
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.errors import InputError
from bids_sexclf.features import Features
from bids_sexclf.volumes import Channels, Rows, open_cohort


def part_rows(job, cohort, splits, part):
    """Return the cohort rows of one part of the job's fold.

    Parameters
    ----------
    job : Job
    cohort, splits : pandas.DataFrame
    part : {"train", "validation", "test"}

    Returns
    -------
    ndarray of int
        All sessions of the part's participants.
    """
    of_part = splits[
        (splits["repeat"] == job.repeat) & (splits["fold"] == job.fold) & (splits["part"] == part)
    ]
    return np.flatnonzero(cohort["participant_id"].isin(of_part["participant_id"]))


def inputs(job, entry, cohort, rows):
    """Return the inputs of a model: rows of the cohort array, or columns of the table.

    Parameters
    ----------
    job : Job
    entry : module
        Of the model catalogue.
    cohort : pandas.DataFrame
    rows : ndarray of int

    Returns
    -------
    volumes.Rows, volumes.Channels, features.Features or ndarray, shape (n, k)
        Channels if maps are joined by ``+``.

    Raises
    ------
    InputError
        If a column that the model reads is unknown for some.
    """
    if entry.READS == "volumes":
        return map_rows(job, cohort, rows)
    if entry.READS == "features":
        table, _ = features.read_features(job.study, job.study_folder, cohort)
        return Features(table.values[rows], table.names)
    values = cohort.loc[rows, list(entry.READS)]
    unknown = values.isna().any(axis=1)
    if unknown.any():
        names = cohort.loc[unknown[unknown].index, "participant_id"].tolist()
        raise InputError(
            f"Found {len(names)} participants without {' or '.join(entry.READS)} "
            f"({', '.join(names[:5])}), needed by {job.model}. Leave it out of the baselines, or "
            "prepare the scans that tell it."
        )
    return values.to_numpy(object if "site" in entry.READS else float)


def map_rows(job, cohort, rows):
    """Return participants of the cohort array of the job's map, or of its maps as channels.

    Parameters
    ----------
    job : Job
    cohort : pandas.DataFrame
    rows : ndarray of int

    Returns
    -------
    volumes.Rows or volumes.Channels

    Raises
    ------
    InputError
        If an array is damaged, or its number of participants differs from the cohort.
    """
    maps = []
    for name in job.map.split("+"):
        path = array_path(job.study_folder, name)
        array = open_cohort(path)
        if array.ndim != 4 or len(array) != len(cohort):
            raise InputError(
                f"Found {path} of shape {array.shape} for {len(cohort)} rows of cohort.tsv, needed "
                "one volume each. Run again with --first cohort."
            )
        maps.append(Rows(array, rows))
    return maps[0] if len(maps) == 1 else Channels(maps)
