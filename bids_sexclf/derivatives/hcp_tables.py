"""Who the Human Connectome Project studied, as its tables come: unrestricted and restricted.

The tables are found by their columns, whatever their files are called; CSV as downloaded, or TSV.
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
"""What is read, to the plain name of its column."""

KEY = "subject"
PARENTS = ("mother", "father", "family")
PARENT_COLUMNS = ("mother_id", "father_id")
"""Who shares one of these is of one family: half siblings too."""


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
    """Read the names of the columns, plainly spelled; none where it is no text."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = file.readline(1_000_000)
    except (OSError, ValueError):
        return []
    separator = next((sign for sign in "\t,;" if sign in line), ",")
    return [plain_name(cell.strip().strip('"')) for cell in line.split(separator)]


def _tells_people(names):
    """Say whether a table is of people: Age alone may be anything."""
    return KEY in names and bool((set(THINGS.values()) - {"age"}) & set(names))


def read_people(folder):
    """Read who is in the tables of the Human Connectome Project.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    pandas.DataFrame or None
        participant_id, sex, age (years, from the restricted table), age_band (such as 26-30) and
        family_id (text; those who share a mother, a father or a family are one); what is not told
        is unknown. Tables that contradict each other give a participant several rows. None where
        there is no such table.

    Raises
    ------
    InputError
        If a table cannot be read.
    """
    import pandas as pd

    told = {}
    for path in find_tables(folder):
        for person, thing, cell in _read_cells(path):
            told.setdefault(person, {}).setdefault(thing, {})[cell] = None
    if not told:
        return None
    family = _join_families({person: _parents(cells) for person, cells in told.items()})
    things, rows = ("sex", "age", "age_band"), []
    for person, cells in told.items():
        options = [list(cells.get(thing, ())) or [None] for thing in things]
        for number in range(max(map(len, options))):  # of tables that contradict each other
            version = [own[min(number, len(own) - 1)] for own in options]
            rows.append([person, *version, family.get(person)])
    return pd.DataFrame(rows, columns=["participant_id", *things, "family_id"], dtype=object)


def add_families(table):
    """Add the column family_id where a table tells parents and no family.

    Parameters
    ----------
    table : pandas.DataFrame
        With participant_id.

    Returns
    -------
    pandas.DataFrame
        The table itself where it tells a family already, or no parents.
    """
    columns = {plain_name(name): name for name in table}
    parents = [columns[name] for name in PARENT_COLUMNS if name in columns]
    if not parents or {"family_id", "family"} & set(columns):
        return table
    told = {}
    for name in parents:
        for row, cell in table[name].dropna().items():
            told.setdefault(row, []).append((plain_name(name), identifier(str(cell))))
    family = _join_families(told)
    return table.assign(family_id=[family.get(row) for row in table.index])


def _parents(cells):
    return [(THINGS[thing], cell) for thing in PARENTS for cell in cells.get(thing, ())]


def _read_cells(path):
    """Yield participant, thing and cell of everything that a table tells."""
    frame = read_tsv(path, text=THINGS.values())
    for thing, column in THINGS.items():
        if column in frame:
            known = frame[["participant_id", column]].dropna()
            for person, cell in known.itertuples(index=False):
                yield person, thing, identifier(cell)


def _join_families(parents):
    """Name the family of everyone whose mother, father or family is told.

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

    for own in parents.values():
        for one in own[1:]:
            first[find(one)] = find(own[0])
    return {person: "-".join(find(own[0])) for person, own in parents.items() if own}
