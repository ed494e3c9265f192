"""Confounds are learnt in the training part, taken out of every part, and saved with the model."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from testing.studies import score

from bids_sexclf.bundle import adjustment
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.errors import InputError
from bids_sexclf.features import Features
from bids_sexclf.group import _fit_job, _jobs, splits
from bids_sexclf.settings import Study
from bids_sexclf.training.networks import NetworkClassifier
from bids_sexclf.volumes import Channels, Rows, load, open_cohort, save


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(30)],
            "age_years": rng.uniform(20, 80, 30),
            "brain_volume_ml": rng.normal(1200, 100, 30),
            "motion_mm": rng.uniform(0.1, 1, 30),
            "site": ["a", "b", "c"] * 10,
            "session_id": None,
            "family_id": None,
            "sex": ["female"] * 15 + ["male"] * 15,
        }
    )


@pytest.fixture
def rows(people):
    """Give volumes that age brightens and site moves, with an empty rim."""
    rng = np.random.default_rng(1)
    volumes = (
        rng.standard_normal((30, 4, 3, 2)) + people["age_years"].to_numpy()[:, None, None, None]
    )
    volumes += 20.0 * (people["site"] == "b").to_numpy()[:, None, None, None]
    volumes[:, 0] = 0
    return Rows(volumes.astype(np.float32), np.arange(30))


WAYS = [
    {"residualize": ["age"]},
    {"residualize": ["age", "brain_size", "site", "motion"]},
    {"harmonize": "combat"},
    {"harmonize": "combat", "residualize": ["age", "motion"]},
]


@pytest.mark.parametrize("choices", WAYS)
def test_maps_that_are_read_together_are_each_adjusted_as_alone(choices, people, rows):
    other = Rows(2 * rows.array[::-1] + 1, rows.index)
    study, both = Study(**choices), Channels([rows, other])
    joined = adjustment.learn(study, both, people)(both, people)
    assert joined.shape == (30, 2, 4, 3, 2)
    for number, one in enumerate((rows, other)):
        alone = adjustment.learn(study, one, people)(one, people)
        channel = joined.channel(number)
        assert channel.shape == alone.shape and len(channel) == len(alone)
        assert np.allclose(channel[np.arange(30)], alone[np.arange(30)], atol=1e-4)
        assert np.array_equal(joined[3][number], channel[3])


def spread_of_sites(values, people):
    means = [values[(people["site"] == site).to_numpy()].mean() for site in "abc"]
    return np.ptp(means)


@pytest.mark.parametrize("ways", WAYS)
def test_saved_and_loaded_takes_out_the_same_to_the_last_bit(ways, rows, people, tmp_path):
    made = adjustment.learn(Study(**ways), rows, people)
    made.save(tmp_path)
    loaded = adjustment.Adjustment.load(tmp_path)
    every = np.arange(30)
    np.testing.assert_array_equal(
        loaded(rows, people)[every], made(rows, people)[every], strict=True
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("ways", WAYS)
def test_one_read_alone_is_as_read_with_others(ways, rows, people):
    adjusted = adjustment.learn(Study(**ways), rows, people)(rows, people)
    together = adjusted[[3, 7, 20]]
    for place, row in enumerate((3, 7, 20)):
        np.testing.assert_array_equal(adjusted[row], together[place])
        part = people.iloc[[row]]
        alone = adjusted.adjustment(Rows(rows.array, [row]), part)[0]
        np.testing.assert_array_equal(alone, together[place])
    assert (len(adjusted), adjusted.shape, together.dtype) == (30, (30, 4, 3, 2), np.float32)


@pytest.mark.parametrize("ways", WAYS)
def test_the_empty_rim_stays_empty(ways, rows, people):
    adjusted = adjustment.learn(Study(**ways), rows, people)(rows, people)
    assert not adjusted[np.arange(30)][:, 0].any()


def test_what_is_named_is_taken_out(rows, people):
    adjusted = adjustment.learn(Study(residualize=["age", "site"]), rows, people)(rows, people)
    voxel = adjusted[np.arange(30)][:, 2, 1, 1]
    assert abs(np.corrcoef(voxel, people["age_years"])[0, 1]) < 1e-4
    assert spread_of_sites(voxel, people) < 1e-3


def test_age_and_combat_take_out_both_though_sites_differ_in_age(rows, people):
    study = Study(harmonize="combat", residualize=["age"])
    voxels = adjustment.learn(study, rows, people)(rows, people)[np.arange(30)][:, 1:]
    assert spread_of_sites(rows[np.arange(30)][:, 1:], people) > 10
    assert spread_of_sites(voxels, people) < 0.5
    mean = voxels.mean((1, 2, 3))
    assert abs(np.polyfit(people["age_years"], mean, 1)[0]) < 0.02  # 1 before


def test_nothing_asked_leaves_the_rows_themselves_and_no_file(rows, people, tmp_path):
    adjustment.learn(Study(residualize=["age"]), rows, people).save(tmp_path)
    made = adjustment.learn(Study(), rows, people)
    made.save(tmp_path)
    assert made(rows, people) is rows and not list(tmp_path.iterdir())
    assert adjustment.Adjustment.load(tmp_path)(rows, people) is rows


def test_unknown_features_stay_unknown(people):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((30, 3)) + people["age_years"].to_numpy()[:, None]
    values[4, 1] = np.nan
    features = Features(values, ("x", "y", "z"))
    adjusted = adjustment.learn(Study(residualize=["age"]), features, people)(features, people)
    assert adjusted.names == features.names and adjusted.values.dtype == np.float64
    assert np.isnan(adjusted.values).sum() == np.isnan(adjusted.values[4, 1]) == 1
    assert abs(np.corrcoef(adjusted.values[:, 0], people["age_years"])[0, 1]) < 1e-4


def test_the_test_part_teaches_nothing(rows, people):
    """Whatever the others' volumes are, the effects are the same."""
    study, train = Study(residualize=["age"], harmonize="combat"), np.arange(20)
    first = adjustment.learn(study, Rows(rows.array, train), people.iloc[train])
    array = rows.array.copy()
    array[20:] = 1e6
    other = adjustment.learn(study, Rows(array, train), people.iloc[train])
    for key, effects in first.arrays.items():
        np.testing.assert_array_equal(effects, other.arrays[key])


def test_a_damaged_file_is_named(rows, people, tmp_path):
    adjustment.learn(Study(residualize=["age"]), rows, people).save(tmp_path)
    (tmp_path / adjustment.ARRAYS).write_bytes(b"x")
    with pytest.raises(InputError, match="Run again with --first fit"):
        adjustment.Adjustment.load(tmp_path)


def test_every_confound_that_cannot_be_taken_out_is_told_at_once(people):
    dealt = splits.deal(people, Study(n_folds=3))
    people = people.assign(motion_mm=[None, *people["motion_mm"][1:]])
    study = Study(residualize=["motion", "site"], harmonize="combat", split="site")
    with pytest.raises(InputError) as told:
        adjustment.check(study, people, dealt)
    assert "1 participants without motion_mm (sub-00)" in str(told.value)
    assert "site in residualize as well as in harmonize" in str(told.value)


def test_a_site_that_training_lacks_is_told(people):
    study = Study(split="site", harmonize="combat")
    with pytest.raises(InputError, match="fewer than 2 training participants of a in repeat 1"):
        adjustment.check(study, people, splits.deal(people, study))
    with pytest.raises(InputError, match="one site only"):
        one = people.assign(site="a")
        adjustment.check(Study(harmonize="combat"), one, splits.deal(one, Study(n_folds=3)))


@pytest.fixture(scope="module")
def by_size(write_derivatives, run_study, tmp_path_factory):
    """Run two studies of scans that the sexes tell apart only by what goes with brain size."""
    root = write_derivatives(tmp_path_factory.mktemp("size"), n=48, size_effect=3.0, seed=4)
    for path in sorted(root.glob("derivatives/out/sub-*/anat/*T1w.nii.gz")):
        person = path.name.split("_")[0]
        quality = next((root / "derivatives" / "out" / person).glob("*quality.json"))
        size = (json.loads(quality.read_text())["brain_volume_ml"] - 1200) / 100
        volume, affine = load(path)
        # A blob near the front, since each T1w is centred and scaled by its own values.
        volume[7:12, 20:25, 13:18] *= 1 + 0.3 * size
        save(volume, affine, path)
    choices = {
        "models": ["svm_rbf", "logistic"],
        "baselines": ["brain_size"],
        "features": "region_means",
        "attributions": [],
        "bootstraps": 300,
        "permutations": 300,
    }
    free = run_study(root, ("cohort", "splits", "fit", "evaluate"), **choices)
    stages = ("cohort", "splits", "fit", "evaluate", "attribute")
    options = choices | {"attributions": ["region_occlusion"]}
    return free, run_study(root, stages, name="held", residualize=["brain_size"], **options)


@pytest.mark.parametrize("model", ["svm_rbf", "logistic"])
def test_a_score_made_of_brain_size_vanishes_without_it(by_size, model):
    free, held = by_size
    assert score(free, model).estimate > 0.85
    assert score(held, model).estimate < 0.7
    # Baselines speak for the confounds themselves: nothing is taken out of them.
    assert score(free, "brain_size").estimate == score(held, "brain_size").estimate > 0.85


def test_attribution_hides_regions_after_brain_size_is_taken_out(by_size):
    _, held = by_size
    told = held.read("attributions").drop_duplicates("participant_id")
    told = told.set_index("participant_id")["evidence"]
    tested = held.read("predictions").query("part == 'test' and model == 'svm_rbf'")
    difference = tested.set_index("participant_id")["evidence"].sub(told)
    np.testing.assert_allclose(difference, 0, atol=1e-6)


def test_networks_read_adjusted_volumes_batch_by_batch(by_size, monkeypatch):
    """A network is given the view, never a copy of the cohort."""
    _, held = by_size
    seen = []

    def look(self, inputs, target, validation, **others):
        seen.append(inputs)
        raise InputError("seen")

    monkeypatch.setattr(NetworkClassifier, "fit", look)
    study = held.study.model_copy(update={"models": ["cnn3"]})
    dealt = held.read("splits")
    job = _jobs.list_jobs(replace(held, study=study), dealt, ["cnn3"])[0]
    with pytest.raises(InputError, match="seen"):
        _fit_job.fit_job(job, None)
    assert isinstance(seen[0], adjustment.Adjusted)
    raw = Rows(open_cohort(array_path(held.folder, "T1w")), seen[0].rows.index)
    assert np.abs(seen[0][0] - raw[0]).max() > 0.01
