"""Read the ages in a table of people: years, or bounds."""

import re

from bids_sexclf.cells import shorten, to_numbers
from bids_sexclf.errors import InputError
from bids_sexclf.people.reasons import show_cell

PER_YEAR = {
    **dict.fromkeys(("year", "years", "yr", "yrs", "y", "a"), 1),
    **dict.fromkeys(("month", "months", "mo", "mos"), 12),
    **dict.fromkeys(("week", "weeks", "wk", "wks"), 365.25 / 7),
    **dict.fromkeys(("day", "days", "d"), 365.25),
}
"""Units of age, in lower case, to the number of units per year."""

_NUMBER = r"[0-9]+(\.[0-9]+)?"
BAND = re.compile(
    rf"[<>≤≥]=?\s*{_NUMBER}|{_NUMBER}\s*\+|[\[(]?{_NUMBER}\s*(-|–|—|to)\s*{_NUMBER}[\])]?"
)
"""An age as a range: ``89+`` (which BIDS recommends), ``>89``, ``26-30``."""


def read_ages(people, about, path):
    """Return years, bands and faults of each row."""
    unit, per_year = _unit(about, path)
    cells = people["age"].where(people["age"].notna(), people["age_band"])
    read = {text: _age(text, per_year, unit) for text in cells.dropna().unique()}
    read[None] = (None, None)
    cells = [None if text != text else text for text in cells]
    band_texts = [None if text != text else text for text in people["age_band"]]
    pairs = [read[text] for text in cells]
    bands = [band or band_given for (_, band), band_given in zip(pairs, band_texts, strict=True)]
    faults = [
        []
        if years is not None or band
        else [f"age is {show_cell(text)}, needed years (0-120), or months with Units in its JSON"]
        for (years, _), band, text in zip(pairs, bands, cells, strict=True)
    ]
    return [float("nan") if years is None else years for years, _ in pairs], bands, faults


def _unit(about, path):
    """Return the unit of age in participants.json, and the number of units per year."""
    unit_given, words = about.get("Units"), str(about.get("Description", "")).casefold()
    if unit_given is None:
        named = [unit for unit in re.findall(r"\bin ([a-z]+)", words) if unit in PER_YEAR]
        unit_given = named[0] if len(set(named)) == 1 else "years"
    unit = re.sub(r"\s+old$|\.$", "", str(unit_given).strip().casefold())
    if unit not in PER_YEAR:
        raise InputError(
            f"Found {shorten(unit_given)} as Units of age in {path.with_suffix('.json')}, needed "
            "year, month, week or day. Correct it."
        )
    return unit, PER_YEAR[unit]


def _age(text, per_year, unit):
    """Return the years in a cell, or its band, or neither."""
    try:
        years = float(to_numbers([text])[0]) / per_year
    except ValueError:
        band = text if per_year == 1 else f"{text} {unit}"
        return None, band if BAND.fullmatch(text) else None
    return (years if 0 <= years <= 120 else None), None
