"""Read participants.tsv, convert its values, and list the faults of each participant."""

import json
from pathlib import Path

from bids_sexclf.cells import entity, identifier, plain_name, shorten
from bids_sexclf.derivatives import hcp_tables
from bids_sexclf.derivatives.offers import cc359_people
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.people.ages import read_ages
from bids_sexclf.people.reasons import ALLOW
from bids_sexclf.people.sexes import read_sexes
from bids_sexclf.settings import People
from bids_sexclf.tables import read_text, read_tsv

COLUMNS = {
    "participant_id": ("participant_id",),
    "sex": ("sex", "gender", "sex_code", "gender_code"),
    "age": ("age_in_yrs", "age", "age_years"),
    "age_band": ("age_band", "age_group", "age_range"),
    "family_id": ("family_id", "family"),
    "site": ("site", "site_id", "center"),
}
"""What is read, to the names that its column may have. ``Age_in_Yrs`` and ``Gender`` are the HCP's,
``gender_code`` is Cam-CAN's."""


def read_participants(bids_dir, labelled=True, coding=None):
    """Read participants.tsv and convert its values.

    Where there is none, the tables of the Human Connectome Project (CSV or TSV, unrestricted and
    restricted) give sex, age and families, and the file names of CC-359 sex, age and scanner.

    Parameters
    ----------
    bids_dir : path-like
    labelled : bool
        Call it a fault where sex or age is unknown; else the table and its columns may be absent.
    coding : settings.People, optional
        How the table tells the sex.

    Returns
    -------
    people : pandas.DataFrame
        participant_id, sex (``female``/``male``), age_years, age_band (text, if the age is a range
        such as ``89+``; age_years is then unknown), family_id, site; one usable row per
        participant, with sex and age unknown if they are missing in the file.
    faults : dict of str to list of str
        Participant to the faults of its rows.

    Raises
    ------
    InputError
        If the file is missing, or has no column for the id, the sex or the age; if the unit of age
        or the codes of sex are not known.
    """
    import pandas as pd

    coding, path = coding or People(), Path(bids_dir) / "participants.tsv"
    raw = _read_raw(path)
    if raw is None and labelled:
        raise InputError(
            f"Found no {path}, needed a table with participant_id, sex and age. Write one: BIDS "
            f"describes it under 'participants file'; {ALLOW}."
        )
    raw = pd.DataFrame({"participant_id": []}, dtype=str) if raw is None else raw
    source = _sources(raw, path, coding, labelled)
    raw = raw[raw[source["participant_id"]].notna()]
    about = _read_sidecar(path.with_suffix(".json"))
    people = pd.DataFrame(
        {name: raw[column] if column else None for name, column in source.items()}, dtype=object
    )
    people["family_id"] = _spell_alike(people["family_id"])
    people["site"] = _spell_alike(people["site"])
    sexes, faults = read_sexes(raw, source, about, coding, path, labelled)
    years, bands, wrong = read_ages(people, about.get(plain_name(source["age"] or ""), {}), path)
    people = people.drop(columns="age").assign(sex=sexes, age_years=years, age_band=bands)
    if labelled:
        faults = [
            [*row_faults, *further] for row_faults, further in zip(faults, wrong, strict=True)
        ]
    return _one_row_each(people, faults)


def without_years(people):
    """List the participants without an age in years, for studies that need it.

    Parameters
    ----------
    people : pandas.DataFrame
        As `read_participants` returns it.

    Returns
    -------
    dict of str to str
        Participant to the reason.
    """
    unknown = people[people["age_years"].isna()]
    bands = unknown["age_band"].where(unknown["age_band"].notna(), "unknown")
    return {
        person: f"age is {band}, needed years, which this study reads"
        for person, band in zip(unknown["participant_id"], bands, strict=True)
    }


def read_column(bids_dir, name):
    """Read one more column of participants.tsv.

    Parameters
    ----------
    bids_dir : path-like
    name : str
        Of the column.

    Returns
    -------
    dict of str to object
        Participant to its cell; the first one where a participant has several rows.

    Raises
    ------
    InputError
        If there is no such column.
    """
    table = read_columns(bids_dir)
    spellings = {plain_name(column): column for column in table}
    if plain_name(name) not in spellings:
        raise InputError(
            f"Found no column {name} in {Path(bids_dir) / 'participants.tsv'}, which the study "
            "learns; needed one. Add it, or choose another target."
            f"{suggest([name], spellings)}"
        )
    return table[spellings[plain_name(name)]].to_dict()


def read_columns(bids_dir):
    """Read all columns of participants.tsv.

    Parameters
    ----------
    bids_dir : path-like

    Returns
    -------
    pandas.DataFrame
        Indexed by participant_id, the first row of each; without rows if there is no such table.
    """
    import pandas as pd

    raw = _read_raw(Path(bids_dir) / "participants.tsv")
    raw = pd.DataFrame({"participant_id": []}, dtype=str) if raw is None else raw
    rows = raw.dropna(subset=["participant_id"]).drop_duplicates("participant_id")
    return rows.set_index("participant_id")


def list_files(bids_dir):
    """List the files with information on people, by name, in the folder of the dataset.

    Parameters
    ----------
    bids_dir : path-like

    Returns
    -------
    list of str
    """
    table = Path(bids_dir, "participants.tsv")
    hcp_files = [] if table.exists() else hcp_tables.find_tables(bids_dir)
    return [table.name, "participants.json", *(path.name for path in hcp_files)]


def _read_raw(path):
    """Read the table, the tables of the HCP, or the file names of CC-359; None without any."""
    import pandas as pd

    if path.exists():
        names = {name for options in COLUMNS.values() for name in options}
        raw = read_tsv(path, text={*names, *hcp_tables.PARENT_COLUMNS})
        texts = [name for name in raw if name not in names]
        raw = raw.assign(**{name: raw[name].astype(object) for name in texts})
        return hcp_tables.add_families(raw)
    if not path.parent.is_dir():
        return None
    raw = hcp_tables.read_people(path.parent)
    if raw is not None:
        return raw
    rows = cc359_people(path.parent)
    if not rows:
        return None
    raw = pd.DataFrame(rows).astype({"age": str})
    return raw.assign(participant_id=raw["participant_id"].map(lambda name: entity(name, "sub")))


def _sources(raw, path, coding, labelled):
    """Find the column of each value that is read; None if there is none."""
    names = {plain_name(column): column for column in raw}
    options = dict(COLUMNS)
    if coding.sex_column is not None:
        options["sex"] = (plain_name(coding.sex_column),)
    source = {
        role: next((names[name] for name in candidates if name in names), None)
        for role, candidates in options.items()
    }
    if plain_name(source["age"] or "") == "age_in_yrs" and not source["age_band"]:
        source["age_band"] = names.get("age")  # the HCP calls bands Age
    missing = [] if source["participant_id"] else ["participant_id"]
    if labelled:
        missing += [] if source["sex"] else [coding.sex_column or "sex"]
        missing += [] if source["age"] or source["age_band"] else ["age"]
    if missing:
        hint = f"; {ALLOW}" if "participant_id" not in missing else ""
        raise InputError(
            f"Found {path} with columns {', '.join(map(shorten, raw.columns))}, needed one for "
            f"each of {', '.join(missing)}. Add it (BIDS names: participant_id, sex, age), or name "
            f"that of the sex by --sex-column{hint}.{suggest(missing, raw.columns)}"
        )
    return source


def _read_sidecar(path):
    """Read participants.json: name of a column, in lower case, to its entry."""
    if not path.exists():
        return {}
    try:
        about = json.loads(read_text(path))
        return {plain_name(name): entry for name, entry in about.items() if isinstance(entry, dict)}
    except (ValueError, AttributeError, RecursionError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed a JSON object that describes "
            "the columns of participants.tsv. Correct or remove it."
        ) from fault


def _spell_alike(names):
    """Unify names that differ in case or leading zeros, by the first spelling.

    Spreadsheets remove leading zeros from some cells of a column: 07 and 7 are one family.
    """
    names, first = names.map(identifier, na_action="ignore"), {}
    for name in names.dropna().unique():
        first.setdefault(_plain(name), name)
    return names.map(lambda name: first[_plain(name)], na_action="ignore")


def _plain(name):
    return name.casefold() if not name.isdecimal() else name.lstrip("0") or "0"


def _one_row_each(people, faults):
    """Return one row per participant, and the faults of all its rows."""
    collected = {}
    for person, row_faults in zip(people["participant_id"], faults, strict=True):
        if row_faults:
            collected.setdefault(person, []).extend(row_faults)
    twice = people[people.duplicated("participant_id", keep=False)]
    for person, rows in twice.groupby("participant_id"):
        fault = f"{len(rows)} rows under one id, needed one"
        if rows["sex"].nunique() > 1:
            fault = f"{len(rows)} rows that contradict each other in sex"
        elif len(rows.astype(str).drop_duplicates()) > 1:
            fault = f"{len(rows)} rows that differ under one id"
        collected.setdefault(person, []).append(fault)
    order = ["participant_id", "sex", "age_years", "age_band", "family_id", "site"]
    people = people[order].drop_duplicates("participant_id").reset_index(drop=True)
    return people, collected
