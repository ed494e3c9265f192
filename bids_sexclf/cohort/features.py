"""Lay out the table that classifiers of features read: one row per row of the cohort."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np

from bids_sexclf.anatomy.morphometry import KEYS, widen
from bids_sexclf.cells import cut, plain_name, shorten
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.features import Features
from bids_sexclf.tables import NAMELESS, read_table, read_tsv

OWN = ("morphometry", "region_means")
ABOUT = ["feature", "atlas", "region", "name", "hemisphere", "measure"]
HCP = "FS_"
"""Beginning of the names of FreeSurfer's measures in the tables of the HCP."""
SIDES = {"left": "L", "lh": "L", "l": "L", "right": "R", "rh": "R", "r": "R"}
TARGETS = ("sex", "gender", "age", "age_years", "age_band", "target")
"""Columns of a given table that would hand the answer over."""


def source(study, folder):
    """Give the table that a study's features come from.

    Parameters
    ----------
    study : settings.Study
    folder : pathlib.Path
        Of the study.

    Returns
    -------
    pathlib.Path
    """
    return Path(folder, f"{study.features}.tsv") if study.features in OWN else Path(study.features)


def digest(study, folder):
    """Digest the table of features; None where it is absent."""
    path = source(study, folder)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def read_features(study, folder, cohort):
    """Read the features of everyone in the cohort.

    Parameters
    ----------
    study : settings.Study
        ``features`` is read.
    folder : pathlib.Path
        Of the study.
    cohort : pandas.DataFrame

    Returns
    -------
    features : Features
        One row per row of the cohort; ``nan`` where a number is unknown.
    about : pandas.DataFrame
        feature, atlas, region, name, hemisphere, measure: one row per column, unknown where the
        table does not tell.

    Raises
    ------
    InputError
        If the table is absent or has no numbers, or a participant has none in it.
    """
    path = _check_there(study, source(study, folder))
    if study.features == "morphometry":
        wide, about = _morphometry(read_table(path, "morphometry"), path)
    elif study.features == "region_means":
        wide, about = _region_means(read_table(path, "region_means"))
    else:
        wide, about = _read_table(path, study)
    keys = [cohort["participant_id"], cohort["session_id"].fillna("n/a")]
    if "session_id" not in wide.index.names:
        keys = keys[:1]
    rows = wide.reindex(list(zip(*keys, strict=True)) if len(keys) == 2 else keys[0])
    values = rows.to_numpy(dtype=np.float64)
    empty = ~np.isfinite(values).any(1)
    if empty.any():
        names = cohort.loc[empty, "participant_id"].tolist()
        raise InputError(
            f"Found no number in {path} of {len(names)} of {len(cohort)} participants "
            f"({', '.join(names[:5])}); needed some of each. Prepare their scans, or leave the "
            "models of features out."
        )
    return Features(values, tuple(wide.columns)), about


def _check_there(study, path):
    """Return the path of the table if it is there."""
    if path.is_file():
        return path
    if study.features in OWN:
        raise InputError(
            f"Found no {path}, needed by features {study.features!r}. Run again with --first "
            "cohort and with region_means, which writes it for maps in the space of a template; or "
            "choose other features."
        )
    raise InputError(
        f"Found no table {study.features}, needed {' or '.join(OWN)}, or the path of a TSV with "
        "participant_id and columns of numbers. Put the table there, or correct features: a "
        "relative path begins in the folder where the command is run."
        f"{suggest([study.features], OWN)}"
    )


def _morphometry(table, path):
    """Widen morphometry.tsv and keep what each column is of."""
    import pandas as pd

    if table.empty:
        raise InputError(
            f"Found {path} without a row, needed the region measures of the participants. Prepare "
            "them with morphometry_atlas, give --derivatives freesurfer=PATH, or leave the models "
            "of features out."
        )
    wide = widen(table)
    regions = table[["atlas", "region", "name", "hemisphere"]].drop_duplicates()
    rows = []
    for atlas, index, name, hemisphere in regions.itertuples(index=False):
        known = not pd.isna(index)
        region = f"{index:.0f}" if known else f"{hemisphere} {name}"
        for measure in (column for column in table if column not in KEYS):
            shown = region if known else None
            rows.append((f"{atlas} {region} {measure}", atlas, shown, name, hemisphere, measure))
    about = pd.DataFrame(rows, columns=ABOUT).drop_duplicates("feature").set_index("feature")
    return wide, about.reindex(wide.columns).rename_axis("feature").reset_index()


def _region_means(table):
    """Widen region_means.tsv; regions taken together are left out: their parts are there."""
    table = table[~table["region"].str.contains("+", regex=False)]
    table = table.assign(
        feature=table["map"] + " " + table["atlas"] + " " + table["region"],
        session_id=table["session_id"].fillna("n/a"),
        measure="mean of " + table["map"],
        hemisphere=None,
    )
    wide = table.pivot(index=["participant_id", "session_id"], columns="feature", values="mean")
    order = table["feature"].drop_duplicates()
    about = table.drop_duplicates("feature")[ABOUT].reset_index(drop=True)
    return wide[order].rename_axis(columns=None), about


def read_given(study):
    """Read the table of features that a user made, of everyone in it.

    Parameters
    ----------
    study : settings.Study
        ``features`` is its path.

    Returns
    -------
    pandas.DataFrame
        Participants × features, by participant_id, or by participant_id and session_id (``n/a``
        where there is none).

    Raises
    ------
    InputError
        If the table is absent, or with everything that is wrong with it.
    """
    return _read_table(_check_there(study, Path(study.features)), study)[0]


def _read_table(path, study):
    """Read a table that the user made, or say everything that is wrong with it."""
    table = read_tsv(path)
    keys = [key for key in ("participant_id", "session_id") if key in table]
    columns = _choose_columns(table, keys)
    faults = _column_faults(table, columns, study) + _row_faults(table, keys, path)
    if faults:
        raise InputError(
            f"Found {path} with {'; '.join(faults)}; needed participant_id and columns of numbers, "
            "one row per participant. Correct the table, or choose other features."
        )
    if "session_id" in keys:
        table["session_id"] = table["session_id"].fillna("n/a")
    return table.set_index(keys if len(keys) > 1 else "participant_id")[columns], _describe_columns(
        path, columns
    )


def _describe_columns(path, columns):
    """Describe the columns of a table by a data dictionary beside it, else by their names."""
    import pandas as pd

    beside, entries = path.with_suffix(".json"), {}
    if beside.is_file():
        try:
            dictionary = json.loads(beside.read_text(encoding="utf-8"))
            entries = {name: dict(dictionary[name]) for name in columns if name in dictionary}
        except (OSError, ValueError, TypeError) as fault:
            raise InputError(
                f"Found {beside}, which is no data dictionary ({fault}); needed JSON of column to "
                "its description. Correct it, or take it away."
            ) from fault
    rows = []
    for column in columns:
        entry = entries.get(column, {})
        side = entry.get("Hemisphere") or find_side(column)
        if side not in (None, "L", "R", "B"):
            raise InputError(
                f"Found Hemisphere {side!r} of {column} in {beside}, needed L, R or B. Correct it."
            )
        rows.append((column, entry.get("Region") or column, side, entry.get("Measure")))
    about = pd.DataFrame(rows, columns=["feature", "name", "hemisphere", "measure"])
    return about.reindex(columns=ABOUT)


def _choose_columns(table, keys):
    """Choose the columns that are features: of the HCP's tables those of FreeSurfer."""
    columns = [column for column in table if column not in keys]
    return [column for column in columns if column.startswith(HCP)] or columns


def find_side(column):
    """Tell the hemisphere that the name of a feature speaks of.

    Parameters
    ----------
    column : str

    Returns
    -------
    str or None
        ``L`` or ``R``; None where the name tells neither.

    Examples
    --------
    >>> [find_side(name) for name in ("Left-Hippocampus", "rh_insula_area", "FS_L_Hippo_Vol")]
    ['L', 'R', 'L']
    >>> find_side("CC_Posterior")
    """
    words = re.split(r"[^a-z0-9]+", column.casefold())
    first = words[1:2] if words[0] == "fs" else words[:1]
    sides = {SIDES[word] for word in words if len(word) > 1 and word in SIDES}
    sides |= {SIDES[word] for word in (*first, words[-1]) if word in SIDES}
    return sides.pop() if len(sides) == 1 else None


def _column_faults(table, columns, study):
    """List the columns of a given table that cannot be features."""
    import pandas as pd

    targets = {*TARGETS, plain_name(study.sex_column or "sex")}
    faults = [] if "participant_id" in table else ["no column participant_id"]
    telling = [column for column in columns if plain_name(column) in targets]
    text = [column for column in columns if not pd.api.types.is_numeric_dtype(table[column])]
    numbers = [column for column in columns if column not in text]
    infinite = [column for column in numbers if np.isinf(table[column].astype(float)).any()]
    nameless = [column for column in columns if column.startswith(NAMELESS)]
    for names, what in (
        (telling, "columns that tell the answer"),
        (text, "columns that hold text"),
        (infinite, "columns that hold infinite numbers"),
        (nameless, "columns without a name"),
    ):
        if names and len(table):
            faults.append(f"{what} ({', '.join(map(cut, names[:5]))})")
    return faults if columns else [*faults, "no column of numbers"]


def _row_faults(table, keys, path):
    """List what is wrong with the participants of a given table."""
    if not len(table):
        return ["a header and no row below it"]
    if "participant_id" not in keys:
        return []
    faults, nobody = [], int(table["participant_id"].isna().sum())
    if nobody:
        faults.append(f"{nobody} rows without participant_id")
    twice = table.duplicated(keys, keep=False) & table["participant_id"].notna()
    if twice.any():
        spelled = read_tsv(path, spell=False).loc[twice, "participant_id"]
        names = [
            f"{person} spelled {' and '.join(map(shorten, rows.unique()[:3]))}"
            for person, rows in spelled.groupby(table.loc[twice, "participant_id"])
        ]
        faults.append(
            f"{int(table[twice].duplicated(keys).sum())} rows under an id that has one "
            f"({', '.join(names[:5])})"
        )
    return faults
