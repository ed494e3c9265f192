"""Deal participants into parts. Reads cohort.tsv; writes splits.tsv."""

import warnings

import numpy as np

from bids_sexclf.errors import InputError, LeakageError
from bids_sexclf.group._split_file import COLUMNS, read_split
from bids_sexclf.stats.matching import match_pairs
from bids_sexclf.tables import read_table, write_table

READS = ("cohort",)
WRITES = ("splits.tsv",)
SETTINGS = (
    "split",
    "split_file",
    "match",
    "match_caliper",
    "n_folds",
    "repeats",
    "validation_fraction",
    "test_fraction",
    "age_bands",
    "random_seed",
)


def files(desk):
    """Name the file of parts that a user gives, if one is given."""
    given = desk.study.split_file
    return {"split_file": given} if given else {}


def run(desk, advance):
    """Deal, check and write the parts.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    cohort = desk.read("cohort")
    excluded = desk.folder / "excluded.tsv"
    left_out = read_table(excluded, "excluded")["participant_id"] if excluded.exists() else ()
    splits = deal(cohort, desk.study, left_out)
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
        participant_id, sex, age_years, family (the participant's own id where none is known), and
        site and brain_volume_ml where the cohort has them; sorted by participant.
    """
    people = cohort.drop_duplicates("participant_id")
    people = people.sort_values("participant_id", ignore_index=True)
    family = people["family_id"].fillna(people["participant_id"])
    kept = [name for name in ("site", "brain_volume_ml") if name in people]
    return people[["participant_id", "sex", "age_years", *kept]].assign(family=family.astype(str))


def deal(cohort, study, excluded=()):
    """Deal participants into train, validation and test.

    Parts are balanced over sex and age band, and never share a family.

    Parameters
    ----------
    cohort : pandas.DataFrame
    study : settings.Study
    excluded : iterable of str
        Whom the cohort left out: they may stand in a given file.

    Returns
    -------
    pandas.DataFrame
        repeat, fold, participant_id, part. With ``split = "kfold"`` everyone is tested once per
        repeat; with ``"site"`` each site is tested by a model that saw none of it, and relatives
        of those tested are unused; with ``"file"`` parts are those given. With ``match`` those
        without a partner of the other sex in their part are unused.

    Raises
    ------
    InputError
        If a sex has fewer families than there are folds, or fewer than two outside a test part; if
        a site or brain volume that is needed is unknown; if a given file has faults.
    """
    import pandas as pd

    people = people_of(cohort)
    if study.split == "file":
        splits = read_split(study.split_file, people, excluded)
        return _match_all(splits, people, study)
    everybody, people = people["participant_id"], match_people(people, study)
    strata = people["sex"] + "_" + _bands(people["age_years"], study.age_bands)
    rows = []
    for repeat in range(1, study.repeats + 1):
        for fold, tested in enumerate(_tests(people, strata, study, repeat), start=1):
            related = people["family"].isin(people.loc[tested, "family"]).to_numpy() & ~tested
            parts = np.select([tested, related], ["test", "unused"], "train").astype(object)
            rest = np.flatnonzero(parts == "train")
            _check_enough(people.iloc[rest])
            inner = max(2, round(1 / study.validation_fraction))
            seed = [study.random_seed, repeat, fold]
            held = _fold_of(people.iloc[rest], strata.iloc[rest], inner, seed)
            parts[rest[held == 0]] = "validation"
            rows += [
                (repeat, fold, person, part)
                for person, part in zip(people["participant_id"], parts, strict=True)
            ]
            alone = sorted(set(everybody) - set(people["participant_id"]))
            rows += [(repeat, fold, person, "unused") for person in alone]
    return _match_all(pd.DataFrame(rows, columns=COLUMNS), people, study)


def _tests(people, strata, study, repeat):
    """Yield who is tested in each fold: an array of bool."""
    if study.split == "site":
        yield from _sites(people)
        return
    folds = study.n_folds if study.split == "kfold" else max(2, round(1 / study.test_fraction))
    fewest = people.groupby("sex")["family"].nunique().min()
    if people["sex"].nunique() < 2 or fewest < folds:
        raise InputError(
            f"Found {fewest} families of the rarer sex for {folds} folds, needed at least one "
            "each. Lower n_folds, or add participants."
        )
    dealt = _fold_of(people, strata, folds, [study.random_seed, repeat])
    for fold in range(folds) if study.split == "kfold" else [0]:
        yield dealt == fold


def _sites(people):
    """Yield who is of each site."""
    site = people["site"] if "site" in people else people["sex"].where(False)
    unknown = people.loc[site.isna(), "participant_id"]
    if len(unknown) or site.nunique() < 2:
        raise InputError(
            f"Found {site.nunique()} site(s), unknown of {len(unknown)} participants "
            f"({', '.join(unknown[:5]) or 'none'}); needed several, known of everyone, to leave "
            "one site out. Complete participants.tsv, or choose another split."
        )
    for name in sorted(site.unique()):
        yield (site == name).to_numpy()


def match_people(people, study):
    """Drop who has no partner of the other sex and like brain size, and keep pairs together.

    Pairs are made before parts are dealt, so that small parts lose nobody else. They stay
    together unless one of them has relatives, since a chain of pairs and families could tie
    everyone to everyone; within parts, `deal` then looks for partners again.

    Parameters
    ----------
    people : pandas.DataFrame
        As `people_of` gives it.
    study : settings.Study
        ``match`` and ``match_caliper`` are read; with ``split = "site"`` pairs are of one site.

    Returns
    -------
    pandas.DataFrame
        The same columns and ``together``: who must lie in one part, at least the family.
    """
    people = people.assign(together=people["family"])
    if study.match == "none":
        return people
    _check_sizes(people)
    single = ~people["family"].duplicated(keep=False)
    kept = []
    for _, site in people.groupby("site") if study.split == "site" else [(None, people)]:
        for woman, man in _pairs(site, study.match_caliper):
            kept += [woman, man]
            if single[woman] and single[man]:
                people.loc[man, "together"] = people.loc[woman, "together"]
    return people.loc[sorted(kept)].reset_index(drop=True)


def _check_sizes(people):
    """Refuse to match by what is unknown."""
    known = people["brain_volume_ml"] if "brain_volume_ml" in people else people["sex"].where(False)
    unknown = people.loc[known.isna(), "participant_id"]
    if len(unknown):
        raise InputError(
            f"Found {len(unknown)} participants without brain_volume_ml "
            f"({', '.join(unknown[:5])}), needed to match women to men by it. Leave them out, or "
            "set match to none."
        )


def _pairs(people, caliper):
    """Pair women and men by brain volume: index labels, shape (k, 2)."""
    women, men = (people.index[people["sex"] == sex] for sex in ("female", "male"))
    sizes = [people.loc[group, "brain_volume_ml"].to_numpy(float) for group in (women, men)]
    pairs = match_pairs(*sizes, caliper)
    return np.stack([women[pairs[:, 0]], men[pairs[:, 1]]], axis=1)


def _match_all(splits, people, study):
    """Leave those unused who have no partner in their part; refuse parts without pairs."""
    if study.match == "none":
        return splits
    _check_sizes(people)
    splits = splits.copy()
    known = splits.reset_index().merge(people, on="participant_id").set_index("index")
    for (repeat, fold), rows in known.groupby(["repeat", "fold"]):
        for part in ("train", "validation", "test"):
            mine = rows[rows["part"] == part]
            pairs = _pairs(mine, study.match_caliper)
            if len(pairs) < (2 if part == "train" else 1):
                raise InputError(
                    f"Found {len(pairs)} pairs of women and men within {study.match_caliper:g} mL "
                    f"of brain volume in part {part} of repeat {repeat}, fold {fold}; needed more "
                    "to learn from. Raise match_caliper, or add participants."
                )
            splits.loc[mine.index.difference(pairs.ravel()), "part"] = "unused"
    return splits


def _check_enough(people):
    """Refuse to train where a sex has nobody left for either training or validation."""
    fewest = people.groupby("sex")["family"].nunique()
    fewest = fewest.min() if len(fewest) == 2 else 0
    if fewest < 2:
        raise InputError(
            f"Found {fewest} families of the rarer sex outside a test part, needed two: one to "
            "train on and one to validate on. Add participants, or test fewer at a time."
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
    folds = max(2, min(folds, people.groupby("sex")["together"].nunique().min()))
    if strata.value_counts().max() < folds:
        strata = people["sex"]  # too few participants to balance age as well
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=state)
    fold = np.empty(len(people), dtype=int)
    with warnings.catch_warnings():
        # A stratum smaller than the folds is dealt as evenly as it goes.
        warnings.simplefilter("ignore", UserWarning)
        groups = people["together"].to_numpy()[order]
        dealt = splitter.split(order, strata.to_numpy()[order], groups)
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
    known = known[known["part"] != "unused"]
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
