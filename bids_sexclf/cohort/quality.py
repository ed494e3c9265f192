"""The table of quality: everybody prepared, who is studied, and who stands out."""

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
    """Name the file of a person's verdicts: the study's own, or that of an output folder.

    The group level may write elsewhere than the participant level: then the file may lie in
    either folder.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    pathlib.Path
        It need not exist.
    """
    beside = desk.folder.parent / RATINGS
    return desk.study.ratings or (beside if beside.exists() else desk.derivatives / RATINGS)


def check_gate(desk):
    """Refuse limits and verdicts that cannot be read, before anything is computed.

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
        If there is no such file as ``ratings``, if two output folders hold verdicts, or if limits
        or verdicts are damaged.
    """
    _check_file(desk)
    return read_limits(desk.study.quality_limits), read_ratings(find_ratings(desk))


def judge_quality(desk, table, sessions=(), people=()):
    """Decide by quality numbers and a person's verdicts who may be studied.

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
        If there is no such file as ``ratings``, if two output folders hold verdicts, or if there
        is a verdict on nobody.
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
    """Refuse verdicts that are not where the study says, or that lie in two places."""
    study = desk.study
    if study.ratings is not None and not study.ratings.exists():
        raise InputError(
            f"Found no {study.ratings}, needed the verdicts that the setting ratings names. "
            "Correct the path, or leave it out."
        )
    beside, prepared = desk.folder.parent / RATINGS, desk.derivatives / RATINGS
    if study.ratings is None and beside.resolve() != prepared.resolve():
        if beside.exists() and prepared.exists():
            raise InputError(
                f"Found verdicts in {beside} and in {prepared}, needed one file. Name the one that "
                "counts by the setting ratings, or remove the other."
            )


def _check_persons(ratings, sessions, people, path):
    """Refuse verdicts on nobody: somebody who shall not be studied may be meant."""
    seen, strange = {person for person, _ in sessions}, []
    for key in ratings:
        person, session = key
        # Of people who are not prepared nobody knows the sessions.
        any_session = session is None or person not in seen
        if not (person in seen | people if any_session else key in sessions):
            strange.append("_".join(filter(None, key)))
    if strange:
        more = ", …" if len(strange) > 5 else ""
        raise InputError(
            f"Found {count_noun(len(strange), 'verdict')} in {path} on "
            f"{', '.join(map(cut, strange[:5]))}"
            f"{more}, of whom participants.tsv and the prepared files know nothing; needed the "
            "ids of participants and sessions as they are there. Correct or remove these rows."
        )


def gather_quality(table, verdicts, studied):
    """Gather the quality numbers of everybody prepared, with what was decided.

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
    """Return the band outside which each quality number stands out.

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
    # A study of an earlier version does not have every number of today.
    judged = {name: entry for name, entry in numbers().items() if name in quality}
    for name, entry in judged.items():
        known = quality[name].dropna().astype(float)
        if len(known) > 1:
            rows.append([name, entry["Bad"], float(np.median(known)), *find_band(known)])
    return pd.DataFrame(rows, columns=["number", "bad", "median", "low", "high"])
