"""Stage ``splits``: assigns participants to parts; reads cohort.tsv, writes splits.tsv."""

import numpy as np

from bids_sexclf import targets
from bids_sexclf.cohort.split_checks import PARTS, check_scorable, check_splits, people_of
from bids_sexclf.cohort.split_file import COLUMNS, read_split
from bids_sexclf.errors import InputError
from bids_sexclf.stats import dealing
from bids_sexclf.stats.matching import match_pairs
from bids_sexclf.tables import read_table, write_table
from bids_sexclf.texts import count_noun, count_sexes

READS = ("cohort",)
WRITES = ("splits.tsv",)
SETTINGS = (
    "target",
    "split",
    "split_file",
    "match",
    "match_caliper",
    "n_folds",
    "repeats",
    "validation_fraction",
    "test_fraction",
    "parts",
    "age_bands",
    "random_seed",
)


def files(desk):
    """Return the split file of the user, if there is one."""
    split_file = desk.study.split_file
    return {"split_file": split_file} if split_file else {}


def run(desk, advance):
    """Assign, check and write the parts.

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


def deal(cohort, study, excluded=()):
    """Assign participants to training, validation and test.

    Parts are balanced over sex, and within each sex over age bands; a family is in one part.

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
        repeat; with ``"fixed"`` there is one fold, and people beyond the sum of ``parts`` are
        unused; with ``"site"`` each site is tested by a model of the other sites, and relatives
        of tested people are unused; with ``"file"`` the parts are read from the file. With
        ``match``, people without a partner of the other sex in their part are unused.

    Raises
    ------
    InputError
        If whole families cannot fill every part with both classes, or with enough people; if there
        are fewer people than in ``parts``; if a required site or brain volume is unknown, or a
        site has one class; if the split file has faults.
    """
    import pandas as pd

    people = people_of(cohort)
    if study.split == "file":
        splits = read_split(study.split_file, people, excluded, study.target)
        return check_scorable(_match_all(splits, people, study), people, study.target)
    everybody, people = people["participant_id"], match_people(people, study)
    kind = targets.find(study.target).strata(people)
    people = people.assign(band=_bands(people, study.age_bands), kind=kind)
    alone = sorted(set(everybody) - set(people["participant_id"]))
    names = [*people["participant_id"], *alone]
    folds = []
    for repeat in range(1, study.repeats + 1):
        for fold, part in enumerate(_folds(people, study, repeat), start=1):
            part = [*part, *["unused"] * len(alone)]
            columns = {"repeat": repeat, "fold": fold, "participant_id": names, "part": part}
            folds.append(pd.DataFrame(columns, columns=COLUMNS))
    splits = _match_all(pd.concat(folds, ignore_index=True), people, study)
    return check_scorable(splits, people, study.target)


def _folds(people, study, repeat):
    """Yield the part of each person, fold by fold."""
    if study.split == "fixed":
        yield _deal_once(people, study, [study.random_seed, repeat])
        return
    tests = _sites(people, study) if study.split == "site" else _tests(people, study, repeat)
    for fold, tested in enumerate(tests, start=1):
        related = people["family"].isin(people.loc[tested, "family"]).to_numpy() & ~tested
        parts = np.select([tested, related], ["test", "unused"], "train").astype(object)
        training_rows = np.flatnonzero(parts == "train")
        _check_room(
            people.iloc[training_rows],
            study,
            2,
            "parts beside each test part, to train on and to validate on",
        )
        size = _size(len(training_rows), study.validation_fraction, study)
        parts_of_rest = _deal(
            people.iloc[training_rows],
            [len(training_rows) - size, size],
            study,
            [study.random_seed, repeat, fold],
        )
        parts[training_rows[parts_of_rest == 1]] = "validation"
        yield parts


def _deal(people, sizes, study, seed, unused=False):
    """Assign people to parts of given sizes; an unused last part may have any sexes."""
    full = np.full(len(sizes), targets.find(study.target).is_classes)
    if unused:
        full[-1] = False
    return dealing.deal(people["together"], people["kind"], people["band"], sizes, seed, full)


def _size(count, fraction, study):
    """Return the size of a fraction of people, such that both sides have enough people."""
    fewest = targets.find(study.target).fewest
    return int(max(fewest, min(round(count * fraction), count - fewest)))


def _deal_once(people, study, seed):
    """Return the part of each person in a single split."""
    _check_room(people, study, 3, "parts: to train on, to validate on and to test")
    if study.parts is None:
        test = _size(len(people), study.test_fraction, study)
        validation = _size(len(people) - test, study.validation_fraction, study)
        sizes = [len(people) - test - validation, validation, test]
    else:
        sizes = list(study.parts)
        if sum(sizes) > len(people):
            raise InputError(
                f"Found {len(people)} participants, needed {sum(sizes)} for parts "
                f"{sizes} (train, validation, test). Lower parts, or use test_fraction and "
                "validation_fraction instead."
            )
    spare = len(people) - sum(sizes)
    sizes, names = (sizes + [spare], [*PARTS, "unused"]) if spare else (sizes, PARTS)
    return np.array(names, dtype=object)[_deal(people, sizes, study, seed, spare > 0)]


def _tests(people, study, repeat):
    """Yield the test people of each fold of a cross-validation: an array of bool."""
    folds, seed = study.n_folds, [study.random_seed, repeat]
    # With two folds, people outside one fold are the other fold, which must hold two full parts.
    needed = (4, "parts, two in each fold") if folds == 2 else (folds, f"parts for {folds} folds")
    _check_room(people, study, *needed)
    fold = _deal(people, _even_sizes(len(people), folds), study, seed)
    if folds == 2 and not all(
        _has_room(people[fold == fold_number], study, 2) for fold_number in (0, 1)
    ):
        fold = _deal(people, _even_sizes(len(people), 4), study, seed) % 2
    for number in range(folds):
        yield fold == number


def _even_sizes(count, parts):
    """Return sizes of parts that differ at most by one."""
    return count // parts + (np.arange(parts) < count % parts)


def _has_room(people, study, parts):
    """Return whether whole families can fill a number of parts."""
    goal = targets.find(study.target)
    if goal.is_classes:
        return dealing.count_full_parts(people["together"], people["kind"]) >= parts
    return people["together"].nunique() >= parts and len(people) >= parts * goal.fewest


def _check_room(people, study, parts, reason):
    """Raise InputError if whole families cannot fill the parts."""
    if _has_room(people, study, parts):
        return
    goal, filled = targets.find(study.target), ""
    if goal.is_classes:
        full = dealing.count_full_parts(people["together"], people["kind"])
        filled = f", which fill {count_noun(full, 'part')} with {goal.both}"
    matched = study.match != "none"
    folds = "Lower n_folds, or add" if study.split == "kfold" and study.n_folds > 2 else "Add"
    raise InputError(
        f"Found {count_sexes(people['sex'])}{' matched by brain size' * matched} in "
        f"{people['together'].nunique()} families{' or pairs' * matched}{filled}; needed {parts} "
        f"{reason}, of {goal.full_part} each. {folds} participants"
        f"{', or raise match_caliper' * matched}."
    )


def _sites(people, study):
    """Yield the people of each site: an array of bool."""
    site = people["site"]
    unknown = people.loc[site.isna(), "participant_id"]
    if len(unknown) or site.nunique() < 2:
        raise InputError(
            f"Found {count_noun(site.nunique(), 'site')}, unknown of {len(unknown)} people "
            f"({', '.join(unknown[:5]) or 'none'}); needed several, known of everyone, to leave "
            "one site out. Complete participants.tsv, or choose another split."
        )
    kinds = people.groupby(site)["kind"].agg(lambda kind: ", ".join(sorted(set(kind))))
    poor = [f"{name} (only {kind})" for name, kind in kinds.items() if "," not in kind]
    goal = targets.find(study.target)
    if poor and goal.is_classes:
        raise InputError(
            f"Found {count_noun(len(poor), 'site')} of one {goal.noun}: {', '.join(poor[:5])}; "
            f"needed {goal.both} at each site, since each site is scored alone. Take these people "
            "out of participants.tsv, give sites that belong together one name there, or choose "
            "another split."
        )
    for name in sorted(site.unique()):
        yield (site == name).to_numpy()


def match_people(people, study):
    """Keep only people with a partner of the other sex and similar brain size; keep pairs together.

    Pairs are formed before parts are assigned, so that small parts lose nobody. A pair stays
    together unless a member has relatives, since chains of pairs and families could connect
    everybody; within parts, `deal` then pairs people again.

    Parameters
    ----------
    people : pandas.DataFrame
        As `people_of` returns it.
    study : settings.Study
        ``match`` and ``match_caliper`` are read; with ``split = "site"`` pairs are of one site.

    Returns
    -------
    pandas.DataFrame
        The same columns and ``together``: groups that must be in one part, at least families.
    """
    people = people.assign(together=people["family"])
    if study.match == "none":
        return people
    _check_sizes(people)
    single = ~people["family"].duplicated(keep=False)
    paired = []
    for _, site in people.groupby("site") if study.split == "site" else [(None, people)]:
        for woman, man in _pairs(site, study.match_caliper):
            paired += [woman, man]
            if single[woman] and single[man]:
                people.loc[man, "together"] = people.loc[woman, "together"]
    return people.loc[sorted(paired)].reset_index(drop=True)


def _check_sizes(people):
    """Raise InputError if a brain volume for matching is unknown."""
    unknown = people.loc[people["brain_volume_ml"].isna(), "participant_id"]
    if len(unknown):
        raise InputError(
            f"Found {count_noun(len(unknown), 'participant')} without brain_volume_ml "
            f"({', '.join(unknown[:5])}), needed to match women to men by it. Leave them out, or "
            "set match to none."
        )


def _pairs(people, caliper):
    """Return pairs of women and men by brain volume: index labels, shape (k, 2)."""
    women, men = (people.index[people["sex"] == sex] for sex in ("female", "male"))
    sizes = [people.loc[group, "brain_volume_ml"].to_numpy(float) for group in (women, men)]
    pairs = match_pairs(*sizes, caliper)
    return np.stack([women[pairs[:, 0]], men[pairs[:, 1]]], axis=1)


def _match_all(splits, people, study):
    """Mark people without a partner in their part as unused; refuse parts without pairs."""
    if study.match == "none":
        return splits
    _check_sizes(people)
    splits = splits.copy()
    joined = splits.reset_index().merge(people, on="participant_id").set_index("index")
    for (repeat, fold), rows in joined.groupby(["repeat", "fold"]):
        for part in ("train", "validation", "test"):
            mine = rows[rows["part"] == part]
            pairs = _pairs(mine, study.match_caliper)
            if len(pairs) < (2 if part == "train" else 1):
                raise InputError(
                    f"Found {count_noun(len(pairs), 'pair')} of women and men within "
                    f"{study.match_caliper:g} mL "
                    f"of brain volume in part {part} of repeat {repeat}, fold {fold}; needed more "
                    "to learn from. Raise match_caliper, or add participants."
                )
            splits.loc[mine.index.difference(pairs.ravel()), "part"] = "unused"
    return splits


def _bands(people, count):
    """Return the age band of each person: equal counts, by rank; unknown ages form one band.

    If years are unknown, ``age_band`` (e.g. 26-30) is the band, if the cohort has it.
    """
    ages = people["age_years"].astype(float)
    if count == 1:
        return np.full(len(people), "all")
    rank = ages.rank(method="first") - 1
    bands = (rank * count // max(ages.notna().sum(), 1)).astype("Int64").astype(object)
    band_names = "told " + people["age_band"].astype(object).fillna("nothing").astype(str)
    return np.where(ages.notna(), bands.astype(str), band_names)
