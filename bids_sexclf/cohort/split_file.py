"""Read the parts of a split from a user's file; raise one error with all faults."""

from bids_sexclf import targets
from bids_sexclf.cells import cut, shorten
from bids_sexclf.cohort.split_checks import PARTS, find_part_faults
from bids_sexclf.errors import InputError
from bids_sexclf.tables import read_tsv

COLUMNS = ["repeat", "fold", "participant_id", "part"]


def read_split(path, people, excluded=(), target="sex"):
    """Read a table of parts.

    Parameters
    ----------
    path : path-like
        TSV or CSV: participant_id, part (train, validation, test, or unused) and, for several
        folds, repeat and fold (from 1).
    people : pandas.DataFrame
        participant_id, family and the column of the target: one row per participant of the cohort.
    excluded : iterable of str
        Participants whom the cohort left out: they may stand in the file.
    target : str
        Its name: each part needs both of two classes, or enough people.

    Returns
    -------
    pandas.DataFrame
        repeat, fold, participant_id, part.

    Raises
    ------
    InputError
        With all faults: unknown or missing participants, families in two parts, people tested in
        two folds of a repeat, parts that cannot be used.
    """
    table = read_tsv(path, ("part", "repeat", "fold"))
    missing = [name for name in ("participant_id", "part") if name not in table]
    if missing or ("repeat" in table) != ("fold" in table):
        raise InputError(
            f"Found {path} with columns {', '.join(map(shorten, table.columns))}, needed "
            "participant_id and part, and repeat and fold both or neither. Correct the table."
        )
    if not len(table):
        raise InputError(
            f"Found {path} with a header and no row below it, needed a row for each participant of "
            "the cohort. Complete the table."
        )
    for name in ("repeat", "fold"):
        table[name] = _whole_numbers(table[name]) if name in table else 1
    table["part"] = table["part"].str.lower()
    left_out = set(excluded) - set(people["participant_id"])
    table = table[~table["participant_id"].isin(left_out)][COLUMNS]
    faults = _table_faults(table, people) if len(table) else ["no rows"]
    for (repeat, fold), rows in table.groupby(["repeat", "fold"]):
        place = (
            ""
            if len(table[["repeat", "fold"]].drop_duplicates()) == 1
            else (f" in repeat {cut(repeat)}, fold {cut(fold)}")
        )
        faults += [fault + place for fault in _fold_faults(rows, people, target)]
    if faults:
        further = f"; and {len(faults) - 20} more faults" if len(faults) > 20 else ""
        raise InputError(
            f"Found {path} with {'; '.join(faults[:20])}{further}. Needed each participant of the "
            "cohort once per fold, tested once per repeat, families in one part, and "
            f"{targets.find(target).full_part} in train, validation and test. Correct the "
            "table; who shall not take part is unused."
        )
    return table.sort_values(COLUMNS[:3], ignore_index=True)


def _whole_numbers(texts):
    """Return a column as whole numbers from 1, or unchanged if a value is not one."""
    import pandas as pd

    numbers = pd.to_numeric(texts, errors="coerce")
    whole = (numbers >= 1) & (numbers < 1e9) & (numbers % 1 == 0)
    return numbers.astype(int) if whole.all() else texts


def _some(names):
    names = sorted(set(names))
    return f"{', '.join(map(cut, names[:5]))}{', …' if len(names) > 5 else ''}"


def _table_faults(table, people):
    """List the faults of the whole table."""
    import pandas as pd

    faults, nobody = [], int(table["participant_id"].isna().sum())
    if nobody:
        faults.append(f"{nobody} rows without participant_id")
    strangers = set(table["participant_id"].dropna()) - set(people["participant_id"])
    if strangers:
        faults.append(f"{len(strangers)} participants not in the cohort ({_some(strangers)})")
    invalid = table.loc[~table["part"].isin([*PARTS, "unused"]), "part"].fillna("n/a")
    if len(invalid):
        faults.append(f"parts that do not exist ({_some(invalid)})")
    tested = table[table["part"] == "test"]
    twice = tested[
        tested.duplicated(["repeat", "participant_id"])
        & ~tested.duplicated(["repeat", "fold", "participant_id"])
    ]
    if len(twice):
        faults.append(
            f"participants tested in two folds of a repeat ({_some(twice.participant_id)})"
        )
    if not all(pd.api.types.is_integer_dtype(table[name]) for name in ("repeat", "fold")):
        faults.append("repeats or folds that are no whole numbers from 1")
    return faults


def _fold_faults(rows, people, target):
    """List the faults of one fold."""
    faults = []
    twice = rows.loc[rows["participant_id"].duplicated(), "participant_id"]
    if len(twice):
        faults.append(f"participants on several lines ({_some(twice)})")
    absent = set(people["participant_id"]) - set(rows["participant_id"])
    if absent:
        faults.append(f"{len(absent)} participants of the cohort without a part ({_some(absent)})")
    joined = rows.merge(people, on="participant_id")
    used = joined[joined["part"].isin(PARTS)]
    shared = used.groupby("family")["part"].nunique()
    if (shared > 1).any():
        faults.append(f"families in two parts ({_some(shared[shared > 1].index)})")
    return faults + find_part_faults(used, target)
