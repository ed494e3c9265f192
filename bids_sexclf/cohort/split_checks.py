"""Refuse parts that leak, and parts that cannot be scored."""

from bids_sexclf import targets
from bids_sexclf.errors import InputError, LeakageError
from bids_sexclf.texts import count_noun

PARTS = ("train", "validation", "test")

PERSON = ["participant_id", "sex", "age_years", "age_band", "site", "brain_volume_ml"]


def find_part_faults(rows, target):
    """List the reasons why the parts of one fold cannot be used.

    Parameters
    ----------
    rows : pandas.DataFrame
        participant_id, part and the column of the target, of one fold; one row per participant.
    target : str
        Its name.

    Returns
    -------
    list of str
    """
    faults, goal = [], targets.find(target)
    for part in PARTS:
        values = rows.loc[rows["part"] == part, goal.column]
        fault = goal.find_fault(values) if len(values) else "nobody"
        if fault:
            faults.append(f"{fault} in part {part}")
    return faults


def check_scorable(splits, people, target):
    """Refuse parts that cannot be used for training, validation or test.

    Parameters
    ----------
    splits : pandas.DataFrame
    people : pandas.DataFrame
        participant_id and the column of the target, one row per participant.
    target : str
        Its name.

    Returns
    -------
    pandas.DataFrame
        The same splits.

    Raises
    ------
    InputError
        If a part of any fold has one class only, or too few people.
    """
    goal = targets.find(target)
    joined = splits.merge(people[["participant_id", goal.column]], on="participant_id")
    faults = [
        f"{fault} of repeat {repeat}, fold {fold}"
        for (repeat, fold), rows in joined.groupby(["repeat", "fold"])
        for fault in find_part_faults(rows, target)
    ]
    if faults:
        further = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InputError(
            f"Found {'; '.join(faults[:5])}{further}; needed {goal.full_part} in every part, to "
            "train, to choose when to stop, and to score. Lower n_folds, make the small part "
            "larger (validation_fraction, test_fraction, parts), or add participants."
        )
    return splits


def check_splits(splits, cohort):
    """Refuse parts through which test participants reach training.

    Parameters
    ----------
    splits : pandas.DataFrame
    cohort : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        The same splits.

    Raises
    ------
    LeakageError
        If a participant or a family is in two parts of a fold, is tested twice within a repeat, or
        is not in the cohort.
    """
    family = people_of(cohort).set_index("participant_id")["family"]
    faults = []
    strangers = sorted(set(splits["participant_id"]) - set(family.index))
    if strangers:
        faults.append(f"{', '.join(strangers[:5])} not in the cohort")
    used = splits[splits["participant_id"].isin(family.index)]
    used = used.assign(family=used["participant_id"].map(family))
    used = used[used["part"] != "unused"]
    for key, units in (("participant_id", "participants"), ("family", "families")):
        parts = used.groupby(["repeat", "fold", key])["part"].nunique()
        shared = parts[parts > 1].index.get_level_values(key).unique()
        if len(shared):
            faults.append(f"{len(shared)} {units} in two parts of a fold ({shared[0]}, …)")
    tested = splits[splits["part"] == "test"]
    twice = tested.duplicated(["repeat", "participant_id"])
    if twice.any():
        faults.append(f"{count_noun(int(twice.sum()), 'participant')} tested twice in a repeat")
    if faults:
        raise LeakageError(
            f"Found splits with {'; '.join(faults)}; needed parts that share no participant and no "
            "family. Deal again with --first splits."
        )
    return splits


def people_of(cohort):
    """Return one row per participant: sex, age and the family that must stay together.

    Parameters
    ----------
    cohort : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        participant_id, sex, age_years, age_band, site, brain_volume_ml and family (the
        participant's own id if none is known); sorted by participant. Columns that the cohort
        lacks are unknown. Of several sessions, the first known value is used.
    """
    order = [name for name in ("participant_id", "session_id") if name in cohort]
    people = cohort.sort_values(order).groupby("participant_id", as_index=False).first()
    family = people["family_id"].fillna(people["participant_id"])
    target_columns = [name for name in {targets.find(name).column for name in targets.names()}]
    columns = [*PERSON, *sorted(set(target_columns) & set(people) - set(PERSON))]
    return people.reindex(columns=columns).assign(family=family.astype(str))
