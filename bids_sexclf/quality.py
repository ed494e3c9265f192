"""Judge prepared participants by quality numbers and by the ratings of a person.

Three criteria, in this order. A person's verdict in ratings.tsv overrides every number. Absolute
limits refuse broken scans. Robust outliers among the participants are flagged, and refused only if
a study says so.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bids_sexclf import layout
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.ratings import RATINGS, find_verdict
from bids_sexclf.stats.outliers import LIMIT, find_outliers
from bids_sexclf.tables import schema

KEYS = ["participant_id", "session_id"]

LIMIT_WORDS = re.compile(
    r"\s*(\w+)\s*(>=|<=)\s*(none|[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*"
)
"""A limit in a study's settings: name of a number, direction, number or ``none``."""


def numbers():
    """Return the quality numbers that are judged.

    Returns
    -------
    dict of str to dict
        Name to its entry in the data dictionary: ``Bad`` is the direction of bad values,
        ``Lowest`` and ``Highest`` are the limits beyond which a scan is broken.
    """
    return {name: entry for name, entry in schema("quality").items() if "Bad" in entry}


def read_quality(out, names=None):
    """Read the quality files of every prepared participant-session.

    Parameters
    ----------
    out : path-like
        Output folder of the participant level.
    names : iterable of str, optional
        Numbers to read, of the data dictionaries ``quality`` and ``cohort``; by default those
        that are judged.

    Returns
    -------
    table : pandas.DataFrame
        participant_id, session_id and the numbers, float; NaN where unknown.
    damaged : dict of tuple to str
        (participant_id, session_id) to the fault of its file.
    """
    files = {
        (entry["participant_id"], entry["session_id"]): Path(out, entry["path"])
        for entry in layout.find_derivatives(out, "quality")
    }
    return tabulate(files, names)


def tabulate(contents, names=None):
    """Return a table of the quality numbers of participant-sessions.

    Parameters
    ----------
    contents : dict of tuple to path-like or dict
        (participant_id, session_id) to a quality file, or to what it holds.
    names : iterable of str, optional
        As for `read_quality`.

    Returns
    -------
    table : pandas.DataFrame
    damaged : dict of tuple to str
        As of `read_quality`.
    """
    import pandas as pd

    about = schema("cohort") | schema("quality")
    entries = {name: about[name] for name in (numbers() if names is None else names)}
    rows, damaged = [], {}
    for key, content in contents.items():
        try:
            rows.append([*key, *_read_numbers(content, entries)])
        except (OSError, ValueError, OverflowError, RecursionError) as fault:
            source = "Its quality numbers" if isinstance(content, dict) else Path(content).name
            reason = " ".join(str(fault).split())[:200]
            damaged[key] = (
                f"{source} cannot be used ({reason}), needed what the participant level wrote; run "
                "the participant level again"
            )
    table = pd.DataFrame(rows, columns=[*KEYS, *entries])
    table = table.astype(dict.fromkeys(KEYS, object) | dict.fromkeys(entries, float))
    table[KEYS] = table[KEYS].where(table[KEYS].notna(), None)
    return table, damaged


def _read_numbers(content, entries):
    """Read the numbers of one file, or of its content; raise ValueError for invalid ones."""
    if not isinstance(content, dict):
        content = json.loads(content.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it holds no names and numbers")
    values = [_check_number(name, content.get(name), entry) for name, entry in entries.items()]
    if np.isnan(values).all():
        raise ValueError("it holds none of the quality numbers")
    return values


def _check_number(name, value, entry):
    """Return a value as a number within its bounds; NaN where it is unknown."""
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {str(value)[:40]!r}, needed a number")
    value = float(value)  # a whole number of hundreds of digits is none: an OverflowError
    if np.isinf(value):
        raise ValueError(f"{name} is infinite, needed a number")
    lowest, highest = entry.get("Minimum", -np.inf), entry.get("Maximum", np.inf)
    if value < lowest or value > highest:
        raise ValueError(f"{name} is {value:g}, needed {lowest:g} to {highest:g}")
    return value


def flag(table):
    """Find the participant-sessions that are outliers, and the numbers in which they are.

    Parameters
    ----------
    table : pandas.DataFrame
        As `read_quality` returns it.

    Returns
    -------
    reasons : list of dict of str to str
        For each row, the outlying numbers, each with a short text.
    distances : pandas.DataFrame
        Robust standard deviations from the median, positive in the bad direction.
    """
    import pandas as pd

    reasons, distances = [{} for _ in range(len(table))], {}
    for name, entry in numbers().items():
        outlier, distance = find_outliers(table[name], entry["Bad"])
        distances[name] = {"high": distance, "low": -distance, "both": np.abs(distance)}[
            entry["Bad"]
        ]
        for row in np.flatnonzero(outlier):
            side = "above" if distance[row] > 0 else "below"
            reasons[row][name] = (
                f"{_say(name, table[name].iloc[row])}, {abs(distance[row]):.1f} robust SD {side} "
                "the median"
            )
    return reasons, pd.DataFrame(distances, index=table.index)


def _say(name, value):
    """Return a number with its name and units, with at least three digits."""
    units = numbers()[name].get("Units")
    digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{name} {digits}{f' {units}' if units else ''}"


def read_limits(changes=()):
    """Return the limits beyond which a quality number refuses a participant-session.

    Parameters
    ----------
    changes : iterable of str
        What a study sets instead: ``"registration_agreement >= 0.7"``, ``"motion_mm <= 2"``, or
        ``"snr >= none"`` for no limit on that side.

    Returns
    -------
    dict of str to (float, float)
        Number to its lowest and highest value allowed; infinite where there is no limit.

    Raises
    ------
    InputError
        If a change cannot be read, names an unknown number, or contradicts another one.

    Examples
    --------
    >>> read_limits(["motion_mm <= 2"])["motion_mm"]
    (-inf, 2.0)
    """
    limits = {
        name: [float(entry.get("Lowest", -np.inf)), float(entry.get("Highest", np.inf))]
        for name, entry in numbers().items()
    }
    changed = {}
    for change in changes:
        parts = LIMIT_WORDS.fullmatch(change)
        if not parts or parts[1] not in limits:
            raise InputError(
                f"Found quality_limits {change!r}, needed one such as 'motion_mm <= 2' or "
                f"'snr >= none', of the numbers {', '.join(limits)}. Correct quality_limits."
                f"{suggest([parts[1] if parts else change], limits)}"
            )
        name, side = parts[1], 0 if parts[2] == ">=" else 1
        open_side = -np.inf if side == 0 else np.inf
        limits[name][side] = open_side if parts[3] == "none" else float(parts[3])
        earlier = changed.setdefault((name, side), change)
        if earlier is not change:
            raise InputError(
                f"Found quality_limits {earlier!r} and {change!r}, needed one limit on that side "
                f"of {name}. Take one of them out."
            )
    for name, (lowest, highest) in limits.items():
        if lowest > highest:
            raise InputError(
                f"Found quality_limits by which {name} must be at least {lowest:g} and at most "
                f"{highest:g}; needed a range that holds some value. Correct quality_limits."
            )
    return {name: tuple(pair) for name, pair in limits.items()}


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on participant-sessions.

    Attributes
    ----------
    gate : list of str
        For each row: ``passed``, ``refused`` (a number lies beyond its limit), ``accepted`` (a
        person's verdict is use, though a number lies beyond its limit) or ``rejected`` (a
        person's verdict is exclude).
    reasons : list of str or None
        Why the row is refused, accepted or rejected.
    flags : list of str or None
        Which numbers stand out from the others, or a person is unsure about.
    """

    gate: list = field(default_factory=list)
    reasons: list = field(default_factory=list)
    flags: list = field(default_factory=list)


def judge(table, limits, ratings=None, outliers=None):
    """Decide who may be studied by quality numbers and a person's verdicts.

    Parameters
    ----------
    table : pandas.DataFrame
        As `read_quality` returns it.
    limits : dict
        As `read_limits` returns it.
    ratings : dict, optional
        As `read_ratings` returns it.
    outliers : float, optional
        Refuse also what lies farther than so many robust standard deviations from the median, in
        the bad direction. By default such rows are only flagged.

    Returns
    -------
    Verdicts
    """
    odd, distances = flag(table)
    verdicts, ratings = Verdicts(), ratings or {}
    for position, row in enumerate(table.to_dict("records")):
        broken = _beyond(row, limits)
        if outliers is not None:
            broken += [
                f"{_say(name, row[name])} lies {distance:.1f} robust SD from the median, needed "
                f"at most {outliers:g}"
                for name, distance in distances.iloc[position].items()
                if distance > max(outliers, LIMIT)
            ]
        verdict, comment = find_verdict(ratings, row["participant_id"], row["session_id"])
        gate, reason = _decide(broken, verdict, comment)
        flags = list(odd[position].values())
        if verdict == "unsure":
            flags.append(f"a person is unsure{f' ({comment})' if comment else ''}")
        verdicts.gate.append(gate)
        verdicts.reasons.append(reason)
        verdicts.flags.append("; ".join(flags) or None)
    return verdicts


def state_of(gate, flags):
    """Return the state of a participant-session on a page: its gate, or ``odd``.

    Parameters
    ----------
    gate : str
        As of `Verdicts`.
    flags : str or None
        What stands out.
    """
    return "odd" if gate == "passed" and flags else gate


def mark(value, limits, odd):
    """Return the mark by which a page colours a number.

    Parameters
    ----------
    value : float
        Not a number where it is unknown.
    limits : (float, float)
    odd : bool
        It stands out from the others.

    Returns
    -------
    {"broken", "odd", ""}
        ``broken`` lies beyond the limits.
    """
    if value != value:
        return ""
    return "broken" if not limits[0] <= value <= limits[1] else "odd" if odd else ""


def _beyond(row, limits):
    """List the numbers beyond their limits; unknown ones are within."""
    broken = []
    for name, (lowest, highest) in limits.items():
        if row[name] < lowest:
            broken.append(f"{_say(name, row[name])}, needed at least {lowest:g}")
        elif row[name] > highest:
            broken.append(f"{_say(name, row[name])}, needed at most {highest:g}")
    return broken


def _decide(broken, verdict, comment):
    """Return the state of one row and its reason."""
    remark = f" ({comment})" if comment else ""
    if verdict == "exclude":
        return "rejected", f"a person's verdict in {RATINGS} is exclude{remark}"
    if not broken:
        return "passed", None
    if verdict == "use":
        return "accepted", f"{'; '.join(broken)}; a person's verdict in {RATINGS} is use{remark}"
    return "refused", (
        f"{'; '.join(broken)}. Look at the participant's page; if the scan is right, rate it "
        f"'use' in {RATINGS}, or change quality_limits or quality_outliers"
    )
