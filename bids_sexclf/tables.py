"""Read and write TSV tables; a schema is the BIDS data dictionary.

``data/tables/<name>.json`` maps each column to ``Description`` and, where they
apply, ``Units``, ``Levels``, ``Format`` (``string``, ``integer``, ``number``,
``boolean``), ``Minimum``, ``Maximum`` and ``Required``. The same file checks the table on
writing and on reading, and is saved beside it as its sidecar.
"""

import json
from importlib.resources import files
from pathlib import Path

from bids_sexclf.disk import whole, write_json
from bids_sexclf.errors import InputError

PARTICIPANT_COLUMNS = {"participant_id": str, "session_id": str, "family_id": str, "site": str}


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

    Parameters
    ----------
    frame : pandas.DataFrame
    path : path-like
    """
    with whole(path) as part:
        frame.to_csv(part, sep="\t", index=False, na_rep="n/a")


def read_tsv(path, text=()):
    """Read any BIDS TSV.

    Parameters
    ----------
    path : path-like
    text : iterable of str
        Columns kept as text, beside the ids, which always are (``001`` stays ``001``).

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If the file is absent, empty or no table.
    """
    import pandas as pd

    kept = PARTICIPANT_COLUMNS | dict.fromkeys(text, str)
    try:
        return pd.read_csv(
            path,
            sep="\t",
            dtype=kept,
            na_values=["n/a", "N/A", ""],
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read as a table ({fault}); needed a tab-separated "
            "UTF-8 file with a header line. Export it again as TSV."
        ) from fault


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


def read_table(path, name):
    """Read a table and check it against its data dictionary.

    Parameters
    ----------
    path : path-like
    name : str
        Name of the schema.

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
    return check_table(read_tsv(path, text), name, path)


def check_table(frame, name, path="the table"):
    """Return a table if it meets its data dictionary.

    Parameters
    ----------
    frame : pandas.DataFrame
    name : str
        Name of the schema.
    path : path-like
        What to call the table in the message.

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
                faults.append(f"column {column!r} is missing")
            continue
        faults += _column_faults(frame[column], column, entry)
    if faults:
        raise InputError(
            f"Found {path} with {len(faults)} fault(s): {'; '.join(faults)}. Needed a table as "
            f"described in data/tables/{name}.json. Make it again with the stage that writes it."
        )
    return frame


def _column_faults(values, column, entry):
    """List what is wrong with one column."""
    import pandas as pd

    known = values.dropna()
    faults = []
    if len(known) < len(values) and not entry.get("Unknown", False):
        faults.append(f"{column!r} has {len(values) - len(known)} unknown value(s)")
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
