"""What a study's evidence adds to its confounds, and how many people its tables count."""

import numpy as np
import pandas as pd

from bids_sexclf.cohort.blocks import count_people, gather_people
from bids_sexclf.group._added import add_rows
from bids_sexclf.group._matching import match_rows
from bids_sexclf.settings import Study


def _study(n=80, effect=0.0, seed=0):
    rng = np.random.default_rng(seed)
    sex = np.arange(n) % 2
    size = 1200 + 100 * (rng.standard_normal(n) + 1.5 * sex)
    ids = [f"sub-{i:02d}" for i in range(n)]
    cohort = pd.DataFrame({"participant_id": ids, "sex": np.where(sex, "male", "female")})
    cohort = cohort.assign(site=np.where(np.arange(n) % 4 < 2, "A", "B"), family_id=None)
    cohort = cohort.assign(brain_volume_ml=size, age_years=rng.uniform(20, 80, n))
    cohort = cohort.assign(motion_mm=np.where(np.arange(n) < 20, 0.2, np.nan))
    logit = (size - size.mean()) / 100 + rng.standard_normal(n) + effect * sex
    rows = pd.DataFrame({"participant_id": ids, "target": sex, "evidence": logit})
    rows = rows.assign(fold=np.arange(n) % 8 // 2, sex=cohort["sex"])
    rows = pd.concat([rows.assign(repeat=1), rows.assign(repeat=2)], ignore_index=True)
    none = pd.DataFrame(columns=["participant_id", "other_id"])
    return rows, gather_people(cohort, none)


def test_each_known_confound_and_all_together():
    rows, people = _study(effect=1.5)
    table = add_rows(("cnn3", "T1w"), rows, people, 2.0)
    asked = [row[2] for row in table]
    # Head motion is known of too few.
    assert asked == [
        "brain_volume_ml",
        "age_years",
        "site",
        "brain_volume_ml+age_years+site",
    ]
    assert all(row[3] == 80 for row in table)
    assert [row[6] for row in table] == ["adds"] * 4


def test_size_alone_is_not_shown_to_add_to_size():
    said = [add_rows(("m", "T1w"), *_study(seed=s), 2.0)[0][6] for s in range(20)]
    assert said.count("adds") <= 3


def test_people_are_counted_and_not_rows():
    assert count_people(_study()[0]) == {"female": 40, "male": 40, "both": 80}


def test_accuracy_among_pairs_of_like_size():
    rows, people = _study(effect=1.5)
    rows = rows.join(people["brain_volume_ml"], on="participant_id")
    table = match_rows(("cnn3", "T1w"), rows, Study(bootstraps=100), 2.0)
    assert [row[3] for row in table][0] == 40 and len(table) == 5
    calipers, differences = [row[2] for row in table], [abs(row[4]) for row in table]
    assert np.isnan(calipers[0]) and calipers[1:] == [100, 50, 25, 10]
    assert differences[-1] < 10 < differences[0]
    assert match_rows(("m", "T1w"), rows.assign(brain_volume_ml=np.nan), Study(), 2.0) == []
