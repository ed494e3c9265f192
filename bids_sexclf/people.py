"""Read participants.tsv into the words of this project, and say what is wrong with whom."""

import json
import re
from pathlib import Path

from bids_sexclf.cells import entity, identifier, plain_name, shorten, to_numbers
from bids_sexclf.derivatives.offers import cc359_people
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.layout import name_of
from bids_sexclf.settings import People
from bids_sexclf.tables import read_text, read_tsv

SEX = {
    **dict.fromkeys(("f", "female", "w", "woman", "girl"), "female"),
    **dict.fromkeys(("m", "male", "man", "boy"), "male"),
}
"""Evident spellings of the sex, in lower case."""

COLUMNS = {
    "participant_id": ("participant_id",),
    "sex": ("sex", "gender"),
    "age": ("age", "age_years"),
    "age_band": ("age_band", "age_group", "age_range"),
    "family_id": ("family_id", "family"),
    "site": ("site", "site_id", "center"),
}
"""What is read, to the names that its column may have."""

PER_YEAR = {
    **dict.fromkeys(("year", "years", "yr", "yrs", "y", "a"), 1),
    **dict.fromkeys(("month", "months", "mo", "mos"), 12),
    **dict.fromkeys(("week", "weeks", "wk", "wks"), 365.25 / 7),
    **dict.fromkeys(("day", "days", "d"), 365.25),
}
"""Units of age, in lower case, to how many make a year."""

_NUMBER = r"[0-9]+(\.[0-9]+)?"
BAND = re.compile(
    rf"[<>≤≥]=?\s*{_NUMBER}|{_NUMBER}\s*\+|[\[(]?{_NUMBER}\s*(-|–|—|to)\s*{_NUMBER}[\])]?"
)
"""An age that is told by its bounds: ``89+`` (which BIDS recommends), ``>89``, ``26-30``."""

WAY = (
    'Levels in participants.json ({"sex": {"Levels": {"1": "male", "2": "female"}}}), or '
    "--sex-codes 1=male 2=female"
)
ALLOW = "at the participant level --allow-unlabelled prepares everyone without it"
NO_ROW = "no row in participants.tsv, needed one with sex and age"


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
    sexes, faults = _read_sexes(raw, source, about, coding, path, labelled)
    years, bands, wrong = _read_ages(people, about.get(plain_name(source["age"] or ""), {}), path)
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


def lacks_labels(reason):
    """Say whether a reason to leave somebody out is an unknown sex or age, and nothing else.

    Examples
    --------
    >>> lacks_labels("sex is unknown, needed female or male; age is unknown, needed years (0-120)")
    True
    >>> lacks_labels("sub-1_T1w.nii.gz is truncated")
    False
    """
    return all(part.startswith(("sex is", "age is", NO_ROW)) for part in reason.split("; "))


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


def _read_sexes(raw, source, about, coding, path, labelled):
    """Return the sex of each row, and the faults of each row."""
    codes = {identifier(code): sex for code, sex in coding.sex_of_code.items()}
    texts = _texts(raw, source["sex"])
    meaning = _meanings(about.get(plain_name(source["sex"] or ""), {}), codes, path)
    sexes = [_sex(text, meaning) for text in texts]
    known = {text for text in texts if text is not None}
    if labelled and known and not any(sexes) and all(map(str.isdigit, known)):
        raise InputError(
            f"Found {path} with codes {', '.join(sorted(known)[:5])} in column {source['sex']}, "
            "whose meaning is not told; needed female and male. Tell what each code means by "
            f"{WAY}."
        )
    faults = [
        []
        if sex or not labelled
        else [f"sex is {_shown(text)}, needed female or male" + (f" ({WAY})" if text else "")]
        for sex, text in zip(sexes, texts, strict=True)
    ]
    others = [name for name in raw if plain_name(name) == "gender"]
    if plain_name(source["sex"] or "") == COLUMNS["sex"][0] and others:
        meaning = _meanings(about.get("gender", {}), codes, path)
        genders = [_sex(text, meaning) for text in _texts(raw, others[0])]
        for row, (sex, gender) in enumerate(zip(sexes, genders, strict=True)):
            if gender and gender != sex:
                faults[row].append(f"sex {sex} and gender {gender} contradict each other")
    return sexes, faults


def _texts(raw, column):
    """Return the cells of a column as text, None where unknown."""
    if column is None:
        return [None] * len(raw)
    return [None if cell != cell or cell is None else identifier(str(cell)) for cell in raw[column]]


def _meanings(about, codes, path):
    """Return the sex that each code means, by the settings or by Levels in participants.json."""
    levels = about.get("Levels")
    told = dict(codes)
    for code, level in levels.items() if isinstance(levels, dict) and not codes else ():
        words = level.get("Description") if isinstance(level, dict) else level
        told[identifier(code)] = _evident(str(words))
    for code, sex in told.items():
        if sex and SEX.get(code.casefold(), sex) != sex:
            raise InputError(
                f"Found {code!r} of {path} explained as {sex}, needed its evident meaning. Correct "
                "Levels in participants.json, or --sex-codes."
            )
    return told


def _evident(words):
    """Return the sex that a description names; None where it names none or both."""
    words = words.strip().casefold()
    named = {SEX[word] for word in re.findall(r"[^\W\d_]{2,}", words) if word in SEX}
    return SEX.get(words) or (named.pop() if len(named) == 1 else None)


def _sex(text, meaning):
    """Return the sex that a cell tells, by its spelling or by the meaning of its code."""
    if text is None:
        return None
    return SEX.get(text.casefold()) or meaning.get(text)


def _read_ages(people, about, path):
    """Return years, bands and faults of each row."""
    unit, per_year = _unit(about, path)
    cells = people["age"].where(people["age"].notna(), people["age_band"])
    read = {text: _age(text, per_year, unit) for text in cells.dropna().unique()}
    read[None] = (None, None)
    cells = [None if text != text else text for text in cells]
    given = [None if text != text else text for text in people["age_band"]]
    pairs = [read[text] for text in cells]
    bands = [band or told for (_, band), told in zip(pairs, given, strict=True)]
    faults = [
        []
        if years is not None or band
        else [f"age is {_shown(text)}, needed years (0-120), or months with Units in its JSON"]
        for (years, _), band, text in zip(pairs, bands, cells, strict=True)
    ]
    return [float("nan") if years is None else years for years, _ in pairs], bands, faults


def _unit(about, path):
    """Return the unit of age that participants.json tells, and how many make a year."""
    told, words = about.get("Units"), str(about.get("Description", "")).casefold()
    if told is None:
        named = [unit for unit in re.findall(r"\bin ([a-z]+)", words) if unit in PER_YEAR]
        told = named[0] if len(set(named)) == 1 else "years"
    unit = re.sub(r"\s+old$|\.$", "", str(told).strip().casefold())
    if unit not in PER_YEAR:
        raise InputError(
            f"Found {shorten(told)} as Units of age in {path.with_suffix('.json')}, needed year, "
            "month, week or day. Correct it."
        )
    return unit, PER_YEAR[unit]


def _age(text, per_year, unit):
    """Return the years that a cell tells, or its band, or neither."""
    try:
        years = float(to_numbers([text])[0]) / per_year
    except ValueError:
        band = text if per_year == 1 else f"{text} {unit}"
        return None, band if BAND.fullmatch(text) else None
    return (years if 0 <= years <= 120 else None), None


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


def _shown(text):
    return "unknown" if text is None else shorten(text)


def group_reasons(rows, longest=400):
    """Gather who shares a reason, the most frequent reason first.

    Parameters
    ----------
    rows : list of dict
        participant_id, session_id, reason.
    longest : int
        Characters of a reason; longer ones are cut.

    Returns
    -------
    list of (str, str)
        Reason, and the first few participant-sessions with the count of the others.

    Examples
    --------
    >>> row = {"session_id": None, "reason": "no T1w"}
    >>> group_reasons([row | {"participant_id": f"sub-{n}"} for n in range(5)])
    [('no T1w', 'sub-0, sub-1, sub-2 and 2 more')]
    """
    groups = {}
    for row in rows:
        reason = " ".join(str(row["reason"]).split())
        reason = reason if len(reason) <= longest else reason[:longest] + " …"
        groups.setdefault(reason, []).append(row)
    ordered = sorted(groups.items(), key=lambda entry: -len(entry[1]))
    return [(reason, list_people(own)) for reason, own in ordered]


def list_people(rows, most=3):
    """Name the first few participant-sessions of some rows, and count the others."""
    names = [name_of(row["participant_id"], row["session_id"]) for row in rows]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
