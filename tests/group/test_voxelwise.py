"""Voxels compared between the sexes, and tables of features compared region by region."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_sexclf.cohort.features import read_features
from bids_sexclf.errors import InputError
from bids_sexclf.group import _voxelwise, differences
from bids_sexclf.settings import Study
from bids_sexclf.tables import schema, write_table
from bids_sexclf.volumes import load, save

SHAPE, N = (8, 8, 8), 24


@pytest.fixture
def desk(tmp_path):
    """Write an atlas of two halves, and a brain without its rim."""
    atlas, mask = np.zeros(SHAPE), np.zeros(SHAPE)
    atlas[:4], atlas[4:] = 1, 2
    mask[1:-1, 1:-1, 1:-1] = 1
    for name, values in (("atlas", atlas), ("mask", mask)):
        save(values, np.eye(4), tmp_path / "grid" / f"{name}.nii.gz")
    labels = pd.DataFrame({"index": [1, 2], "name": ["one", "two"], "hemisphere": ["L", "R"]})
    write_table(labels.assign(n_voxels=108), tmp_path / "grid" / "atlas.tsv", "atlas")
    return SimpleNamespace(folder=tmp_path, study=Study(permutations=100))


def make_people(families=None, site=None):
    return pd.DataFrame(
        {
            "sex": np.arange(N) % 2,
            "family": np.arange(N) if families is None else families,
            "site": 0 if site is None else site,
            "brain_volume_ml": np.nan,
            "age_years": np.linspace(20, 60, N),
            "motion_mm": np.nan,
        },
        index=[f"sub-{i:02d}" for i in range(N)],
    )


def compare(desk, people, effect=2.0):
    rng = np.random.default_rng(0)
    array = rng.normal(size=(len(people), *SHAPE)).astype(np.float32)
    array[:, 2:4, 2:6, 2:6] += effect * people["sex"].to_numpy()[:, None, None, None]
    block = differences.Block(people, desk.study, adjusted=False)
    sessions = [np.array([row]) for row in range(len(people))]
    return _voxelwise.compare_voxels(desk, "FA", array, sessions, block).set_index("region")


def test_a_planted_cluster_is_found_in_its_region_and_painted(desk):
    table = compare(desk, make_people())
    assert table.loc[1, "p_fwe"] <= 0.05 and table.loc[1, "n_above"] >= 20
    assert table.loc[1, "t"] > 4 and table.loc[2, "p_fwe"] > 0.05 and table.loc[2, "n_above"] == 0
    assert (table["n_participants"] == N).all() and (table["n_voxels"] == 108).all()
    assert (table["exchanged"] == _voxelwise.FREELY).all()
    logp, _ = load(desk.folder / "voxels" / "map-FA_adjusted-none_stat-logp.nii.gz")
    t, _ = load(desk.folder / "voxels" / "map-FA_adjusted-none_stat-t.nii.gz")
    assert 10 ** -logp.max() == pytest.approx(1 / 101, rel=1e-4) and not logp[0].any()
    assert t[2:4, 2:6, 2:6].mean() > 3 > abs(t[5:, 2:6, 2:6].mean())


def test_one_person_of_each_family_is_compared_and_sites_are_spoken_of(desk):
    families = np.r_[np.arange(N - 4), np.arange(4)]
    table = compare(desk, make_people(families, np.repeat([0, 1], N // 2)))
    assert (table["n_participants"] == N - 4).all()
    words = table["exchanged"].iloc[0]
    assert "sexes are exchanged across sites" in words and "one person of each family" in words


def test_too_few_people_get_a_word_and_no_number(desk):
    table = compare(desk, make_people(np.arange(N) % 5))
    assert (table["n_participants"] == 0).all() and table["reason"].str.contains(
        "fewer than 6"
    ).all()
    assert "p_fwe" not in table


def test_without_a_difference_no_voxel_is_named(desk):
    assert (compare(desk, make_people(), effect=0.0)["n_above"] == 0).all()


def write_features(folder, beside=None):
    """Write a table whose two features of one region differ between the sexes together."""
    rng, sex = np.random.default_rng(1), np.arange(N) % 2
    table = pd.DataFrame(rng.normal(size=(N, 4)), columns=["a_area", "a_mean", "b_area", "c"])
    table["a_area"] += 2 * sex
    table.insert(0, "participant_id", [f"sub-{i:02d}" for i in range(N)])
    table.to_csv(folder / "mine.tsv", sep="\t", index=False)
    if beside is not None:
        (folder / "mine.json").write_text(json.dumps(beside))
    return Study(features=str(folder / "mine.tsv"), models=["logistic"], permutations=200)


def list_regions(study, folder):
    cohort = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(N)]})
    cohort["session_id"] = np.nan
    people, desk = make_people(), SimpleNamespace(study=study, folder=folder)
    (entry,) = differences._list_features(desk, cohort, people)
    name, atlas, labels, portions = entry
    block = differences.Block(people, study, adjusted=False)
    for values in portions:
        block.add(values, differences._average_measures)
    return name, atlas, block.table(labels).set_index("name")


def test_features_of_a_region_are_compared_together(tmp_path):
    beside = {
        "a_area": {"Region": "A", "Hemisphere": "L"},
        "a_mean": {"Region": "A", "Hemisphere": "L"},
        "b_area": {"Region": "A", "Hemisphere": "R", "Units": "mm"},
    }
    name, atlas, table = list_regions(write_features(tmp_path, beside), tmp_path)
    assert (name, atlas) == ("features", "mine")
    assert table.index.tolist() == ["A", "A", "c"] and table["n_voxels"].tolist() == [2, 1, 1]
    left, right = (
        table[table["hemisphere"] == "L"].iloc[0],
        table[table["hemisphere"] == "R"].iloc[0],
    )
    assert (
        left["p_fwe"] <= 0.05 < right["p_fwe"] and np.isnan(left["d"]) and right["d"] == right["d"]
    )
    assert set(table.columns) <= {*schema("differences")}


def test_features_without_a_dictionary_are_regions_of_their_own(tmp_path):
    _, _, table = list_regions(write_features(tmp_path), tmp_path)
    assert table.index.tolist() == ["a_area", "a_mean", "b_area", "c"]
    assert table["p_fwe"].idxmin() == "a_area" and table.loc["a_area", "d"] > 1


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"c": {"Hemisphere": "left"}}', "needed L, R or B"), ("[1", "no data dictionary")],
)
def test_a_wrong_dictionary_is_refused(tmp_path, text, words):
    study = write_features(tmp_path)
    (tmp_path / "mine.json").write_text(text)
    cohort = pd.DataFrame({"participant_id": ["sub-00"], "session_id": [np.nan]})
    with pytest.raises(InputError, match=words):
        read_features(study, tmp_path, cohort)


def test_features_of_the_study_itself_are_not_compared_twice(tmp_path):
    desk = SimpleNamespace(study=Study(), folder=tmp_path)
    assert list(differences._list_features(desk, None, None)) == []
