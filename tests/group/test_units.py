"""Slices and feature maps: a table of their own, p-values where one model was asked."""

import numpy as np
import pandas as pd

from bids_sexclf.group._units import compare_units
from bids_sexclf.settings import Study
from bids_sexclf.tables import write_table

PEOPLE, UNITS = 24, 5


def draw(method, unit, effect=0.0, seed=0):
    """Draw the attributions of two folds; the second unit differs between the sexes."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((PEOPLE, UNITS))
    kind = np.arange(PEOPLE) % 2
    values[:, 1] += effect * kind
    rows = [
        {
            "model": "m", "map": "T1w", "method": method, "unit": unit, "repeat": 1,
            "fold": 1 + person // (PEOPLE // 2), "participant_id": f"sub-{person:02d}",
            "session_id": None, "index": place + 1, "name": f"unit {place}", "weight": 1.0,
            "value": values[person, place],
        }
        for person in range(PEOPLE)
        for place in range(UNITS)
    ]  # fmt: skip
    names = [f"sub-{person:02d}" for person in range(PEOPLE)]
    return pd.DataFrame(rows), pd.DataFrame({"family": names, "kind": kind}, index=names)


def test_feature_maps_are_compared_in_each_fold_and_corrected(tmp_path):
    rows, people = draw("first_layer", "feature_map", effect=8.0)
    table = compare_units(rows, people, Study(permutations=500))
    write_table(table, tmp_path / "units.tsv", "units")
    assert table["fold"].tolist() == [1] * UNITS + [2] * UNITS
    assert (table["n_participants"] == PEOPLE // 2).all() and table["reason"].isna().all()
    named = table[table["p_fwe"] <= 0.05]
    assert named["index"].tolist() == [2, 2] and (named["d"] > 3).all()
    assert (table["p_fwe"] >= table["p"]).all()
    women = rows.query("fold == 1 and index == 2")
    women = women[women["participant_id"].map(people["kind"]) == 0]["value"].mean()
    assert table["mean_first"][1] == women


def test_nothing_is_named_where_there_is_nothing():
    false = 0
    for seed in range(30):
        rows, people = draw("first_layer", "feature_map", seed=seed)
        table = compare_units(rows.query("fold == 1"), people, Study(permutations=199))
        false += (table["p_fwe"] <= 0.05).any()
    assert false <= 5  # of 30 draws; 5 % expect 1.5, more than 5 comes in 1 of 300


def test_slices_are_taken_over_all_folds_without_a_p(tmp_path):
    rows, people = draw("slice_confidence", "slice", effect=8.0)
    rows.loc[rows["index"] == 3, "value"] = 1.0
    table = compare_units(rows, people, Study(permutations=200))
    write_table(table, tmp_path / "units.tsv", "units")
    assert len(table) == UNITS and table["fold"].isna().all()
    assert table["p"].isna().all() and table["reason"].str.contains("several folds").all()
    assert table["d"].idxmax() == 1 and np.isnan(table["d"][2])
    assert (table["mean_first"][2], table["mean_second"][2]) == (1, 1)
