import time

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from bids_sexclf.errors import InputError, LeakageError
from bids_sexclf.group import splits
from bids_sexclf.settings import Study
from bids_sexclf.stats import dealing


def cohort(n=60, families=None, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "session_id": None,
            "sex": ["female", "male"] * (n // 2),
            "age_years": rng.uniform(20, 80, n),
            "family_id": families,
        }
    )


def twins(n=60):
    return cohort(n, [f"f{i // 4 * 2 + i % 2}" for i in range(n)])


@pytest.mark.parametrize("people", [cohort(), twins()], ids=["strangers", "twins"])
@pytest.mark.parametrize("split", ["kfold", "fixed"])
def test_parts_share_no_participant_and_no_family(people, split):
    dealt = splits.deal(people, Study(split=split, repeats=2))
    joined = dealt.merge(splits.people_of(people), on="participant_id")
    for _, fold in joined.groupby(["repeat", "fold"]):
        assert fold.groupby("family")["part"].nunique().max() == 1
        assert set(fold["part"]) == {"train", "validation", "test"}
        assert sorted(fold["participant_id"]) == sorted(people["participant_id"])
    splits.check_splits(dealt, people)


def test_everyone_is_tested_once_per_repeat():
    dealt = splits.deal(cohort(), Study(repeats=3)).query("part == 'test'")
    for _, repeat in dealt.groupby("repeat"):
        assert sorted(repeat["participant_id"]) == sorted(cohort()["participant_id"])


def test_sex_and_age_are_balanced_over_folds():
    people = cohort(120)
    dealt = splits.deal(people, Study()).query("part == 'test'").merge(people, on="participant_id")
    men = dealt.groupby("fold")["sex"].apply(lambda sex: (sex == "male").mean())
    assert men.between(0.42, 0.58).all()
    assert dealt.groupby("fold")["age_years"].mean().std() < 3


def test_the_same_seed_deals_the_same_and_another_does_not():
    first, again = (splits.deal(cohort(), Study()) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(splits.deal(cohort(), Study(random_seed=1)))


def test_the_order_of_rows_changes_nothing():
    people = cohort()
    shuffled = people.sample(frac=1, random_state=0).reset_index(drop=True)
    keys = ["repeat", "fold", "participant_id"]
    first, other = (
        splits.deal(p, Study()).sort_values(keys).reset_index(drop=True) for p in (people, shuffled)
    )
    pd.testing.assert_frame_equal(first, other)


def test_sessions_of_one_participant_stay_together():
    people = pd.concat([cohort(20).assign(session_id=s) for s in ("ses-1", "ses-2")])
    dealt = splits.deal(people, Study(n_folds=4))
    assert not dealt.duplicated(["repeat", "fold", "participant_id"]).any()


def test_more_folds_than_families_is_refused():
    with pytest.raises(InputError, match="Lower n_folds"):
        splits.deal(cohort(8), Study(n_folds=5))


def test_a_sex_needs_somebody_to_train_on_and_somebody_to_validate_on():
    with pytest.raises(InputError, match="2 women and 2 men in 4 families, which fill 2 part"):
        splits.deal(cohort(4), Study(n_folds=2))
    splits.deal(cohort(8), Study(n_folds=2))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: d.assign(part=d["part"].where(d["fold"] > 1, "test")), "tested twice"),
        (lambda d: pd.concat([d, d.iloc[:1].assign(part="validation", fold=1)]), "in two parts"),
        (lambda d: d.replace({"participant_id": {"sub-000": "sub-999"}}), "not in the cohort"),
    ],
)
def test_leaking_splits_are_refused(spoil, words):
    dealt = splits.deal(cohort(20), Study(n_folds=4))
    with pytest.raises(LeakageError, match=words):
        splits.check_splits(spoil(dealt), cohort(20))


def test_a_family_over_two_parts_is_refused():
    dealt = splits.deal(cohort(), Study())
    with pytest.raises(LeakageError, match="families in two parts"):
        splits.check_splits(dealt, twins())


def sizes(dealt):
    """Count people per part and fold."""
    return dealt.groupby(["repeat", "fold"])["part"].value_counts().unstack(fill_value=0)


@pytest.mark.parametrize("test", [0.1, 0.2, 0.3, 0.4, 0.45])
@pytest.mark.parametrize("validation", [0.15, 0.4])
def test_fractions_are_obeyed_within_one_person(test, validation):
    study = Study(split="fixed", test_fraction=test, validation_fraction=validation)
    counts = sizes(splits.deal(cohort(40), study)).iloc[0]
    assert abs(counts["test"] - 40 * test) < 1
    assert abs(counts["validation"] - (40 - counts["test"]) * validation) < 1


def test_folds_differ_by_one_person_and_validate_on_the_share_of_those_who_train():
    counts = sizes(splits.deal(cohort(62), Study(validation_fraction=0.4)))
    assert counts["test"].between(12, 13).all()
    assert ((counts["validation"] - 0.4 * (62 - counts["test"])).abs() < 1).all()


def test_exact_parts_are_exact_and_others_are_unused():
    people = cohort(60, [f"f{i // 2}" if i < 20 else None for i in range(60)])
    for parts in ([30, 10, 10], [31, 19, 10], [2, 2, 2]):
        dealt = splits.deal(people, Study(split="fixed", parts=parts))
        counts = sizes(dealt).iloc[0]
        assert [counts.get(part, 0) for part in ("train", "validation", "test")] == parts
        assert counts.get("unused", 0) == 60 - sum(parts)
        splits.check_splits(dealt, people)
    with pytest.raises(InputError, match="Found 60 participants, needed 61"):
        splits.deal(people, Study(split="fixed", parts=[41, 10, 10]))


def test_every_fold_tests_and_validates_on_both_sexes_however_rare_one_is():
    people = cohort(100).assign(sex=["female"] * 5 + ["male"] * 95)
    sex = people.set_index("participant_id")["sex"]
    for seed in range(20):
        dealt = splits.deal(people, Study(random_seed=seed))
        dealt["female"] = dealt["participant_id"].map(sex) == "female"
        women = dealt.groupby(["fold", "part"])["female"].sum().unstack()
        assert (women["test"] == 1).all() and (women["validation"] == 1).all()
        counts = sizes(dealt)
        assert (counts["test"] == 20).all() and (counts["validation"] == 12).all()


def drawn_cohort(seed):
    """Draw a cohort with any share of women, families of up to six, and unknown ages."""
    rng = np.random.default_rng(seed)
    n, related = int(rng.integers(24, 90)), rng.choice([0, 0.3, 0.6, 1])
    family = []
    while len(family) < n:
        size = int(rng.integers(2, 7)) if rng.random() < related else 1
        family += [f"f{seed}-{len(family)}"] * size
    age = np.where(rng.random(n) < rng.choice([0, 0.1, 0.5]), np.nan, rng.uniform(20, 80, n))
    sex = np.where(rng.random(n) < rng.uniform(0.1, 0.9), "female", "male")
    people = cohort(n + n % 2).iloc[:n]
    return people.assign(sex=sex, age_years=age, family_id=family[:n])


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_random_cohorts_are_dealt_in_shares_or_refused_where_no_deal_holds_both_sexes():
    """Sizes within one family, both sexes in each part; balance as good as scikit-learn's."""
    spread = {"ours": [], "theirs": []}
    for seed in range(50):
        people, folds = drawn_cohort(seed), 2 + seed % 6
        table = splits.people_of(people)
        room = dealing.count_full_parts(table["family"], table["sex"])
        if room < (4 if folds == 2 else folds):
            with pytest.raises(InputError, match=f"fill {room} part"):
                splits.deal(people, Study(n_folds=folds))
            continue
        dealt = splits.deal(people, Study(n_folds=folds, random_seed=seed))
        splits.check_splits(dealt, people)
        largest = table.groupby("family").size().max()
        known = dealt.merge(table, on="participant_id")
        assert (known.groupby(["fold", "part"])["sex"].nunique() == 2).all()
        counts = sizes(dealt)
        assert ((counts["test"] - len(table) / folds).abs() < largest).all()
        asked = 0.15 * (counts["validation"] + counts["train"])
        assert ((counts["validation"] - np.maximum(asked, 2)).abs() < largest + 0.5).all()
        tested = known[known["part"] == "test"].sort_values("participant_id")
        women = tested[tested["sex"] == "female"].groupby("fold").size()
        if largest == 1:
            assert women.max() - women.min() <= 1
        stratum = table["sex"] + splits._bands(table, 3)
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        theirs = np.empty(len(table), int)
        for fold, (_, rows) in enumerate(splitter.split(table, stratum, table["family"])):
            theirs[rows] = fold
        for name, fold in (("ours", tested["fold"].to_numpy()), ("theirs", theirs)):
            table_of = pd.crosstab(fold, stratum)
            spread[name].append(float(((table_of - table_of.mean()) ** 2).mean(axis=None)) ** 0.5)
    assert len(spread["ours"]) > 40
    assert np.mean(spread["ours"]) < 1.1 * np.mean(spread["theirs"])


def test_who_has_no_age_is_a_band_apart_and_told_bands_are_balanced():
    people = cohort(100)
    people.loc[::5, "age_years"] = np.nan
    assert sorted(set(splits._bands(splits.people_of(people), 3))) == [
        "0",
        "1",
        "2",
        "told nothing",
    ]
    people = cohort(120).assign(age_years=np.nan)
    people["age_band"] = [("22-25", "26-30", "31-35")[i // 2 % 3] for i in range(120)]
    dealt = splits.deal(people, Study()).query("part == 'test'").merge(people, on="participant_id")
    assert (pd.crosstab(dealt["fold"], [dealt["sex"], dealt["age_band"]]) == 4).all(axis=None)


def test_of_several_sessions_the_first_known_value_counts_in_any_order():
    people = pd.concat(
        [
            cohort(20).assign(session_id=name, age_years=age)
            for name, age in (("ses-1", np.nan), ("ses-2", 40))
        ]
    )
    assert (splits.people_of(people)["age_years"] == 40).all()
    shuffled = people.sample(frac=1, random_state=3)
    study = Study(n_folds=4)
    pd.testing.assert_frame_equal(splits.deal(people, study), splits.deal(shuffled, study))


@pytest.mark.parametrize("twins", ["of both sexes", "of one sex"])
@pytest.mark.parametrize("folds", [2, 3, 7])
def test_where_everyone_is_a_twin_folds_hold_both_sexes(twins, folds):
    pairs = [f"f{i // 2 if twins == 'of both sexes' else i // 4 * 2 + i % 2}" for i in range(84)]
    people = cohort(84, pairs)
    dealt = splits.deal(people, Study(n_folds=folds)).merge(people, on="participant_id")
    counts = pd.crosstab([dealt["fold"], dealt["part"]], dealt["sex"])
    assert (counts > 0).all(axis=None)
    tested = counts.xs("test", level="part")
    assert (tested - 42 / folds).abs().max(axis=None) < 2


def test_an_age_study_may_be_of_one_sex_but_needs_people():
    women = cohort(40).assign(sex="female")
    study = Study(target="age")
    assert (sizes(splits.deal(women, study))["test"] == 8).all()
    with pytest.raises(InputError, match="needed both sexes|0 parts with both sexes"):
        splits.deal(women, Study())
    with pytest.raises(InputError, match="of 3 people or more each"):
        splits.deal(women.iloc[:12], study)


def test_many_people_are_dealt_within_seconds():
    rng = np.random.default_rng(0)
    n = 50_000
    family = np.repeat(np.arange(n), rng.integers(1, 5, n))[:n]
    sex, band = rng.choice(["f", "m"], n, p=[0.3, 0.7]), rng.integers(0, 4, n)
    start = time.process_time()
    part = dealing.deal(family, sex, band, [n // 10] * 10, seed=1)
    assert time.process_time() - start < 20
    counts = pd.crosstab(part, sex)
    assert (counts.max() - counts.min() <= 1).all() and (counts.sum(axis=1) == n // 10).all()
    assert pd.Series(part).groupby(family).nunique().max() == 1


def test_a_deal_does_not_depend_on_the_order_of_rows_and_varies_with_the_seed():
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"family": rng.integers(0, 50, 90), "sex": rng.choice(["f", "m"], 90)})
    order = rng.permutation(90)
    first = dealing.deal(table["family"], table["sex"], ["x"] * 90, [30] * 3, seed=7)
    turned = table.iloc[order]
    other = dealing.deal(turned["family"], turned["sex"], ["x"] * 90, [30] * 3, seed=7)
    assert (first[order] == other).all()
    again = dealing.deal(table["family"], table["sex"], ["x"] * 90, [30] * 3, seed=8)
    assert (first != again).any()


def test_more_repeats_deal_otherwise():
    dealt = splits.deal(cohort(), Study(repeats=3)).query("part == 'test'")
    folds = dealt.pivot(index="participant_id", columns="repeat", values="fold")
    assert not (folds[1] == folds[2]).all() and not (folds[2] == folds[3]).all()
