"""Format numbers, p-values, intervals and names for the reader; findings with a tone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CHANCE_P = 0.05
"""Significance level, in sentences and figures."""

BASELINES = {
    "brain_size": "brain size alone",
    "age_only": "age alone",
    "site_only": "site alone",
    "motion_only": "head motion alone",
}
"""Baselines within a sentence; targets have names for the others."""


@dataclass(frozen=True)
class Finding:
    """One sentence, and its tone.

    Attributes
    ----------
    tone : {"good", "plain", "caution", "alarm"}
    text : str
    """

    tone: str
    text: str


GLUE = "\u00a0"
"""Non-breaking space between a number and its unit."""


def say_number(value: float | None, digits: int = 2) -> str:
    """Format a number with a fixed count of decimals and a true minus sign.

    Parameters
    ----------
    value : float
    digits : int
        Decimals; a number too small for them keeps its first digit that is not zero.

    Returns
    -------
    str
        ``n/a`` where the value is unknown.

    Examples
    --------
    >>> say_number(0.8712), say_number(float("nan")), say_number(0.0021)
    ('0.87', 'n/a', '0.002')
    """
    if value is None or value != value:
        return "n/a"
    small = 0 < abs(value) < 0.5 * 10**-digits
    text = f"{value:.1g}" if small else f"{value:.{digits}f}"
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def say_p(p: float) -> str:
    """Format a p-value with three decimals.

    Parameters
    ----------
    p : float
        In [0, 1].

    Returns
    -------
    str

    Examples
    --------
    >>> say_p(0.0031), say_p(0.0004), say_p(float("nan"))
    ('0.003', '< 0.001', 'n/a')
    """
    return "< 0.001" if p < 0.001 else say_number(p, 3)


def equate_p(p: float, name: str = "p") -> str:
    """Format a p-value with its name.

    Parameters
    ----------
    p : float
        In [0, 1].
    name : str
        What it is called.

    Returns
    -------
    str
    """
    text = f"{name} {say_p(p)}" if p < 0.001 else f"{name} = {say_p(p)}"
    return text.replace(" ", GLUE)


def say_interval(row: Mapping, level: float, digits: int = 2) -> str:
    """Format an interval with its level.

    Parameters
    ----------
    row : pandas.Series
        With ``ci_low`` and ``ci_high``.
    level : float
        In (0, 1).
    digits : int
        Decimals.

    Returns
    -------
    str

    Examples
    --------
    >>> say_interval({"ci_low": float("nan"), "ci_high": float("nan")}, 0.95)
    'no interval can be estimated'
    """
    if row["ci_low"] != row["ci_low"] and row["ci_high"] != row["ci_high"]:
        return "no interval can be estimated"
    low, high = say_number(row["ci_low"], digits), say_number(row["ci_high"], digits)
    return f"{100 * level:g}{GLUE}% interval {low} to {high}"


def say_list(words: Iterable[str]) -> str:
    """Join words to a list in a sentence.

    Parameters
    ----------
    words : iterable of str

    Returns
    -------
    str

    Examples
    --------
    >>> say_list(["1"]), say_list(["1", "2", "3"])
    ('1', '1, 2 and 3')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def name_pair(model: str, map_: str) -> str:
    """Return the name of a model and of its map, if it has one.

    Parameters
    ----------
    model, map_ : str
        As the tables have them.

    Returns
    -------
    str

    Examples
    --------
    >>> name_pair("cnn3", "FA"), name_pair("ridge", "table")
    ('cnn3 on FA', 'ridge')
    """
    return model if map_ == "table" else f"{model} on {map_}"


def label_region(name: str, hemisphere: str) -> str:
    """Return the name of a region with its side, which is not repeated.

    Parameters
    ----------
    name : str
        From the atlas's label table.
    hemisphere : {"L", "R", "B"}

    Returns
    -------
    str

    Examples
    --------
    >>> label_region("Cingulum", "L")
    'Cingulum (left)'
    >>> label_region("Left cingulum", "L")
    'Left cingulum'
    """
    side = {"L": "left", "R": "right"}.get(hemisphere)
    words = set(re.split(r"[^a-z]+", str(name).lower()))
    if side is None or words & {"left", "right", "l", "r"}:
        return str(name)
    return f"{name} ({side})"
