"""Read the participants of the Human Connectome Project from its tables.

The tables (unrestricted and restricted) are recognised by their columns, not by file names; they
are CSV as downloaded, or TSV.
"""

from pathlib import Path

from bids_sexclf.cells import identifier, plain_name
from bids_sexclf.tables import read_tsv

THINGS = {
    "sex": "gender",
    "age": "age_in_yrs",
    "age_band": "age",
    "mother": "mother_id",
    "father": "father_id",
    "family": "family_id",
}
"""Role of a column to its normalized name."""

KEY = "subject"
PARENTS = ("mother", "father", "family")
PARENT_COLUMNS = ("mother_id", "father_id")
"""People who share one of these belong to one family, also half siblings."""


def find_tables(folder):
    """Find the tables of the Human Connectome Project in a folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of pathlib.Path
        CSV and TSV with a column ``Subject`` and one of sex, age or parents, in the order of their
        names.
    """
    paths = sorted(path for kind in ("*.csv", "*.tsv") for path in Path(folder).glob(kind))
    return [path for path in paths if path.is_file() and _tells_people(_read_header(path))]


def _read_header(path):
    """Read the normalized names of the columns; return none if the file is not text."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = file.readline(1_000_000)
    except (OSError, ValueError):
        return []
    separator = next((sign for sign in "\t,;" if sign in line), ",")
    return [plain_name(cell.strip().strip('"')) for cell in line.split(separator)]


def _tells_people(names):
    """Return whether a table lists people; a column Age alone is not enough."""
    return KEY in names and bool((set(THINGS.values()) - {"age"}) & set(names))


def read_people(folder):
    """Read the participants from the tables of the Human Connectome Project.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    pandas.DataFrame or None
        participant_id, sex, age (years, from the restricted table), age_band (such as 26-30) and
        family_id (text; people with a common mother, father or family have one); missing values
        are unknown. Tables that contradict each other give a participant several rows. None if
        there is no such table.

    Raises
    ------
    InputError
        If a table cannot be read.
    """
    import pandas as pd

    cells_of = {}
    for path in find_tables(folder):
        for person, role, cell in _read_cells(path):
            cells_of.setdefault(person, {}).setdefault(role, {})[cell] = None
    if not cells_of:
        return None
    family = _join_families({person: _parents(cells) for person, cells in cells_of.items()})
    things, rows = ("sex", "age", "age_band"), []
    for person, cells in cells_of.items():
        options = [list(cells.get(role, ())) or [None] for role in things]
        for number in range(max(map(len, options))):  # of tables that contradict each other
            version = [versions[min(number, len(versions) - 1)] for versions in options]
            rows.append([person, *version, family.get(person)])
    return pd.DataFrame(rows, columns=["participant_id", *things, "family_id"], dtype=object)


def add_families(table):
    """Add the column family_id if a table has parents and no family.

    Parameters
    ----------
    table : pandas.DataFrame
        With participant_id.

    Returns
    -------
    pandas.DataFrame
        The table itself if it has a family already, or no parents.
    """
    columns = {plain_name(name): name for name in table}
    parents = [columns[name] for name in PARENT_COLUMNS if name in columns]
    if not parents or {"family_id", "family"} & set(columns):
        return table
    relatives_of_row = {}
    for name in parents:
        for row, cell in table[name].dropna().items():
            relatives_of_row.setdefault(row, []).append((plain_name(name), identifier(str(cell))))
    family = _join_families(relatives_of_row)
    return table.assign(family_id=[family.get(row) for row in table.index])


def _parents(cells):
    return [(THINGS[role], cell) for role in PARENTS for cell in cells.get(role, ())]


def _read_cells(path):
    """Yield participant, role of the column and cell for all cells of a table."""
    frame = read_tsv(path, text=THINGS.values())
    for role, column in THINGS.items():
        if column in frame:
            cells = frame[["participant_id", column]].dropna()
            for person, cell in cells.itertuples(index=False):
                yield person, role, identifier(cell)


def _join_families(parents):
    """Return the family of everyone with a known mother, father or family.

    Parameters
    ----------
    parents : dict of object to list of tuple
        Person to pairs of a column and its cell.

    Returns
    -------
    dict of object to str
        Person to the name of one parent, the same for all who are related.
    """
    first = {}

    def find(name):
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for names in parents.values():
        for one in names[1:]:
            first[find(one)] = find(names[0])
    return {person: "-".join(find(names[0])) for person, names in parents.items() if names}
