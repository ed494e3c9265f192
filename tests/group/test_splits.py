import numpy as np
import pandas as pd
import pytest

from bids_sexclf.errors import InputError, LeakageError
from bids_sexclf.group import splits
from bids_sexclf.settings import Study


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
        splits.deal(p, Study(age_bands=1)).sort_values(keys).reset_index(drop=True)
        for p in (people, shuffled)
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
    with pytest.raises(InputError, match="Found 1 families of the rarer sex outside a test part"):
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
