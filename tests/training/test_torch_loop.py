"""The training loop, on a network of two layers: it learns, repeats itself, and resumes."""

import json
import logging
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from testing.networks import make_network
from torch import nn

from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.training import batches, networks
from bids_sexclf.training.evidence import Evidence

Classifier = networks.network(make_network)


class Interrupted(BaseException):
    """What a kill looks like from inside."""


class Breaking:
    """Volumes whose reading breaks off after so many batches."""

    def __init__(self, volumes, after):
        self.volumes, self.shape, self.left = volumes, volumes.shape, after

    def __len__(self):
        return len(self.volumes)

    def __getitem__(self, which):
        if not isinstance(which, int):
            self.left -= 1
            if self.left < 0:
                raise Interrupted
        return self.volumes[which]


def states_equal(one, other):
    one, other = one.module.state_dict(), other.module.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_loss_falls_and_evidence_separates_the_sexes(study, small_cohort):
    train, validation = small_cohort
    fitted = Classifier(study).fit(*train, validation, seed=0)
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"]
    evidence = fitted.evidence(validation[0])
    assert evidence.dtype == np.float64
    assert evidence[validation[1] == 1].min() > evidence[validation[1] == 0].max()


def test_one_output_is_the_logit_itself_and_two_are_its_difference():
    volumes = torch.zeros(5, 2, 2, 2)
    numbers = torch.arange(10.0).reshape(5, 2) ** 2

    def evidence(outputs):
        fixed = nn.Module()
        fixed.forward = lambda volumes: outputs
        return Evidence(fixed, np.float32(0), np.float32(1))(volumes)

    assert torch.equal(evidence(numbers), numbers[:, 1] - numbers[:, 0])
    assert torch.equal(evidence(numbers[:, :1]), numbers[:, 0])


def test_loss_is_cross_entropy_with_both_sexes_weighed_alike(study, small_cohort):
    (volumes, target), _ = small_cohort
    volumes, target = volumes[:8], np.array([0, 0, 0, 0, 0, 0, 1, 1])
    steady = study.model_copy(update={"epochs": 1, "learning_rate": 1e-8, "batch_size": 3})
    fitted = Classifier(steady).fit(volumes, target, (volumes, target), seed=0)
    logits = fitted.evidence(volumes)
    losses = np.logaddexp(0, np.where(target == 1, -logits, logits))
    balanced = (losses[target == 0].mean() + losses[target == 1].mean()) / 2
    assert fitted.history[0]["validation_loss"] == pytest.approx(balanced, rel=1e-5)


def test_weights_of_the_lowest_validation_loss_are_kept(study, small_cohort):
    train, (volumes, target) = small_cohort
    # Wrong answers in validation: the better training goes, the worse it gets.
    wrong = (volumes, 1 - target)
    fitted = Classifier(study).fit(*train, wrong, seed=0)
    losses = [entry["validation_loss"] for entry in fitted.history]
    logits = fitted.evidence(volumes)
    kept = np.logaddexp(0, np.where(wrong[1] == 1, -logits, logits)).mean()
    assert min(losses) < losses[-1]
    assert kept == pytest.approx(min(losses), rel=1e-5)


def test_training_stops_when_patience_is_used_up(study, small_cohort):
    train, (volumes, target) = small_cohort
    patient = study.model_copy(update={"patience": 2, "epochs": 40})
    fitted = Classifier(patient).fit(*train, (volumes, 1 - target), seed=0)
    losses = [entry["validation_loss"] for entry in fitted.history]
    assert len(losses) == np.argmin(losses) + 1 + 2 < 40


def test_same_seed_gives_the_same_weights_and_another_seed_others(study, small_cohort):
    train, validation = small_cohort
    one, same, other = (Classifier(study).fit(*train, validation, seed=seed) for seed in (3, 3, 4))
    assert states_equal(one, same)
    assert one.history == same.history
    assert not states_equal(one, other)


def test_training_leaves_the_callers_random_numbers_and_handlers_alone(study, small_cohort):
    train, validation = small_cohort
    torch.manual_seed(1)
    before, handler = torch.random.get_rng_state(), signal.getsignal(signal.SIGINT)
    Classifier(study).fit(*train, validation, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert signal.getsignal(signal.SIGINT) is handler


# Three training batches and two of validation per epoch: killed within the first epoch, in the
# middle of an epoch, within a validation, and in the last epoch.
@pytest.mark.parametrize("after", [2, 3 + 1, 3 + 3, 5 * 3 + 2])
def test_killed_run_goes_on_to_the_same_weights(study, small_cohort, tmp_path, after):
    (volumes, target), validation = small_cohort
    whole = Classifier(study).fit(volumes, target, validation, seed=0)
    with pytest.raises(Interrupted):
        Classifier(study).fit(Breaking(volumes, after), target, validation, seed=0, folder=tmp_path)
    epochs = []
    resumed = Classifier(study).fit(
        volumes,
        target,
        validation,
        seed=0,
        folder=tmp_path,
        progress=lambda epoch, **losses: epochs.append(epoch),
    )
    assert epochs[0] == after // 3
    assert states_equal(whole, resumed)
    assert whole.history == resumed.history


@pytest.mark.parametrize("patience", [6, 2])
def test_run_killed_after_its_last_epoch_does_not_train_on(study, small_cohort, tmp_path, patience):
    train, (volumes, target) = small_cohort
    validation = (volumes, 1 - target)
    study = study.model_copy(update={"patience": patience})
    whole = Classifier(study).fit(*train, validation, seed=0)

    def kill(epoch, **losses):
        if epoch == len(whole.history) - 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        Classifier(study).fit(*train, validation, seed=0, folder=tmp_path, progress=kill)
    resumed = Classifier(study).fit(*train, validation, seed=0, folder=tmp_path)
    assert states_equal(whole, resumed)
    assert whole.history == resumed.history


def break_off(study, cohort, folder):
    def kill(epoch, **losses):
        if epoch == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        Classifier(study).fit(*cohort[0], cohort[1], seed=0, folder=folder, progress=kill)


def test_half_a_checkpoint_is_ignored_and_training_starts_anew(study, small_cohort, tmp_path):
    train, validation = small_cohort
    break_off(study, small_cohort, tmp_path)
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    resumed = Classifier(study).fit(*train, validation, seed=0, folder=tmp_path)
    whole = Classifier(study).fit(*train, validation, seed=0)
    assert states_equal(whole, resumed)


@pytest.mark.parametrize("change", ["learning_rate", "seed", "volumes", "target"])
def test_checkpoint_of_another_run_is_not_continued(study, small_cohort, tmp_path, change):
    (volumes, target), validation = small_cohort
    break_off(study, small_cohort, tmp_path)
    seed = 0
    if change == "learning_rate":
        study = study.model_copy(update={"learning_rate": 2e-2})
    elif change == "seed":
        seed = 1
    elif change == "volumes":
        volumes = volumes + np.float32(1)
    else:
        target = 1 - target
    other = Classifier(study).fit(volumes, target, validation, seed=seed, folder=tmp_path)
    assert states_equal(other, Classifier(study).fit(volumes, target, validation, seed=seed))


def test_finished_run_leaves_no_checkpoint_and_no_other_file(study, small_cohort, tmp_path):
    train, validation = small_cohort
    Classifier(study).fit(*train, validation, seed=0, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "tensorboard"] == []


def test_tensorboard_is_told_every_epoch_where_it_is_installed(study, small_cohort, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train, validation = small_cohort
    fitted = Classifier(study).fit(*train, validation, seed=0, folder=tmp_path)
    told = events.EventAccumulator(str(tmp_path / "tensorboard" / "last")).Reload()
    losses = [event.value for event in told.Scalars("validation_loss")]
    known = [entry["validation_loss"] for entry in fitted.history]
    np.testing.assert_allclose(losses, known, rtol=1e-6)


def test_loss_that_is_no_number_is_an_error_and_no_result(study, small_cohort, tmp_path):
    (volumes, target), validation = small_cohort
    endless = study.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ToolError, match="learning_rate"):
        Classifier(endless).fit(volumes, target, validation, seed=0, folder=tmp_path)
    assert not (tmp_path / "model.json").exists()


def test_non_finite_validation_volume_is_an_error(study, small_cohort):
    train, (volumes, target) = small_cohort
    volumes = volumes.copy()
    volumes[0, 0, 0, 0] = np.nan
    with pytest.raises(ToolError, match="validation loss of nan"):
        Classifier(study).fit(*train, (volumes, target), seed=0)


@pytest.mark.parametrize("n", range(1, 40))
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_batches_hold_everyone_once_and_no_one_alone(n, size):
    plan = batches.Batches(n, size, lambda: [0])
    dealt = [index for _, index in plan]
    assert len(dealt) == len(plan)
    assert sorted(np.concatenate(dealt)) == list(range(n))
    assert max(map(len, dealt)) <= max(size, 3 if size == 2 else size)
    assert min(map(len, dealt)) >= min(2, n, size)


def test_epochs_are_shuffled_differently_and_reproducibly():
    def order(*key):
        plan = batches.Batches(20, 4, (lambda: key) if key else None)
        return np.concatenate([batch[-1] for batch in plan]).tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(0, epoch)) for epoch in range(5)}) == 5
    assert order(0, 0) != order(1, 0)
    assert order() == list(range(20))


def test_odd_participant_does_not_break_batch_normalisation(study, small_cohort):
    (volumes, target), validation = small_cohort
    flat = networks.network(
        lambda grid: nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(int(np.prod(grid))), nn.Linear(int(np.prod(grid)), 1)
        )
    )
    fitted = flat(study).fit(volumes[:9], target[:9], validation, seed=0)
    assert np.isfinite(fitted.evidence(volumes)).all()


def test_evidence_of_one_does_not_depend_on_the_others_to_the_last_bit(study, small_cohort):
    train, validation = small_cohort
    fitted = Classifier(study).fit(*train, validation, seed=0)
    together = fitted.evidence(train[0])
    alone = np.concatenate([fitted.evidence(volume[None]) for volume in train[0]])
    np.testing.assert_array_equal(together, alone)
    order = np.random.default_rng(0).permutation(len(together))
    np.testing.assert_array_equal(fitted.evidence(train[0][order]), together[order])


def test_units_of_the_map_do_not_matter_after_standardisation(study, small_cohort):
    (volumes, target), (others, validation) = small_cohort
    one = Classifier(study).fit(volumes, target, (others, validation), seed=0)
    # Four times is exact in binary, so not even rounding may differ.
    other = Classifier(study).fit(4 * volumes, target, (4 * others, validation), seed=0)
    np.testing.assert_array_equal(one.evidence(others), other.evidence(4 * others))


def test_weights_and_card_say_what_they_are(study, small_cohort, tmp_path):
    train, validation = small_cohort
    fitted = Classifier(study).fit(*train, validation, seed=0)
    fitted.save(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "weights.safetensors"]
    assert card["grid"] == [4, 5, 3]
    # Convolution 3 (27 + 1), normalisation 2 x 3, linear 2 (3 x 60 + 1).
    assert card["parameters"] == 84 + 6 + 362
    assert card["settings"]["learning_rate"] == study.learning_rate
    assert card["design"] == "networks"


def test_damaged_weights_are_refused(study, small_cohort, tmp_path):
    train, validation = small_cohort
    Classifier(study).fit(*train, validation, seed=0).save(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(InputError, match="weights.safetensors"):
        Classifier.load(tmp_path)


def test_another_grid_and_non_finite_volumes_are_refused(study, small_cohort):
    train, validation = small_cohort
    fitted = Classifier(study).fit(*train, validation, seed=0)
    with pytest.raises(InputError, match=r"\(4, 5, 4\).*\(4, 5, 3\)"):
        fitted.evidence(np.zeros((2, 4, 5, 4), np.float32))
    broken = train[0].copy()
    broken[[1, 4], 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="2 of 12"):
        fitted.evidence(broken)


def test_nothing_appears_on_the_console(study, small_cohort, capfd, recwarn, caplog):
    train, validation = small_cohort
    level = logging.getLogger("lightning.pytorch").level
    Classifier(study).fit(*train, validation, seed=0).evidence(train[0])
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.text) == ("", "", "")
    assert [str(warning.message) for warning in recwarn] == []
    assert logging.getLogger("lightning.pytorch").level == level


def test_control_c_reaches_the_caller_as_itself(study, small_cohort):
    train, validation = small_cohort
    handler = signal.getsignal(signal.SIGINT)

    def press(**losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Classifier(study).fit(*train, validation, seed=0, progress=press)
    assert signal.getsignal(signal.SIGINT) is handler


def test_catalogue_answers_without_loading_torch():
    code = textwrap.dedent("""
        import sys
        from bids_sexclf import attribution, catalogue, models
        attribution.find("region_occlusion"), models.find("brain_size"), models.find("shuffled")
        catalogue.names("bids_sexclf.models")
        sys.exit(any(name in sys.modules for name in ("torch", "lightning", "sklearn")))
    """)
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
