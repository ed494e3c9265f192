"""The table of quality: all prepared participants, who is studied, and who is an outlier."""

import numpy as np
import pandas as pd

from bids_sexclf.cells import cut
from bids_sexclf.errors import InputError
from bids_sexclf.quality import judge, numbers, read_limits
from bids_sexclf.ratings import RATINGS, read_ratings
from bids_sexclf.stats.outliers import find_band
from bids_sexclf.tables import schema
from bids_sexclf.texts import count_noun


def find_ratings(desk):
    """Return the path of the ratings: that of the study, or that of an output folder.

    If the two levels write to different folders, the file may be in either folder.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    pathlib.Path
        The file need not exist.
    """
    beside = desk.folder.parent / RATINGS
    return desk.study.ratings or (beside if beside.exists() else desk.derivatives / RATINGS)


def check_gate(desk):
    """Read limits and ratings, and refuse invalid ones, before anything is computed.

    Parameters
    ----------
    desk : base.Desk
        ``quality_limits`` and ``ratings`` of its study are read.

    Returns
    -------
    limits : dict of str to (float, float)
        As `quality.read_limits` returns them.
    ratings : dict of tuple to (str, str)
        As `ratings.read_ratings` returns them.

    Raises
    ------
    InputError
        If the file ``ratings`` does not exist, two output folders hold ratings, or limits or
        ratings are damaged.
    """
    _check_file(desk)
    return read_limits(desk.study.quality_limits), read_ratings(find_ratings(desk))


def judge_quality(desk, table, sessions=(), people=()):
    """Decide by quality numbers and ratings which participants are studied.

    Parameters
    ----------
    desk : base.Desk
        ``quality_limits``, ``quality_outliers`` and ``ratings`` of its study are read.
    table : pandas.DataFrame
        As `quality.read_quality` returns it.
    sessions : iterable of tuple
        (participant_id, session_id) of everybody prepared, or left out before.
    people : iterable of str
        Participants of participants.tsv.

    Returns
    -------
    verdicts : quality.Verdicts
    refused : dict of tuple to str
        (participant_id, session_id) to why it is not studied.

    Raises
    ------
    InputError
        If the file ``ratings`` does not exist, two output folders hold ratings, or a rating names
        an unknown participant.
    """
    limits, ratings = check_gate(desk)
    keys = list(zip(table["participant_id"], table["session_id"], strict=True))
    _check_persons(ratings, {*keys, *sessions}, set(people), find_ratings(desk))
    verdicts = judge(table, limits, ratings, desk.study.quality_outliers)
    refused = {
        key: reason
        for key, gate, reason in zip(keys, verdicts.gate, verdicts.reasons, strict=True)
        if gate in ("refused", "rejected")
    }
    return verdicts, refused


def _check_file(desk):
    """Refuse a missing file of ratings, and ratings in two folders."""
    study = desk.study
    if study.ratings is not None and not study.ratings.exists():
        raise InputError(
            f"Found no {study.ratings}, needed the table that the setting ratings names. "
            "Correct the path, or leave it out."
        )
    beside, prepared = desk.folder.parent / RATINGS, desk.derivatives / RATINGS
    if study.ratings is None and beside.resolve() != prepared.resolve():
        if beside.exists() and prepared.exists():
            raise InputError(
                f"Found ratings in {beside} and in {prepared}, needed one file. Name the one that "
                "counts by the setting ratings, or remove the other."
            )


def _check_persons(ratings, sessions, people, path):
    """Refuse ratings of unknown participants, since they may mean somebody else."""
    prepared, strange = {person for person, _ in sessions}, []
    for key in ratings:
        person, session = key
        # The sessions of people who are not prepared are unknown.
        any_session = session is None or person not in prepared
        if not (person in prepared | people if any_session else key in sessions):
            strange.append("_".join(filter(None, key)))
    if strange:
        ellipsis = ", …" if len(strange) > 5 else ""
        raise InputError(
            f"Found {count_noun(len(strange), 'verdict')} in {path} on "
            f"{', '.join(map(cut, strange[:5]))}"
            f"{ellipsis}, of whom participants.tsv and the prepared files know nothing; needed the "
            "ids of participants and sessions as they are there. Correct or remove these rows."
        )


def gather_quality(table, verdicts, studied):
    """Return the quality numbers of all prepared participants, with the decisions.

    Parameters
    ----------
    table : pandas.DataFrame
        As `quality.read_quality` returns it.
    verdicts : quality.Verdicts
        Of its rows.
    studied : set of tuple
        (participant_id, session_id) of the cohort.

    Returns
    -------
    pandas.DataFrame
        The columns of the ``quality`` table, sorted by participant and session.
    """
    keys = list(zip(table["participant_id"], table["session_id"], strict=True))
    return table.assign(
        studied=["yes" if key in studied else "no" for key in keys],
        gate=verdicts.gate,
        outlier=["yes" if flags else "no" for flags in verdicts.flags],
        reason=verdicts.flags,
    )[list(schema("quality"))]


def limit_quality(quality):
    """Return the band of each quality number outside which values are outliers.

    Parameters
    ----------
    quality : pandas.DataFrame
        As `gather_quality` returns it.

    Returns
    -------
    pandas.DataFrame
        number, bad (direction), median, low, high; a row for each number known of two or more.
    """
    rows = []
    # A study of an earlier version may lack newer numbers.
    judged = {name: entry for name, entry in numbers().items() if name in quality}
    for name, entry in judged.items():
        finite = quality[name].dropna().astype(float)
        if len(finite) > 1:
            rows.append([name, entry["Bad"], float(np.median(finite)), *find_band(finite)])
    return pd.DataFrame(rows, columns=["number", "bad", "median", "low", "high"])
