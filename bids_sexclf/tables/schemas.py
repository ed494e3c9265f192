"""Write tables, and check them against their data dictionaries.

``data/tables/<name>.json`` maps each column to ``Description`` and, where they
apply, ``Units``, ``Levels``, ``Format`` (``string``, ``integer``, ``number``,
``boolean``), ``Minimum``, ``Maximum``, ``Required`` and ``Formerly`` (the name in earlier
versions). The same file checks the table on
writing and on reading, and is saved beside it as its sidecar.
"""

import json
import re
from importlib.resources import files
from pathlib import Path

from bids_sexclf.cells import WRITTEN_UNKNOWN
from bids_sexclf.disk import whole, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.tables.reading import read_tsv
from bids_sexclf.texts import count_noun

REMEDY = "Make it again with the stage that writes it."


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
        With all faults of the table.
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
        With all faults of the table.
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
    """List the faults of one column."""
    import pandas as pd

    present = values.dropna()
    faults = []
    if len(present) < len(values) and not entry.get("Unknown", False):
        missing = count_noun(len(values) - len(present), "unknown value")
        faults.append(f"{column!r} has {missing}")
    if "Levels" in entry:
        invalid = sorted(set(present.astype(str)) - set(entry["Levels"]))
        if invalid:
            faults.append(f"{column!r} holds {invalid[:5]}, needed one of {list(entry['Levels'])}")
    if entry.get("Format") in ("number", "integer"):
        numbers = pd.to_numeric(present, errors="coerce")
        if numbers.isna().any():
            faults.append(f"{column!r} holds text where numbers are needed")
        elif "Minimum" in entry and (numbers < entry["Minimum"]).any():
            faults.append(f"{column!r} falls to {numbers.min():g}, needed >= {entry['Minimum']}")
        elif "Maximum" in entry and (numbers > entry["Maximum"]).any():
            faults.append(f"{column!r} rises to {numbers.max():g}, needed <= {entry['Maximum']}")
    return faults
