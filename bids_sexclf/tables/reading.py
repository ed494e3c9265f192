"""Read any table of text: of this program, of a user, or of another tool.

Matrices of numbers without a header (b-values, b-vectors, eddy's parameters) are not tables: numpy
reads them.
"""

import csv
import re
from functools import partial
from io import StringIO
from pathlib import Path

from bids_sexclf.cells import (
    BLANKS,
    UNKNOWN,
    entity,
    identifier,
    plain_name,
    shorten,
    strip,
    to_numbers,
)
from bids_sexclf.disk import read_small
from bids_sexclf.errors import InputError

IDENTIFIERS = {
    "participant_id": partial(entity, prefix="sub"),
    "session_id": partial(entity, prefix="ses"),
    "family_id": identifier,
    "site": identifier,
}
"""Columns that hold identifiers in every table, and how each is spelled."""

IDS = ("subject", "subject_id", "subjectid", "subjid", "src_subject_id", "eid", "ccid")
"""Names of the column of participants in tables of the HCP, UK Biobank, Cam-CAN and others."""

FREESURFER_ID = re.compile(r"measure:\w+|[lr]h\.[\w.-]+\.\w+")
"""Names of the first column of FreeSurfer's ``asegstats2table`` and ``aparcstats2table``."""

DECIMAL = re.compile(r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$")
"""A number with a decimal comma, as spreadsheets of many countries write it beside semicolons."""

LONGEST_CELL = 2**31 - 1
"""Longest cell, characters; the limit of the csv module is 131072."""

NAMELESS = "unnamed column"
"""Prefix of the name of a column without a name."""


def read_text(path):
    r"""Read a file of text, whose encoding is UTF-8 with or without a byte order mark.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    str
        Lines end with ``\n``.

    Raises
    ------
    InputError
        If the file cannot be read, or is not UTF-8 text.
    """
    try:
        content = read_small(path)
        if content.startswith(b"PK\x03\x04"):
            raise ValueError("it is an Excel workbook or another archive")
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError("it is UTF-16; 'iconv -f utf-16 -t utf-8' makes it UTF-8")
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds NUL bytes: it is damaged, or no UTF-8")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise InputError(
            f"Found {path}, which cannot be read as a table: byte {fault.start} in line {line} is "
            "no UTF-8 (Excel writes Latin-1); needed UTF-8 text. Save it again as UTF-8, "
            "for example by 'iconv -f latin1 -t utf-8'."
        ) from fault
    except (OSError, ValueError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read as a table ({fault}); needed UTF-8 text with a "
            "header line. Export it again as TSV."
        ) from fault
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_tsv(path, text=(), unknown=UNKNOWN, spell=True):
    """Read any table: of this program, of a user, or of another tool.

    Every cell is first text: surrounding blanks are removed, and codes for unknown values become
    unknown. Then participant, session, family and site are normalized by `cells.identifier`, and
    a column of numbers is converted to numbers.

    Parameters
    ----------
    path : path-like
        Tab-separated; comma- or semicolon-separated where the name ends in ``.csv``.
    text : iterable of str
        Columns kept as text, beside the identifiers. The header may spell them and the
        identifiers in any case, with blanks for ``_``. Where there is no ``participant_id``, the
        column of ids of another tool (``Subject``, ``eid``, ``Measure:volume``) gets this name.
    unknown : iterable of str
        What stands for an unknown value.
    spell : bool
        Give identifiers their one spelling; False to tell in a message how a table spells them.

    Returns
    -------
    pandas.DataFrame
        Other columns keep the spelling of their names. Columns and rows without any text are left
        out. A column with values but no name is called ``unnamed column 3``.

    Raises
    ------
    InputError
        If the file is absent, is not UTF-8 text, or is not a table: rows of different lengths, two
        columns of one name, an unclosed quotation mark.
    """
    import pandas as pd

    content = read_text(path)
    separator = _separator(path, content)
    try:
        header, body = _split_header(content, separator)
        _check_tabs(header, separator)
        names = _name_columns(header, (*IDENTIFIERS, *text))
        texts = [name for name in names if name in {*IDENTIFIERS, *text}]
        frame = pd.read_csv(
            StringIO(body),
            sep=separator,
            header=0,
            names=names,
            index_col=False,
            dtype=dict.fromkeys(texts, str),
            na_values=list(unknown),
            keep_default_na=False,
            low_memory=False,  # a column has one type, and not one for each chunk
            **_exact(pd),
        )
    except (ValueError, csv.Error) as fault:  # pandas' own errors are ValueErrors
        raise InputError(
            f"Found {path}, which cannot be read as a table ({fault}); needed a line with the "
            "names of the columns, and as many cells in every other line. Correct the table, or "
            "export it again as TSV."
        ) from fault
    for name in names:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            rule = IDENTIFIERS.get(name, strip) if spell else strip
            frame[name] = _clean(frame[name], rule, name in texts, set(unknown), separator)
    empty = [name for name in names if name.startswith(NAMELESS) and frame[name].isna().all()]
    return frame.drop(columns=empty)


def _exact(pd):
    """Return the option for exact reading of numbers, which pandas needs before 3.1."""
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {} if version >= (3, 1) else {"float_precision": "round_trip"}


def _separator(path, content):
    """Return the separator of cells: a tab, or in CSV a comma or a semicolon."""
    if Path(path).suffix.lower() != ".csv":
        return "\t"
    header = content.partition("\n")[0]
    return ";" if ";" in header and "," not in header else ","


def _check_tabs(header, separator):
    """Refuse a TSV with the separators of CSV, which would be one column."""
    separator_used = next((sign for sign in ",;" if header[0].count(sign) > 0), None)
    if separator == "\t" and len(header) == 1 and separator_used:
        raise ValueError(f"its cells are separated by {separator_used!r}, and not by tabs")


def _split_header(content, separator):
    """Return the cells of the header, and the lines with text; refuse lines of other lengths."""
    if '"' in content:
        csv.field_size_limit(LONGEST_CELL)
        rows = list(csv.reader(StringIO(content), delimiter=separator, strict=True))
        if separator == "\t" and any("\n" in cell for row in rows for cell in row):
            raise ValueError("a cell goes over several lines: a quotation mark is missing")
        rows = [row for row in rows if any(map(strip, row))]
        lengths = [len(row) for row in rows]
        lines = StringIO()
        csv.writer(lines, delimiter=separator, lineterminator="\n").writerows(rows)
        body = lines.getvalue()
    else:
        lines = [line for line in content.split("\n") if line.strip(BLANKS + separator)]
        rows = [line.split(separator) for line in lines[:1]]
        lengths = [line.count(separator) + 1 for line in lines]
        body = "\n".join(lines)
    if not rows:
        raise ValueError("it is empty")
    wrong = [number for number, length in enumerate(lengths, 1) if length != lengths[0]]
    if wrong:
        length = lengths[wrong[0] - 1]
        names = " (names of rows, as R writes them?)" if length == lengths[0] + 1 else ""
        further = f", and {len(wrong) - 1} other lines" if len(wrong) > 1 else ""
        raise ValueError(
            f"{lengths[0]} columns, but {length} cells{names} in line {wrong[0]}{further}"
        )
    return rows[0], body


def _name_columns(header, known_names):
    """Return the names of columns: known ones in our spelling, others without blanks."""
    spellings = {plain_name(name): name for name in known_names}
    ids = _find_ids([plain_name(name) for name in header])
    spellings |= {ids: "participant_id"} if ids else {}
    names = [spellings.get(plain_name(name), strip(name)) for name in header]
    names = [name or f"{NAMELESS} {place}" for place, name in enumerate(names, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two columns of one name: {', '.join(map(shorten, twice[:5]))}")
    return names


def _find_ids(names):
    """Find the column of participants where it has the name that another tool gives it."""
    if "participant_id" in names:
        return None
    if FREESURFER_ID.fullmatch(names[0]):
        return names[0]
    return next((name for name in IDS if name in names), None)


def _clean(values, rule, is_text, unknown, separator):
    """Clean a column of text; convert it to numbers if all cells are numbers."""
    cells = [cell for cell in values.dropna().unique().tolist() if isinstance(cell, str)]
    clean = {cell: None if strip(cell) in unknown else rule(cell) for cell in cells}
    if separator == ";" and not is_text:  # where a comma may stand for the decimal point
        clean = {
            cell: DECIMAL.sub(r"\1.\2", text) if text else text for cell, text in clean.items()
        }
    if all(cell == spelled for cell, spelled in clean.items()):
        return values
    cleaned = values.map(clean).astype(values.dtype)
    if is_text:
        return cleaned
    try:
        numbers = to_numbers(cleaned.dropna().tolist())
    except ValueError:
        return cleaned
    result = cleaned.astype(object).where(cleaned.isna(), 0).astype(float)
    result[cleaned.notna()] = numbers
    return result
