"""The table of quality: everybody prepared, who is studied, and who stands out."""

import numpy as np
import pandas as pd

from bids_sexclf.quality import RATINGS, judge, numbers, read_limits, read_ratings
from bids_sexclf.stats.outliers import find_band
from bids_sexclf.tables import schema


def find_ratings(desk):
    """Name the file of a person's verdicts: the study's own, or that of the output folder.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    pathlib.Path
        It need not exist.
    """
    return desk.study.ratings or desk.derivatives / RATINGS


def judge_quality(desk, table):
    """Decide by quality numbers and a person's verdicts who may be studied.

    Parameters
    ----------
    desk : base.Desk
        ``quality_limits``, ``quality_outliers`` and ``ratings`` of its study are read.
    table : pandas.DataFrame
        As `quality.read_quality` returns it.

    Returns
    -------
    verdicts : quality.Verdicts
    refused : dict of tuple to str
        (participant_id, session_id) to why it is not studied.
    """
    study = desk.study
    ratings = read_ratings(find_ratings(desk))
    verdicts = judge(table, read_limits(study.quality_limits), ratings, study.quality_outliers)
    keys = zip(table["participant_id"], table["session_id"], strict=True)
    refused = {
        key: reason
        for key, gate, reason in zip(keys, verdicts.gate, verdicts.reasons, strict=True)
        if gate in ("refused", "rejected")
    }
    return verdicts, refused


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
    for name, entry in numbers().items():
        known = quality[name].dropna().astype(float)
        if len(known) > 1:
            rows.append([name, entry["Bad"], float(np.median(known)), *find_band(known)])
    return pd.DataFrame(rows, columns=["number", "bad", "median", "low", "high"])
