"""Read participants.tsv into the words of this project, and say what is wrong with whom."""

from pathlib import Path

from bids_sexclf.errors import InputError
from bids_sexclf.given.offers import cc359_people
from bids_sexclf.layout import label
from bids_sexclf.tables import read_tsv

SEX = {
    "f": "female",
    "female": "female",
    "w": "female",
    "woman": "female",
    "m": "male",
    "male": "male",
    "man": "male",
}


def read_participants(bids_dir, labelled=True):
    """Read participants.tsv into the words of this project.

    Where there is none, the file names of CC-359 tell sex, age and scanner.

    Parameters
    ----------
    bids_dir : path-like
    labelled : bool
        Call it a fault where sex or age is unknown.

    Returns
    -------
    people : pandas.DataFrame
        participant_id, sex (``female``/``male``), age_years, family_id, site; one usable row per
        participant, with sex and age unknown where the file does not tell them.
    faults : dict of str to list of str
        Participant to what is wrong with its rows.

    Raises
    ------
    InputError
        If the file is missing, or has no column for the id, the sex or the age.
    """
    import pandas as pd

    path = Path(bids_dir) / "participants.tsv"
    if path.exists():
        raw = read_tsv(path, text=("sex", "gender", "family", "site_id"))
    else:
        raw = pd.DataFrame(cc359_people(bids_dir) if Path(bids_dir).is_dir() else [])
    if raw.empty and not path.exists():
        raise InputError(
            f"Found no {path}, needed a table with participant_id, sex and age. Write one: BIDS "
            "describes it under 'participants file'."
        )
    raw.columns = [column.strip() for column in raw.columns]
    source = {name: _column(raw, options) for name, options in _COLUMNS.items()}
    missing = [name for name in ("participant_id", "sex", "age_years") if source[name] is None]
    if missing:
        raise InputError(
            f"Found {path} with columns {list(raw.columns)}, needed one for each of "
            f"{', '.join(missing)}. Add it (BIDS names: participant_id, sex, age)."
        )
    people = pd.DataFrame(
        {name: raw[column] if column else None for name, column in source.items()}
    )
    people["participant_id"] = "sub-" + people["participant_id"].map(lambda i: label(i, "sub"))
    return _clean(people, raw, source, labelled)


_COLUMNS = {
    "participant_id": ("participant_id",),
    "sex": ("sex", "gender"),
    "age_years": ("age",),
    "family_id": ("family_id", "family"),
    "site": ("site", "site_id", "center"),
}


def _column(raw, options):
    """Find a column by its accepted names, whatever their case."""
    lower = {column.lower(): column for column in raw.columns}
    return next((lower[option] for option in options if option in lower), None)


def _clean(people, raw, source, labelled):
    """Normalise sex and age, and collect the faults of each participant."""
    import pandas as pd

    faults = {}
    known = people["sex"].map(lambda value: SEX.get(str(value).strip().lower()), na_action="ignore")
    # BIDS allows 89+ and the like, which is no number: the age is then unknown.
    ages = pd.to_numeric(people["age_years"], errors="coerce")
    for row, person in enumerate(people["participant_id"]):
        found = faults.setdefault(person, [])
        if labelled and pd.isna(known.iloc[row]):
            found.append(f"sex is {_shown(people['sex'].iloc[row])}, needed female or male")
        if labelled and not 0 <= ages.iloc[row] <= 120:
            found.append(f"age is {_shown(people['age_years'].iloc[row])}, needed years (0-120)")
        if source["sex"].lower() == "sex" and _column(raw, ("gender",)):
            other = SEX.get(str(raw[_column(raw, ("gender",))].iloc[row]).strip().lower())
            if other and other != known.iloc[row]:
                found.append(f"sex {known.iloc[row]} and gender {other} contradict each other")
    people = people.assign(sex=known, age_years=ages.where(ages.between(0, 120)))
    for person, rows in people.groupby("participant_id"):
        if len(rows) > 1 and rows["sex"].nunique() > 1:
            faults[person].append(f"{len(rows)} rows that contradict each other in sex")
        elif len(rows) > 1 and rows.astype(str).drop_duplicates().shape[0] > 1:
            faults[person].append(f"{len(rows)} rows that differ under one id")
        elif len(rows) > 1:
            faults[person].append(f"{len(rows)} rows under one id, needed one")
    people = people.drop_duplicates("participant_id").reset_index(drop=True)
    return people, {person: found for person, found in faults.items() if found}


def _shown(value):
    return "unknown" if value is None or value != value else repr(value)
