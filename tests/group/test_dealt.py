"""Targets of the control: one deal for all folds, sessions, families and people alike."""

import numpy as np
import pandas as pd

from bids_sexclf.group._dealt import deal_targets


def _study(n=40, folds=4):
    ids = [f"sub-{i:02d}" for i in range(n)]
    cohort = pd.DataFrame({"participant_id": ids, "sex": ["female", "male"] * (n // 2)})
    cohort = cohort.assign(session_id=None, site="A", family_id=None, age_years=np.arange(n) + 20.0)
    cohort = cohort.assign(brain_volume_ml=1200.0, motion_mm=np.nan)
    twice = pd.concat([cohort, cohort.iloc[:4].assign(session_id="ses-2")], ignore_index=True)
    fold = np.arange(n) // 2 % folds
    splits = pd.DataFrame(
        [
            (repeat, one, name, "test" if fold[k] == one else "train")
            for repeat in (1, 2)
            for one in range(folds)
            for k, name in enumerate(ids)
        ],
        columns=["repeat", "fold", "participant_id", "part"],
    )
    alike = pd.DataFrame({"participant_id": ["sub-00"], "other_id": ["sub-06"]})
    return twice, alike, splits, dict(zip(ids, fold, strict=True))


def test_half_of_each_sex_of_each_fold_is_exchanged():
    cohort, alike, splits, fold = _study()
    sex = (cohort["sex"] == "male").to_numpy().astype(int)
    dealt = deal_targets(sex, "sex", cohort, alike, splits, 1, 7)
    once = np.arange(40)
    tested = cohort["participant_id"].map(fold).to_numpy()[once]
    for one in range(4):
        for kind in (0, 1):
            own = (tested == one) & (sex[once] == kind)
            assert abs(np.sum(dealt[once][own] != kind) - own.sum() / 2) <= 1
    # A second session has the sex of the first, and people alike are exchanged together.
    np.testing.assert_array_equal(dealt[40:], dealt[:4])
    assert (dealt[0] != sex[0]) == (dealt[6] != sex[6])
    again = deal_targets(sex, "sex", cohort, alike, splits, 2, 7)
    assert (again != dealt).any()


def test_ages_stay_within_the_fold_they_are_tested_in():
    cohort, alike, splits, fold = _study()
    age = cohort["age_years"].to_numpy()
    dealt = deal_targets(age, "age", cohort, alike.iloc[:0], splits, 1, 7)[:40]
    tested = cohort["participant_id"].map(fold).to_numpy()[:40]
    for one in range(4):
        assert sorted(dealt[tested == one]) == sorted(age[:40][tested == one])
    assert abs(np.corrcoef(dealt, age[:40])[0, 1]) < 0.1
