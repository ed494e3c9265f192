"""The quality of every prepared participant-session, and who stands out."""

import json

import numpy as np
import pandas as pd

from bids_sexclf import layout
from bids_sexclf.stats.outliers import find_band, find_outliers
from bids_sexclf.tables import schema


def gather_quality(derivatives, studied):
    """Gather the quality numbers of everyone prepared, and flag those who stand out.

    Parameters
    ----------
    derivatives : path-like
    studied : set of tuple
        (participant_id, session_id) of the cohort.

    Returns
    -------
    pandas.DataFrame
        The columns of the ``quality`` table, sorted by participant and session. A number that
        the data dictionary declares ``Bad`` in a direction is judged in that direction.
    """
    numbers = {name: entry for name, entry in schema("quality").items() if "Bad" in entry}
    rows = []
    for entry in layout.find_derivatives(derivatives, "quality"):
        key = (entry["participant_id"], entry["session_id"])
        held = json.loads((derivatives / entry["path"]).read_text())
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
