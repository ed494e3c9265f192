"""Read the label table of an atlas image."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from bids_sexclf.cells import WRITTEN_UNKNOWN
from bids_sexclf.disk import read_small
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.tables import read_tsv

COLUMNS = ("index", "name")

SNAP = re.compile(r'(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"')
"""A line of ITK-SNAP: index, red, green, blue, opacity, two switches, name."""

LARGEST_FILE = 10**7
"""Largest size of a label table, bytes."""


def read_labels(path):
    """Read a label table.

    Parameters
    ----------
    path : path-like
        A TSV with ``index`` and ``name``; FSL's XML; a colour table of FreeSurfer or ITK-SNAP; or
        lines of index and name.

    Returns
    -------
    pandas.DataFrame
        index (int, above 0), name; and hemisphere where the table has one. The entry
        ``attrs["whole"]`` is False for a colour table: it may name regions of other atlases.

    Raises
    ------
    InputError
        If it has none of these formats, or an index is not a whole number or occurs twice.
    """
    path = Path(path)
    if path.suffix == ".tsv":
        table, is_whole = _read_table(path), True
    else:
        read = _read_xml if path.suffix == ".xml" else _read_lines
        rows, is_whole = read(path, _read_text(path))
        table = _frame(rows)
    if table.empty:
        raise _refusal(path, "without any label")
    table["index"] = [_whole_number(path, text) for text in table["index"]]
    twice = table["index"][table["index"].duplicated()].unique().tolist()
    if twice:
        raise _refusal(path, f"with index {twice[:10]} more than once")
    nameless = table.loc[table["name"].isna() | (table["name"].str.strip() == ""), "index"]
    if len(nameless):
        raise _refusal(path, f"without a name for index {nameless.tolist()[:10]}")
    table["name"] = table["name"].str.strip()
    table = table[table["index"] > 0].reset_index(drop=True)
    table.attrs["whole"] = is_whole
    return table


def _refusal(path, words):
    return InputError(
        f"Found label table {path} {words}, needed one row per region with its 'index' (a whole "
        "number) and its 'name'. Write it as TSV in UTF-8."
    )


def _frame(rows):
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def _whole_number(path, text):
    """Convert a cell to an index: ``3`` and ``3.0`` are 3."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = np.nan
    if not (number.is_integer() and 0 <= number < 2**31):
        raise _refusal(path, f"with index {str(text)[:40]!r}")
    return int(number)


def _read_text(path):
    try:
        return read_small(path, LARGEST_FILE)
    except ValueError as fault:
        raise _refusal(path, f"that cannot be read ({fault})") from fault
    except OSError as fault:
        raise _refusal(path, f"that cannot be read ({fault.strerror})") from fault


def _read_table(path):
    """Read a TSV whose header may have capitals or blanks."""
    # A region may be called NA (nucleus accumbens).
    table = read_tsv(path, text=(*COLUMNS, "hemisphere"), unknown=WRITTEN_UNKNOWN)
    table.columns = [str(name).strip().lower() for name in table.columns]
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise _refusal(
            path,
            f"with columns {', '.join(table.columns)[:200]} and without {' and '.join(missing)}"
            f"{suggest(missing, table.columns)}",
        )
    columns = [name for name in (*COLUMNS, "hemisphere") if name in table.columns]
    # A column with an unexpected name may have been read as numbers.
    return table[columns].astype(object).where(table[columns].notna(), None).map(_as_text)


def _as_text(cell):
    return cell if cell is None else str(cell)


def _read_xml(path, content):
    """Read the labels of FSL's XML."""
    try:
        entries = list(ElementTree.fromstring(content).iter("label"))  # noqa: S314 - expat limits
    except (ElementTree.ParseError, ValueError, LookupError) as fault:
        raise _refusal(path, f"that is no XML ({fault})") from fault
    rows = [(entry.get("index"), "".join(entry.itertext()).strip()) for entry in entries]
    # FSL counts probability maps from 0; its label images hold index + 1, unless the table
    # itself begins with the background.
    shift = 0 if rows and rows[0][1].lower() in ("unclassified", "background") else 1
    return [(_whole_number(path, index) + shift, name) for index, name in rows], True


def _read_lines(path, content):
    """Read lines of index and name, with or without colours."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise _refusal(path, f"that is not UTF-8 text ({fault.reason})") from fault
    if "\0" in text:
        raise _refusal(path, "with bytes of zero, as a damaged file has them,")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    snap = [SNAP.fullmatch(line) for line in lines]
    if lines and all(snap):
        return [match.groups() for match in snap], False
    words = [line.split() for line in lines]
    for colours in (4, 3):
        if words and all(_has_colours(line, colours) for line in words):
            return [(line[0], " ".join(line[1:-colours])) for line in words], False
    if any(_has_colours(line, 3) for line in words):
        raise _refusal(path, "with colours in some lines and not in others")
    short = [line for line in words if len(line) < 2]
    if short:
        raise _refusal(path, f"with the line {' '.join(short[0])[:40]!r}")
    return [tuple(line.split(None, 1)) for line in lines], True


def _has_colours(words, count):
    """Return whether a line ends with red, green, blue (and opacity), each from 0 to 255."""
    ends = words[-count:]
    return len(words) >= 2 + count and all(word.isdigit() and int(word) < 256 for word in ends)
