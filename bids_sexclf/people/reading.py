"""Read participants.tsv into the words of this project, and say what is wrong with whom."""

import json
from pathlib import Path

from bids_sexclf.cells import entity, identifier, plain_name, shorten
from bids_sexclf.derivatives.offers import cc359_people
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.people.ages import read_ages
from bids_sexclf.people.reasons import ALLOW
from bids_sexclf.people.sexes import read_sexes
from bids_sexclf.settings import People
from bids_sexclf.tables import read_text, read_tsv

COLUMNS = {
    "participant_id": ("participant_id",),
    "sex": ("sex", "gender"),
    "age": ("age", "age_years"),
    "age_band": ("age_band", "age_group", "age_range"),
    "family_id": ("family_id", "family"),
    "site": ("site", "site_id", "center"),
}
"""What is read, to the names that its column may have."""


def read_participants(bids_dir, labelled=True, coding=None):
    """Read participants.tsv into the words of this project.

    Where there is none, the file names of CC-359 tell sex, age and scanner.

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
        participant_id, sex (``female``/``male``), age_years, age_band (text, where the age is told
        by bounds such as ``89+``; age_years is then unknown), family_id, site; one usable row per
        participant, with sex and age unknown where the file does not tell them.
    faults : dict of str to list of str
        Participant to what is wrong with its rows.

    Raises
    ------
    InputError
        If the file is missing, or has no column for the id, the sex or the age; if the unit of age
        or the codes of sex cannot be understood.
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
        faults = [[*some, *others] for some, others in zip(faults, wrong, strict=True)]
    return _one_row_each(people, faults)


def without_years(people):
    """Tell of whom a study that needs ages in years knows none.

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
    path = Path(bids_dir) / "participants.tsv"
    raw = _read_raw(path)
    spellings = {} if raw is None else {plain_name(column): column for column in raw}
    if plain_name(name) not in spellings:
        raise InputError(
            f"Found no column {name} in {path}, which the study learns; needed one. Add it, or "
            f"choose another target.{suggest([name], spellings)}"
        )
    rows = raw.dropna(subset=["participant_id"]).drop_duplicates("participant_id")
    return dict(zip(rows["participant_id"], rows[spellings[plain_name(name)]], strict=True))


def _read_raw(path):
    """Read the table, or the file names of CC-359; None where there is neither."""
    import pandas as pd

    if path.exists():
        names = {name for options in COLUMNS.values() for name in options}
        raw = read_tsv(path, text=names)
        texts = [name for name in raw if name not in names]
        return raw.assign(**{name: raw[name].astype(object) for name in texts})
    rows = cc359_people(path.parent) if path.parent.is_dir() else []
    if not rows:
        return None
    raw = pd.DataFrame(rows).astype({"age": str})
    return raw.assign(participant_id=raw["participant_id"].map(lambda name: entity(name, "sub")))


def _sources(raw, path, coding, labelled):
    """Find the column of each thing that is read, None where there is none."""
    names = {plain_name(column): column for column in raw}
    options = dict(COLUMNS)
    if coding.sex_column is not None:
        options["sex"] = (plain_name(coding.sex_column),)
    source = {
        thing: next((names[name] for name in known if name in names), None)
        for thing, known in options.items()
    }
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
    """Read participants.json: name of a column, in lower case, to what it tells."""
    if not path.exists():
        return {}
    try:
        about = json.loads(read_text(path))
        return {plain_name(name): told for name, told in about.items() if isinstance(told, dict)}
    except (ValueError, AttributeError, RecursionError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed a JSON object that describes "
            "the columns of participants.tsv. Correct or remove it."
        ) from fault


def _spell_alike(names):
    """Spell names in one way; those that differ in case or leading zeros as the first of them.

    Spreadsheets take leading zeros away from some cells of a column: 07 beside 7 is one family.
    """
    names, first = names.map(identifier, na_action="ignore"), {}
    for name in names.dropna().unique():
        first.setdefault(_plain(name), name)
    return names.map(lambda name: first[_plain(name)], na_action="ignore")


def _plain(name):
    return name.casefold() if not name.isdecimal() else name.lstrip("0") or "0"


def _one_row_each(people, faults):
    """Keep one row per participant, and collect the faults of all its rows."""
    collected = {}
    for person, some in zip(people["participant_id"], faults, strict=True):
        if some:
            collected.setdefault(person, []).extend(some)
    twice = people[people.duplicated("participant_id", keep=False)]
    for person, rows in twice.groupby("participant_id"):
        told = f"{len(rows)} rows under one id, needed one"
        if rows["sex"].nunique() > 1:
            told = f"{len(rows)} rows that contradict each other in sex"
        elif len(rows.astype(str).drop_duplicates()) > 1:
            told = f"{len(rows)} rows that differ under one id"
        collected.setdefault(person, []).append(told)
    order = ["participant_id", "sex", "age_years", "age_band", "family_id", "site"]
    people = people[order].drop_duplicates("participant_id").reset_index(drop=True)
    return people, collected
