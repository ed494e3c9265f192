"""What every file of the catalogue promises; a new file is tested before its author writes one."""

import json

import numpy as np
import pytest

from bids_sexclf import catalogue, models
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.tables import schema
from bids_sexclf.volumes import Rows, open_cohort

NAMES = catalogue.names("bids_sexclf.models")
NETWORKS = [name for name in NAMES if hasattr(models.find(name), "build")]
GRID = (24, 24, 24)

every_model = pytest.mark.parametrize("name", NAMES)
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="module")
def brief():
    return Study(epochs=2, batch_size=4)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Give train, validation and test of an entry: mapped volumes, or columns."""
    rng = np.random.default_rng(0)
    target = np.tile([0, 1], 7)
    array = open_cohort(tmp_path_factory.mktemp("cohort") / "map.npy", (14, *GRID))
    array[:] = 50 + rng.standard_normal(array.shape)
    columns = rng.normal(1200, 100, (14, 9)) + 80 * target[:, None]

    def deal(entry):
        inputs = {
            part: Rows(array, index)
            if entry.READS == "volumes"
            else columns[index, : len(entry.READS)]
            for part, index in {
                "train": range(8),
                "validation": range(8, 10),
                "test": range(10, 14),
            }.items()
        }
        return (inputs["train"], target[:8]), (inputs["validation"], target[8:10]), inputs["test"]

    return deal


@pytest.fixture(scope="module")
def fitted(brief, parts, tmp_path_factory):
    """Fit each entry once."""
    known = {}

    def fit(name):
        if name not in known:
            train, validation, _ = parts(models.find(name))
            known[name] = models.find(name).Classifier(brief).fit(*train, validation, seed=0)
        return known[name]

    return fit


@every_model
def test_reads_volumes_or_columns_of_the_cohort_table(name):
    reads = models.find(name).READS
    if reads != "volumes":
        assert set(reads) <= set(schema("cohort")) and isinstance(reads, tuple)


@every_model
def test_fit_returns_itself_and_evidence_is_one_finite_logit_each(name, fitted, parts):
    classifier = fitted(name)
    assert isinstance(classifier, models.find(name).Classifier)
    logits = classifier.evidence(parts(models.find(name))[2])
    assert (logits.dtype, logits.shape) == (np.float64, (4,))
    assert np.isfinite(logits).all()


@every_model
def test_history_has_one_row_per_epoch(name, fitted):
    history = fitted(name).history
    expected = [0, 1] if models.find(name).READS == "volumes" else []
    assert [row["epoch"] for row in history] == expected
    assert all(set(row) == {"epoch", "train_loss", "validation_loss"} for row in history)


@every_model
def test_saved_and_loaded_evidence_is_the_same_to_the_last_bit(
    name, fitted, parts, brief, tmp_path
):
    classifier, test = fitted(name), parts(models.find(name))[2]
    classifier.save(tmp_path)
    loaded = models.find(name).Classifier.load(tmp_path, brief)
    np.testing.assert_array_equal(loaded.evidence(test), classifier.evidence(test))
    assert loaded.history == classifier.history


@every_model
def test_saved_files_are_json_and_safetensors_only(name, fitted, tmp_path):
    fitted(name).save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors"}
    assert {"design", "version"} <= set(json.loads((tmp_path / "model.json").read_text()))


@every_model
def test_same_seed_gives_the_same_evidence(name, fitted, parts, brief):
    train, validation, test = parts(models.find(name))
    again = models.find(name).Classifier(brief).fit(*train, validation, seed=0)
    np.testing.assert_array_equal(again.evidence(test), fitted(name).evidence(test))


@every_model
def test_nothing_is_loaded_from_an_empty_folder_or_from_another_model(
    name, fitted, brief, tmp_path
):
    entry = models.find(name)
    with pytest.raises(InputError, match="fit stage"):
        entry.Classifier.load(tmp_path, brief)
    other = next(other for other in NAMES if other != name)
    fitted(other).save(tmp_path)
    with pytest.raises(InputError, match="needed"):
        entry.Classifier.load(tmp_path, brief)


@every_model
def test_without_a_fit_there_is_no_evidence_and_nothing_to_save(name, parts, brief, tmp_path):
    classifier = models.find(name).Classifier(brief)
    with pytest.raises(InputError, match="fitted"):
        classifier.evidence(parts(models.find(name))[2])
    with pytest.raises(InputError, match="fitted"):
        classifier.save(tmp_path)


@every_model
def test_targets_that_cannot_be_learnt_are_refused(name, parts, brief):
    (inputs, target), validation, _ = parts(models.find(name))
    for wrong, words in [
        (np.zeros(8, int), "8 female and 0 male"),
        (target[:7], "one value each"),
        (target + 1, "1 for male and 0 for female"),
    ]:
        with pytest.raises(InputError, match=words):
            models.find(name).Classifier(brief).fit(inputs, wrong, validation, seed=0)


@every_network
def test_network_takes_grid_channels_and_outputs(name):
    import torch

    network = models.build(name, grid=GRID, channels=1, outputs=2).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 1, *GRID)).shape == (2, 2)


@every_network
def test_network_has_no_activation_that_breaks_attributions(name):
    layers = models.build(name, grid=GRID).modules()
    assert not any(getattr(layer, "inplace", False) for layer in layers)


@every_network
def test_gradient_of_the_evidence_reaches_raw_volumes(name, fitted, parts):
    import torch

    classifier, test = fitted(name), parts(models.find(name))[2]
    volumes = torch.from_numpy(test[[0, 1]]).requires_grad_()
    evidence = classifier.module.cpu()(volumes)
    evidence.sum().backward()
    assert evidence.shape == (2,)
    assert torch.isfinite(volumes.grad).all() and volumes.grad.abs().sum() > 0


def test_unknown_name_lists_those_that_exist():
    with pytest.raises(InputError, match="'cnn4'.*cnn3.*Did you mean 'cnn3'"):
        models.find("cnn4")
