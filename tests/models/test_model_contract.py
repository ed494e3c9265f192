"""What every file of the catalogue promises; a new file is tested before its author writes one."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bids_sexclf import catalogue, models
from bids_sexclf.errors import InputError
from bids_sexclf.models.__main__ import describe_networks
from bids_sexclf.settings import Study
from bids_sexclf.tables import schema
from bids_sexclf.training import signatures
from bids_sexclf.volumes import Rows, new_cohort

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
ENTRIES = catalogue.names("bids_sexclf.models")
NAMES = [name for name in ENTRIES if hasattr(models.find(name), "Classifier")]
BUILT = [name for name in ENTRIES if hasattr(models.find(name), "build")]
NETWORKS = [name for name in BUILT if name in NAMES]


def list_targets(name):
    """List what an entry can learn."""
    return [target for target in ("sex", "age") if models.can_learn(models.find(name), target)]


CASES = [(name, target) for name in NAMES for target in list_targets(name)]
GRID = (32, 32, 32)

every_entry = pytest.mark.parametrize("name", NAMES)
every_model = pytest.mark.parametrize(("name", "target"), CASES)
every_network = pytest.mark.parametrize("name", NETWORKS)
everything_built = pytest.mark.parametrize("name", BUILT)


def tiny(name):
    return getattr(models.find(name), "TINY", {})


def build(name, **options):
    return models.build(name, **(tiny(name) | {"grid": GRID} | options))


def brief_study(name, target):
    return Study(epochs=2, batch_size=4, target=target, variants={name: tiny(name)})


def make(name, target):
    return models.make(brief_study(name, target), name)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Give train, validation and test of an entry: mapped volumes, or columns."""
    rng = np.random.default_rng(0)
    sex = np.tile([0, 1], 7)
    with new_cohort(tmp_path_factory.mktemp("cohort") / "map.npy", (14, *GRID)) as array:
        array[:] = 50 + rng.standard_normal(array.shape)
    columns = rng.normal(1200, 100, (14, 9)) + 80 * sex[:, None]
    targets = {"sex": sex, "age": rng.uniform(20, 80, 14)}

    def deal(name, kind):
        entry, target = models.find(name), targets[kind]
        inputs = {
            part: Rows(array, index)
            if entry.READS == "volumes"
            else columns[index, : len(entry.READS)]  # of features any number will do
            for part, index in {
                "train": range(8),
                "validation": range(8, 10),
                "test": range(10, 14),
            }.items()
        }
        return (inputs["train"], target[:8]), (inputs["validation"], target[8:10]), inputs["test"]

    return deal


@pytest.fixture(scope="module")
def fitted(parts):
    """Fit each entry once for each target."""
    known = {}

    def fit(name, target):
        if (name, target) not in known:
            train, validation, _ = parts(name, target)
            known[name, target] = make(name, target).fit(*train, validation, seed=0)
        return known[name, target]

    return fit


@every_entry
def test_learns_sex_and_age_or_names_who_learns_the_other(name):
    entry = models.find(name).Classifier
    assert set(entry.kinds) <= {"classes", "quantity"}
    for other in {"sex", "age"} - set(list_targets(name)):
        assert other in list_targets(entry.sibling)
        with pytest.raises(InputError, match=f"target '{other}' for '{name}'.*{entry.sibling}"):
            make(name, other)


@every_entry
def test_documentation_says_what_an_entry_learns_and_takes(name):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    entry = models.find(name)
    if name not in NETWORKS:
        assert row.split("|")[2].strip() == ", ".join(list_targets(name))
        assert all(f"`{option}`" in row for option in signatures.takes(entry))


def test_the_table_of_networks_is_made_from_the_entries():
    assert describe_networks() in PAGE, "python -m bids_sexclf.models"


@every_entry
def test_reads_volumes_or_features_or_columns_of_the_cohort_table(name):
    reads = models.find(name).READS
    if reads not in ("volumes", "features"):
        assert set(reads) <= set(schema("cohort")) and isinstance(reads, tuple)


@every_model
def test_fit_returns_itself_and_evidence_is_one_finite_number_each(name, target, fitted, parts):
    classifier = fitted(name, target)
    assert isinstance(classifier, models.find(name).Classifier)
    told = classifier.evidence(parts(name, target)[2])
    assert (told.dtype, told.shape) == (np.float64, (4,))
    assert np.isfinite(told).all()
    if target == "age" and name not in BUILT:  # networks of two epochs know no ages yet
        assert 0 < told.mean() < 100


@every_model
def test_history_has_one_row_per_epoch(name, target, fitted):
    history = fitted(name, target).history
    expected = [0, 1] if name in (*NETWORKS, "shuffled") else []
    assert [row["epoch"] for row in history] == expected
    keys = {"epoch", "learning_rate", "train_loss", "validation_loss", "validation_score"}
    assert all(set(row) == keys for row in history)


@every_model
def test_saved_and_loaded_evidence_is_the_same_to_the_last_bit(
    name, target, fitted, parts, tmp_path
):
    classifier, test = fitted(name, target), parts(name, target)[2]
    classifier.save(tmp_path)
    loaded = models.find(name).Classifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.evidence(test), classifier.evidence(test))
    assert loaded.history == classifier.history


@every_model
def test_saved_files_are_json_and_safetensors_only(name, target, fitted, tmp_path):
    fitted(name, target).save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors"}
    assert {"design", "version"} <= set(json.loads((tmp_path / "model.json").read_text()))


@every_model
def test_same_seed_gives_the_same_evidence(name, target, fitted, parts):
    train, validation, test = parts(name, target)
    again = make(name, target).fit(*train, validation, seed=0)
    np.testing.assert_array_equal(again.evidence(test), fitted(name, target).evidence(test))


@every_entry
def test_nothing_is_loaded_from_an_empty_folder_or_from_another_model(name, fitted, tmp_path):
    entry = models.find(name)
    with pytest.raises(InputError, match="--first fit"):
        entry.Classifier.load(tmp_path)
    fitted(*next(case for case in CASES if case[0] != name)).save(tmp_path)
    with pytest.raises(InputError, match="needed"):
        entry.Classifier.load(tmp_path)


@every_model
def test_without_a_fit_there_is_no_evidence_and_nothing_to_save(name, target, parts, tmp_path):
    classifier = make(name, target)
    with pytest.raises(InputError, match="fitted"):
        classifier.evidence(parts(name, target)[2])
    with pytest.raises(InputError, match="fitted"):
        classifier.save(tmp_path)


@every_model
def test_targets_that_cannot_be_learnt_are_refused(name, target, parts):
    (inputs, known), validation, _ = parts(name, target)
    wrongs = [(known[:7], "one value each")]
    if target == "sex":
        wrongs += [
            (np.zeros(8, int), "8 female and 0 male"),
            (known + 1, "1 for male and 0 for female"),
        ]
    else:
        wrongs += [(np.full(8, np.nan), "8 of 8 ages"), (-known, "negative")]
        wrongs += [(np.full(8, 40.0), "of one age")] if name != "median_age" else []
    for wrong, words in wrongs:
        with pytest.raises(InputError, match=words):
            make(name, target).fit(inputs, wrong, validation, seed=0)


@everything_built
@pytest.mark.parametrize(
    ("grid", "channels", "outputs"), [(GRID, 1, 2), ((35, 40, 33), 2, 1), ((48, 32, 37), 3, 2)]
)
def test_network_takes_grid_channels_and_outputs(name, grid, channels, outputs):
    network = build(name, grid=grid, channels=channels, outputs=outputs).eval()
    with torch.inference_mode():
        answer = network(torch.zeros(2, channels, *grid))
    voxels = () if name in NETWORKS else grid
    assert answer.shape == (2, outputs, *voxels)


@everything_built
def test_no_part_works_in_place_or_is_used_twice(name):
    network, calls = build(name).eval(), []
    for part in network.modules():
        assert not getattr(part, "inplace", False)
        if not list(part.children()):
            part.register_forward_hook(lambda part, inputs, output: calls.append(part))
    with torch.inference_mode():
        network(torch.zeros(1, 1, *GRID))
    assert len(calls) == len({id(part) for part in calls}) > 0


@everything_built
def test_answer_in_evaluation_does_not_depend_on_who_else_is_in_the_batch(name):
    torch.manual_seed(0)
    network, volumes = build(name), torch.randn(3, 1, *GRID)
    with torch.no_grad():
        network.train()(volumes)  # moves running statistics away from their start
        together = network.eval()(volumes)
        alone = torch.cat([network(volume[None]) for volume in volumes])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5 * float(alone.abs().max()))
    assert not torch.allclose(alone[0], alone[1])


@everything_built
def test_loss_falls_where_any_learner_must_learn(name):
    torch.manual_seed(0)
    network, volumes = build(name).train(), torch.randn(6, 1, *GRID)
    where = torch.zeros(6, 1, *GRID)
    where[::2, :, 12:20, 12:20, 4:28] = 1
    volumes = volumes + 3 * where
    # Participants with the bar, or the voxels of the bar.
    target = where.amax((1, 2, 3, 4)) if name in NETWORKS else where[:, 0]
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-2), []
    while not losses or (losses[-1] > 0.5 * losses[0] and len(losses) < 60):
        outputs = network(volumes)
        logits = outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] <= 0.5 * losses[0]


@everything_built
def test_same_seed_gives_the_same_weights_and_another_gives_others(name):
    def state(seed):
        torch.manual_seed(seed)
        return torch.cat([weights.flatten() for weights in build(name).parameters()])

    assert torch.equal(state(0), state(0)) and not torch.equal(state(0), state(1))


@every_network
def test_gradient_of_the_evidence_reaches_raw_volumes(name, fitted, parts):
    classifier, test = fitted(name, "sex"), parts(name, "sex")[2]
    volumes = torch.from_numpy(test[[0, 1]]).requires_grad_()
    evidence = classifier.module.cpu()(volumes)
    evidence.sum().backward()
    assert evidence.shape == (2,)
    assert torch.isfinite(volumes.grad).all() and volumes.grad.abs().sum() > 0


def test_unknown_name_lists_those_that_exist():
    with pytest.raises(InputError, match="'cnn4'.*cnn3.*Did you mean 'cnn3'"):
        models.find("cnn4")


@everything_built
def test_options_are_known_by_name_and_have_a_default(name):
    entry = models.find(name)
    parameters = inspect.signature(entry.build).parameters.values()
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters)
    assert set(tiny(name)) <= set(signatures.known(entry.build))


@every_network
def test_an_option_nobody_takes_stops_before_the_first_epoch(name):
    with pytest.raises(InputError, match=f"dropuot among the options of '{name}'"):
        models.make(Study(variants={name: {"dropuot": 1}}), name)


@every_network
def test_card_says_with_which_options_the_network_was_built(name, fitted, tmp_path):
    fitted(name, "sex").save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["options"] == json.loads(
        json.dumps(tiny(name))
    )


def test_what_answers_for_voxels_is_no_classifier():
    with pytest.raises(InputError, match="'unet_brain' among the models.*voxels"):
        models.find_classifier("unet_brain")
