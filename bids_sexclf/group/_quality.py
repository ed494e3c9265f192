"""The quality of every prepared participant-session, and who stands out."""

import json
import math

import numpy as np
import pandas as pd

from bids_sexclf import layout
from bids_sexclf.stats.outliers import find_band, find_outliers
from bids_sexclf.tables import schema


def read_qualities(derivatives, names):
    """Read the quality numbers of everyone prepared.

    Parameters
    ----------
    derivatives : path-like
    names : iterable of str
        Numbers that the cohort needs beside those of the ``quality`` table.

    Returns
    -------
    qualities : dict of tuple to dict
        (participant_id, session_id) to number by name; None where it is unknown.
    faults : dict of tuple to str
        (participant_id, session_id) to what is wrong with the file.
    """
    about = schema("cohort") | schema("quality")
    numbers = {name: about[name] for name in (*_numbers(), *names)}
    qualities, faults = {}, {}
    for entry in layout.find_derivatives(derivatives, "quality"):
        key = (entry["participant_id"], entry["session_id"])
        try:
            qualities[key] = _read_quality(derivatives / entry["path"], numbers)
        except (OSError, ValueError, OverflowError, RecursionError) as fault:
            reason = " ".join(str(fault).split())[:200]
            faults[key] = f"{entry['path']} cannot be used ({reason}), needed what was written"
    return qualities, faults


def _numbers():
    """Give the data dictionary of the numbers that are judged."""
    return {name: entry for name, entry in schema("quality").items() if "Bad" in entry}


def _read_quality(path, numbers):
    """Read one file, and refuse what its data dictionary does not allow."""
    held = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(held, dict):
        raise ValueError("it holds no names and numbers")
    values = {name: held.get(name) for name in numbers}
    for name, value in values.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            values[name] = None
            continue
        least, most = (numbers[name].get(bound) for bound in ("Minimum", "Maximum"))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isinf(value):
            raise ValueError(f"{name} is {str(value)[:40]!r}, needed a number")
        if (least is not None and value < least) or (most is not None and value > most):
            raise ValueError(f"{name} is {value:g}, needed {least} to {most}")
        values[name] = float(value)
    return values


def gather_quality(qualities, studied):
    """Gather the quality numbers of everyone prepared, and flag those who stand out.

    Parameters
    ----------
    qualities : dict of tuple to dict
        As `read_qualities` gives it.
    studied : set of tuple
        (participant_id, session_id) of the cohort.

    Returns
    -------
    pandas.DataFrame
        The columns of the ``quality`` table, sorted by participant and session. A number that
        the data dictionary declares ``Bad`` in a direction is judged in that direction.
    """
    numbers, rows = _numbers(), []
    for key, held in qualities.items():
        studied_too = "yes" if key in studied else "no"
        rows.append([*key, studied_too, "no", None, *(held.get(name) for name in numbers)])
    table = pd.DataFrame(rows, columns=list(schema("quality")))
    reasons = [[] for _ in range(len(table))]
    for name, about in numbers.items():
        table[name] = pd.to_numeric(table[name])
        outlier, distance = find_outliers(table[name], about["Bad"])
        for row in outlier.nonzero()[0]:
            reasons[row].append(_say(name, table[name][row], distance[row], about))
    table["reason"] = ["; ".join(told) or None for told in reasons]
    table["outlier"] = ["yes" if told else "no" for told in reasons]
    return table


def limit_quality(quality):
    """Give the band outside which each quality number stands out.

    Parameters
    ----------
    quality : pandas.DataFrame
        As `gather_quality` gives it.

    Returns
    -------
    pandas.DataFrame
        number, bad (direction), median, low, high; a row for each number known of two or more.
    """
    rows = []
    for name, entry in schema("quality").items():
        known = quality[name].dropna().astype(float) if "Bad" in entry else ()
        if len(known) > 1:
            rows.append([name, entry["Bad"], float(np.median(known)), *find_band(known)])
    return pd.DataFrame(rows, columns=["number", "bad", "median", "low", "high"])


def _say(name, value, distance, about):
    """Say in a few words what stands out and how far."""
    units = f" {about['Units']}" if "Units" in about else ""
    side = "above" if distance > 0 else "below"
    return f"{name} {value:.3g}{units}, {abs(distance):.1f} robust SD {side} the median"
