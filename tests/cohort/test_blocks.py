"""Families of a cohort, for tests that deal, flip and resample them whole."""

import pandas as pd

from bids_sexclf.cohort.blocks import find_families, gather_people


def test_people_as_similar_as_relatives_are_one_family_in_every_row():
    cohort = pd.DataFrame(
        {
            "participant_id": ["sub-1", "sub-2", "sub-3", "sub-4", "sub-1"],
            "family_id": ["A", None, "A", None, "A"],
            "sex": ["male", "female", "female", "male", "male"],
            "site": None,
            "brain_volume_ml": 1000.0,
            "age_years": 30.0,
            "motion_mm": 0.1,
        }
    )
    resemblance = pd.DataFrame({"participant_id": ["sub-2"], "other_id": ["sub-3"]})
    assert find_families(cohort, resemblance).tolist() == [0, 0, 0, 1, 0]
    assert find_families(cohort, resemblance[:0]).tolist() == [0, 1, 0, 2, 0]
    people = gather_people(cohort, resemblance)
    assert people["family"].tolist() == [0, 0, 0, 1]
