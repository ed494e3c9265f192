"""Deal participants into parts. Reads cohort.tsv; writes splits.tsv."""

import warnings

import numpy as np

from bids_sexclf.errors import InputError, LeakageError
from bids_sexclf.tables import write_table

READS = ("cohort",)
WRITES = ("splits.tsv",)
SETTINGS = (
    "split",
    "n_folds",
    "repeats",
    "validation_fraction",
    "test_fraction",
    "age_bands",
    "random_seed",
)
COLUMNS = ["repeat", "fold", "participant_id", "part"]


def run(desk, advance):
    """Deal, check and write the parts.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    cohort = desk.read("cohort")
    splits = deal(cohort, desk.study)
    check_splits(splits, cohort)
    write_table(splits, desk.folder / "splits.tsv", "splits")
    advance(1, 1)


def people_of(cohort):
    """Give one row per participant: sex, age and the family that must stay together.

    Parameters
    ----------
    cohort : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        participant_id, sex, age_years, family (the participant's own id where none is known).
    """
    people = cohort.drop_duplicates("participant_id").reset_index(drop=True)
    family = people["family_id"].fillna(people["participant_id"])
    return people[["participant_id", "sex", "age_years"]].assign(family=family.astype(str))


def deal(cohort, study):
    """Deal participants into train, validation and test.

    Parts are balanced over sex and age band, and never share a family.

    Parameters
    ----------
    cohort : pandas.DataFrame
    study : settings.Study

    Returns
    -------
    pandas.DataFrame
        repeat, fold, participant_id, part. With ``split = "kfold"`` everyone is tested once per
        repeat.

    Raises
    ------
    InputError
        If a sex has fewer families than there are folds, or fewer than two outside a test part.
    """
    import pandas as pd

    people = people_of(cohort)
    strata = people["sex"] + "_" + _bands(people["age_years"], study.age_bands)
    folds = study.n_folds if study.split == "kfold" else max(2, round(1 / study.test_fraction))
    fewest = people.groupby("sex")["family"].nunique().min()
    if people["sex"].nunique() < 2 or fewest < folds:
        raise InputError(
            f"Found {fewest} families of the rarer sex for {folds} folds, needed at least one "
            "each. Lower n_folds, or add participants."
        )
    rows = []
    for repeat in range(1, study.repeats + 1):
        dealt = _fold_of(people, strata, folds, [study.random_seed, repeat])
        tested = range(folds) if study.split == "kfold" else [0]
        for fold in tested:
            rest = np.flatnonzero(dealt != fold)
            parts = np.where(dealt == fold, "test", "train").astype(object)
            _check_enough(people.iloc[rest], folds)
            inner = max(2, round(1 / study.validation_fraction))
            held = _fold_of(
                people.iloc[rest], strata.iloc[rest], inner, [study.random_seed, repeat, fold + 1]
            )
            parts[rest[held == 0]] = "validation"
            rows += [
                (repeat, fold + 1, person, part)
                for person, part in zip(people["participant_id"], parts, strict=True)
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _check_enough(people, folds):
    """Refuse to train where a sex has nobody left for either training or validation."""
    fewest = people.groupby("sex")["family"].nunique()
    fewest = fewest.min() if len(fewest) == 2 else 0
    if fewest < 2:
        raise InputError(
            f"Found {fewest} families of the rarer sex outside a test part ({folds} folds), needed "
            "two: one to train on and one to validate on. Add participants."
        )


def _bands(ages, count):
    """Name the age band of each participant: equal counts, by rank."""
    rank = ages.rank(method="first") - 1
    return (rank * count // len(ages)).astype(int).astype(str)


def _fold_of(people, strata, folds, seed):
    """Give each row its fold, families whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    state = int(np.random.SeedSequence(seed).generate_state(1)[0])
    # The splitter looks at rows in the order given: sorting makes the deal independent of it.
    order = np.argsort(people["participant_id"].to_numpy(), kind="stable")
    folds = max(2, min(folds, people.groupby("sex")["family"].nunique().min()))
    if strata.value_counts().max() < folds:
        strata = people["sex"]  # too few participants to balance age as well
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=state)
    fold = np.empty(len(people), dtype=int)
    with warnings.catch_warnings():
        # A stratum smaller than the folds is dealt as evenly as it goes.
        warnings.simplefilter("ignore", UserWarning)
        dealt = splitter.split(order, strata.to_numpy()[order], people["family"].to_numpy()[order])
        for number, (_, test) in enumerate(dealt):
            fold[order[test]] = number
    return fold


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
        If a participant or a family lies in two parts of a fold, is tested twice within a repeat,
        or is unknown to the cohort.
    """
    family = people_of(cohort).set_index("participant_id")["family"]
    faults = []
    strangers = sorted(set(splits["participant_id"]) - set(family.index))
    if strangers:
        faults.append(f"{', '.join(strangers[:5])} not in the cohort")
    known = splits[splits["participant_id"].isin(family.index)]
    known = known.assign(family=known["participant_id"].map(family))
    for key, what in (("participant_id", "participants"), ("family", "families")):
        parts = known.groupby(["repeat", "fold", key])["part"].nunique()
        shared = parts[parts > 1].index.get_level_values(key).unique()
        if len(shared):
            faults.append(f"{len(shared)} {what} in two parts of a fold ({shared[0]}, …)")
    tested = splits[splits["part"] == "test"]
    twice = tested.duplicated(["repeat", "participant_id"])
    if twice.any():
        faults.append(f"{int(twice.sum())} participants tested twice in a repeat")
    if faults:
        raise LeakageError(
            f"Found splits with {'; '.join(faults)}; needed parts that share no participant and no "
            "family. Deal again with --first splits."
        )
    return splits
