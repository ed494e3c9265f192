"""Read and write TSV tables; a schema is the BIDS data dictionary.

``data/tables/<name>.json`` maps each column to ``Description`` and, where they
apply, ``Units``, ``Levels``, ``Format`` (``string``, ``integer``, ``number``,
``boolean``), ``Minimum``, ``Maximum``, ``Required`` and ``Formerly`` (the name in earlier
versions). The same file checks the table on
writing and on reading, and is saved beside it as its sidecar.

Every table is read here, also those of users and of other tools. Matrices of numbers without a
header (b-values, b-vectors, eddy's parameters) are no tables: numpy reads them.
"""

import csv
import json
import re
from functools import partial
from importlib.resources import files
from io import StringIO
from pathlib import Path

from bids_sexclf.cells import (
    BLANKS,
    UNKNOWN,
    WRITTEN_UNKNOWN,
    entity,
    identifier,
    plain_name,
    shorten,
    strip,
    to_numbers,
)
from bids_sexclf.disk import read_small, whole, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.texts import count_noun

IDENTIFIERS = {
    "participant_id": partial(entity, prefix="sub"),
    "session_id": partial(entity, prefix="ses"),
    "family_id": identifier,
    "site": identifier,
}
"""Columns that hold identifiers in every table, and how each is spelled."""

LONGEST_CELL = 2**31 - 1
"""Characters of a cell; the csv module would refuse cells of 131072."""

REMEDY = "Make it again with the stage that writes it."

NAMELESS = "unnamed column"
"""Beginning of the name that a column of values without a name gets."""


def schemas():
    """List the names of the tables that have a data dictionary.

    Returns
    -------
    list of str
    """
    folder = files("bids_sexclf") / "data" / "tables"
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def schema(name):
    """Load the data dictionary of a table.

    Parameters
    ----------
    name : str
        Name of the table, e.g. ``"cohort"``.

    Returns
    -------
    dict
        Column name to its BIDS description.
    """
    return json.loads((files("bids_sexclf") / "data" / "tables" / f"{name}.json").read_text())


def write_tsv(frame, path):
    """Write any frame as a BIDS TSV: tabs, ``n/a`` for what is unknown.

    Tabs, ends of lines and other control characters inside a cell become a blank.

    Parameters
    ----------
    frame : pandas.DataFrame
    path : path-like
    """
    import pandas as pd

    def clean(cell):
        return re.sub(r"[\x00-\x1f\x7f]+", " ", cell) if isinstance(cell, str) else cell

    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    frame = frame.assign(**{name: frame[name].map(clean) for name in texts})
    with whole(path) as part:
        frame.to_csv(part, sep="\t", index=False, na_rep="n/a", errors="backslashreplace")


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
        If the file cannot be read, or is no UTF-8 text.
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

    Every cell is text first: blanks around it go, and what stands for an unknown value becomes
    unknown. Then participant, session, family and site get the one spelling of
    `cells.identifier`, and a column of nothing but numbers becomes numbers.

    Parameters
    ----------
    path : path-like
        Tab-separated; comma- or semicolon-separated where the name ends in ``.csv``.
    text : iterable of str
        Columns kept as text, beside the identifiers. The header may spell them and the
        identifiers in any case, with blanks for ``_``.
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
        If the file is absent, is no UTF-8 text, or is no table: rows of several lengths, two
        columns of one name, quotation marks that do not end.
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
            frame[name] = _clean(frame[name], rule, name in texts, set(unknown))
    empty = [name for name in names if name.startswith(NAMELESS) and frame[name].isna().all()]
    return frame.drop(columns=empty)


def _exact(pd):
    """Return what makes pandas read numbers to the last bit, as it does by itself from 3.1 on."""
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {} if version >= (3, 1) else {"float_precision": "round_trip"}


def _separator(path, content):
    """Return what separates cells: a tab, or in CSV a comma or a semicolon."""
    if Path(path).suffix.lower() != ".csv":
        return "\t"
    header = content.partition("\n")[0]
    return ";" if ";" in header and "," not in header else ","


def _check_tabs(header, separator):
    """Refuse a TSV whose cells are separated as in CSV: it would be one column."""
    other = next((sign for sign in ",;" if header[0].count(sign) > 0), None)
    if separator == "\t" and len(header) == 1 and other:
        raise ValueError(f"its cells are separated by {other!r}, and not by tabs")


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
        others = f", and {len(wrong) - 1} other lines" if len(wrong) > 1 else ""
        raise ValueError(
            f"{lengths[0]} columns, but {length} cells{names} in line {wrong[0]}{others}"
        )
    return rows[0], body


def _name_columns(header, known):
    """Name the columns: known ones in our spelling, the others as they are, without blanks."""
    spellings = {plain_name(name): name for name in known}
    names = [spellings.get(plain_name(name), strip(name)) for name in header]
    names = [name or f"{NAMELESS} {place}" for place, name in enumerate(names, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two columns of one name: {', '.join(map(shorten, twice[:5]))}")
    return names


def _clean(values, rule, is_text, unknown):
    """Clean a column of text; return numbers where all cells are, and it need not be text."""
    cells = [cell for cell in values.dropna().unique().tolist() if isinstance(cell, str)]
    clean = {cell: None if strip(cell) in unknown else rule(cell) for cell in cells}
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


def write_table(frame, path, name):
    """Check a table against its data dictionary and write both.

    Parameters
    ----------
    frame : pandas.DataFrame
        One observation per row; extra columns are kept where the schema allows a pattern.
    path : path-like
        The TSV; the dictionary is saved beside it with the suffix ``.json``.
    name : str
        Name of the schema.

    Raises
    ------
    InputError
        With every fault of the table.
    """
    check_table(frame, name, path)
    write_json(schema(name), Path(path).with_suffix(".json"))
    write_tsv(frame, path)


def read_table(path, name, unknown=WRITTEN_UNKNOWN):
    """Read a table and check it against its data dictionary.

    Parameters
    ----------
    path : path-like
    name : str
        Name of the schema.
    unknown : iterable of str
        What stands for an unknown value; `cells.UNKNOWN` where people edit the table.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If it is missing, or with every fault of the table.
    """
    if not Path(path).exists():
        raise InputError(
            f"Found no {path}, needed the table {name!r}. Run the stage that writes it first."
        )
    columns = schema(name)
    text = [key for key, entry in columns.items() if entry.get("Format") == "string"]
    return check_table(read_tsv(path, text, unknown), name, path)


def check_table(frame, name, path="the table", remedy=REMEDY):
    """Return a table if it meets its data dictionary.

    Parameters
    ----------
    frame : pandas.DataFrame
    name : str
        Name of the schema.
    path : path-like
        What to call the table in the message.
    remedy : str
        What to do about a table with faults.

    Returns
    -------
    pandas.DataFrame
        The same frame.

    Raises
    ------
    InputError
        With every fault of the table.
    """
    faults = []
    for column, entry in schema(name).items():
        if column not in frame:
            if entry.get("Required", True):
                before = entry.get("Formerly")
                older = f": an earlier version wrote {before!r}" if before in frame else ""
                faults.append(f"column {column!r} is missing{older}")
            continue
        faults += _column_faults(frame[column], column, entry)
    if faults:
        raise InputError(
            f"Found {path} with {count_noun(len(faults), 'fault')}: {'; '.join(faults)}. Needed "
            "a table as "
            f"described in data/tables/{name}.json. {remedy}"
        )
    return frame


def _column_faults(values, column, entry):
    """List what is wrong with one column."""
    import pandas as pd

    known = values.dropna()
    faults = []
    if len(known) < len(values) and not entry.get("Unknown", False):
        missing = count_noun(len(values) - len(known), "unknown value")
        faults.append(f"{column!r} has {missing}")
    if "Levels" in entry:
        others = sorted(set(known.astype(str)) - set(entry["Levels"]))
        if others:
            faults.append(f"{column!r} holds {others[:5]}, needed one of {list(entry['Levels'])}")
    if entry.get("Format") in ("number", "integer"):
        numbers = pd.to_numeric(known, errors="coerce")
        if numbers.isna().any():
            faults.append(f"{column!r} holds text where numbers are needed")
        elif "Minimum" in entry and (numbers < entry["Minimum"]).any():
            faults.append(f"{column!r} falls to {numbers.min():g}, needed >= {entry['Minimum']}")
        elif "Maximum" in entry and (numbers > entry["Maximum"]).any():
            faults.append(f"{column!r} rises to {numbers.max():g}, needed <= {entry['Maximum']}")
    return faults
