"""Training choices: each does what it says, and none breaks resuming."""

import numpy as np
import pytest
import torch
from testing.networks import make_network
from torch import nn

from bids_sexclf import models
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.settings import Recipe, Study
from bids_sexclf.training import devices, networks, schedule

GRID = (4, 5, 3)


def build_linear(grid, outputs=1):
    """A network whose gradient is the mean of the participants' own."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(grid)), outputs))


Classifier, Linear = networks.network(make_network), networks.network(build_linear)


class Interrupted(BaseException):
    """What a kill looks like from inside."""


def change(study, **choices):
    return Study(**(study.model_dump() | choices))


def state(fitted):
    return torch.cat([value.double().flatten() for value in fitted.module.state_dict().values()])


# Steps


def test_gradients_of_several_batches_make_the_step_of_one_large_batch(study, small_cohort):
    (volumes, target), validation = small_cohort
    # Eleven participants: batches of unequal size, and a last step that gathers fewer of them.
    made = []
    for size, accumulate in ((12, 1), (3, 4), (2, 6)):
        own = change(study, batch_size=size, accumulate=accumulate, optimizer="sgd", epochs=3)
        made.append(state(Linear(own).fit(volumes[:11], target[:11], validation, seed=0)))
    torch.testing.assert_close(made[1], made[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made[2], made[0], rtol=1e-5, atol=1e-6)


def test_participants_of_an_incomplete_step_count_alike(study, small_cohort):
    from bids_sexclf.training.batches import Batches

    # Sizes 3, 3, 3, 2: two steps of two batches.
    assert Batches(11, 3).weigh(2) == [6, 6, 5, 5]
    assert Batches(11, 3).weigh(3) == [9, 9, 9, 2]


@pytest.fixture
def all_precisions(monkeypatch):
    """Let a processor train in 16 bits too: these networks have no thin maps."""
    monkeypatch.setattr(devices, "check_precision", lambda recipe: None)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_processor_is_not_trusted_with_16_bits(study, small_cohort, precision):
    train, validation = small_cohort
    with pytest.raises(InputError, match=f"precision {precision} and no graphics card"):
        Linear(change(study, precision=precision)).fit(*train, validation, seed=0)


@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
def test_a_clipped_step_is_as_long_as_allowed_whatever_the_precision(
    study, small_cohort, precision, all_precisions
):
    """Under 16-mixed the loss is scaled by 2^16: clipped first, a step would be 2^16 shorter."""
    (volumes, target), validation = small_cohort
    steps = []
    for length in (0.01, 0.0):
        own = change(
            study,
            epochs=1,
            batch_size=12,
            optimizer="sgd",
            momentum=0,
            learning_rate=1.0,
            gradient_clip=length,
            precision=precision,
        )
        fitted = Linear(own).fit(volumes, target, validation, seed=0)
        layer = fitted.module.network[1]
        torch.manual_seed(0)
        start = build_linear(GRID)[1]
        moved = torch.cat([(layer.weight - start.weight).flatten(), layer.bias - start.bias])
        steps.append(moved.norm().item())
    assert steps[0] == pytest.approx(0.01, rel=1e-3)
    assert steps[1] > 0.05


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [("adamw", 2 * (1 - 0.1 * 0.3)), ("sgd", 2 * (1 - 0.1 * 0.3)), ("adam", 2 - 0.1)],
)
def test_weight_decay_is_decoupled_in_adamw_and_l2_elsewhere(optimizer, expected):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    recipe = Recipe(optimizer=optimizer, learning_rate=0.1, weight_decay=0.3, momentum=0)
    step = schedule.make_optimizer(network, recipe)
    network.weight.grad = torch.zeros_like(network.weight)
    step.step()
    # A gradient of wd * w alone: Adam divides it by its own size.
    assert network.weight.item() == pytest.approx(expected, rel=1e-5)


def test_epsilon_and_momentum_reach_the_optimiser():
    network = nn.Linear(1, 1)
    adam = schedule.make_optimizer(network, Recipe(optimizer="adam", adam_epsilon=1e-5))
    sgd = schedule.make_optimizer(network, Recipe(optimizer="sgd", momentum=0.7))
    assert adam.defaults["eps"] == 1e-5 and sgd.defaults["momentum"] == 0.7


def test_step_sizes_of_the_history_follow_the_schedule(study, small_cohort):
    train, validation = small_cohort
    own = change(study, schedule="step", milestones=[2, 4], warmup_epochs=1, learning_rate=0.01)
    history = Classifier(own).fit(*train, validation, seed=0).history
    sizes = [entry["learning_rate"] for entry in history]
    assert sizes == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4])


def test_layers_near_the_input_take_smaller_steps():
    entry = models.find("vit")
    network = entry.build(grid=(16, 16, 16), **entry.TINY)
    groups = schedule.make_optimizer(network, Recipe(learning_rate=1.0, layer_decay=0.5))
    sizes = {id(one): g["largest"] for g in groups.param_groups for one in g["params"]}
    assert len(sizes) == len(list(network.parameters()))
    # Embedding, two blocks, head: 0.5^3, 0.5^2, 0.5, 1.
    assert sizes[id(network.encoder.pos_embed)] == 0.125
    assert sizes[id(network.encoder.blocks[0].norm1.bias)] == 0.25
    assert sizes[id(network.head.weight)] == 1
    with pytest.raises(InputError, match="does not number its layers"):
        schedule.make_optimizer(nn.Linear(1, 1), Recipe(layer_decay=0.5))


# The loss, and the epoch that is kept


def test_without_class_weights_every_participant_counts_alike(study, small_cohort):
    (volumes, target), _ = small_cohort
    volumes, target = volumes[:8], np.array([0, 0, 0, 0, 0, 0, 1, 1])
    own = change(study, epochs=1, learning_rate=1e-8, class_weights="none")
    fitted = Classifier(own).fit(volumes, target, (volumes, target), seed=0)
    logits = fitted.evidence(volumes)
    losses = np.logaddexp(0, np.where(target == 1, -logits, logits))
    assert fitted.history[0]["validation_loss"] == pytest.approx(losses.mean(), rel=1e-5)


@pytest.mark.parametrize("choose_by", ["loss", "auc"])
def test_the_epoch_that_is_kept_is_the_best_by_what_was_chosen(study, small_cohort, choose_by):
    from sklearn.metrics import roc_auc_score

    train, (volumes, target) = small_cohort
    target = np.array([0, 1, 1, 0, 0, 1])  # half wrong: loss and AUC disagree
    own = change(study, choose_by=choose_by, epochs=8, patience=8)
    fitted = Classifier(own).fit(*train, (volumes, target), seed=0)
    logits = fitted.evidence(volumes)
    if choose_by == "auc":
        best = max(entry["validation_score"] for entry in fitted.history)
        assert roc_auc_score(target, logits) == pytest.approx(best)
    else:
        best = min(entry["validation_loss"] for entry in fitted.history)
        loss = np.logaddexp(0, np.where(target == 1, -logits, logits)).mean()
        assert loss == pytest.approx(best, rel=1e-4)


def test_a_random_seed_of_its_own_gives_a_variant_other_weights():
    from pathlib import Path

    from bids_sexclf.group._jobs import Job

    study = Study(variants={"again": {"design": "cnn3", "random_seed": 7}})
    same = Study(variants={"again": {"design": "cnn3"}})
    seeds = [Job(Path(), Path(), one, "again", "T1w", 1, 1).seed for one in (study, same)]
    assert seeds[0] != seeds[1]


# Age


@pytest.fixture
def ages():
    """Give volumes whose mean rises with age by one unit in ten years."""
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, 40)
    volumes = rng.standard_normal((40, *GRID)) + (age / 10)[:, None, None, None]
    return volumes.astype(np.float32), age


@pytest.mark.parametrize("loss", ["auto", "l1"])
def test_age_is_learnt_in_years(ages, loss, tmp_path):
    volumes, age = ages
    study = Study(target="age", loss=loss, epochs=60, patience=60, learning_rate=3e-3)
    fitted = Linear(study).fit(volumes[:24], age[:24], (volumes[24:30], age[24:30]), seed=0)
    error = np.abs(fitted.evidence(volumes[30:]) - age[30:]).mean()
    assert error < 0.5 * np.abs(np.median(age[:24]) - age[30:]).mean()
    # The scale of the training part is kept with the weights, and nothing of the others is in it.
    assert fitted.module.shift.item() == pytest.approx(age[:24].mean(), rel=1e-6)
    assert fitted.module.spread.item() == pytest.approx(age[:24].std(), rel=1e-6)
    known = [entry["validation_score"] for entry in fitted.history]
    best = np.argmin([entry["validation_loss"] for entry in fitted.history])
    kept = np.abs(fitted.evidence(volumes[24:30]) - age[24:30]).mean()
    assert known[best] == pytest.approx(kept, rel=1e-4)
    fitted.save(tmp_path)
    loaded = Linear.load(tmp_path)
    np.testing.assert_array_equal(loaded.evidence(volumes), fitted.evidence(volumes))


def test_one_age_is_refused(ages):
    volumes, age = ages
    with pytest.raises(InputError, match="of one age"):
        Linear(Study(target="age")).fit(volumes, np.full(40, 30.0), (volumes, age), seed=0)


def test_median_age_is_the_median_of_the_training_part():
    classifier = models.make(Study(target="age"), "median_age")
    classifier.fit(np.zeros((3, 1)), np.array([20.0, 30, 90]), None, seed=0)
    assert classifier.evidence(np.zeros((2, 1))).tolist() == [30, 30]


# After a kill

EVERYTHING = {
    "accumulate": 2,
    "batch_size": 2,
    "schedule": "cosine",
    "warmup_epochs": 1.5,
    "gradient_clip": 0.5,
    "optimizer": "sgd",
}


@pytest.mark.parametrize(
    "choices",
    [
        EVERYTHING,
        EVERYTHING | {"precision": "bf16-mixed", "optimizer": "adam", "weight_decay": 0.1},
        {"precision": "16-mixed", "schedule": "step", "milestones": [2]},
        {"augment_noise": 0.5, "augment_flip": 0.5, "augment_rotation": 20, "batch_size": 4},
        {"choose_by": "auc", "class_weights": "none"},
    ],
)
def test_killed_run_goes_on_to_the_same_weights(
    study, small_cohort, tmp_path, choices, all_precisions
):
    train, validation = small_cohort
    study = change(study, epochs=4, **choices)
    whole = Classifier(study).fit(*train, validation, seed=0)

    def kill(epoch, **entry):
        if epoch == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        Classifier(study).fit(*train, validation, seed=0, folder=tmp_path, progress=kill)
    epochs = []
    resumed = Classifier(study).fit(
        *train,
        validation,
        seed=0,
        folder=tmp_path,
        progress=lambda epoch, **entry: epochs.append(epoch),
    )
    assert epochs == [2, 3]
    assert torch.equal(state(whole), state(resumed))
    assert whole.history == resumed.history


# Several devices


def test_two_processes_learn_what_one_does(study, small_cohort, tmp_path):
    (volumes, target), validation = small_cohort
    study = change(study, epochs=3, batch_size=4, accumulate=2, optimizer="sgd")
    made = []
    for count in (1, 2):
        classifier = Linear(study)
        classifier.devices = count
        # Eleven participants: unequal batches, unequally shared.
        classifier.fit(volumes[:11], target[:11], validation, seed=0, folder=tmp_path / str(count))
        made.append(classifier)
    torch.testing.assert_close(state(made[0]), state(made[1]), rtol=1e-5, atol=1e-6)
    for one, other in zip(made[0].history, made[1].history, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_devices_that_would_have_nobody_to_learn_from_are_refused(study, small_cohort, tmp_path):
    train, validation = small_cohort
    classifier = Linear(change(study, batch_size=2))
    classifier.devices = 3
    with pytest.raises(InputError, match="3 devices asked for.*batches of 2"):
        classifier.fit(*train, validation, seed=0, folder=tmp_path)


# What goes wrong


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError("host"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_memory_that_is_used_up_names_the_setting_to_lower(study, small_cohort, fault):
    def explode(grid):
        network = build_linear(grid)
        network.register_forward_hook(lambda *_: (_ for _ in ()).throw(fault))
        return network

    train, validation = small_cohort
    with pytest.raises(ToolError, match=r"Lower batch_size \(4\) and raise accumulate"):
        networks.network(explode)(study).fit(*train, validation, seed=0)


def test_other_errors_of_the_network_are_not_called_memory():
    with pytest.raises(RuntimeError, match="shape"), devices.within_memory("x", "y"):
        raise RuntimeError("shape mismatch")


def test_progress_tells_epoch_losses_score_and_time_left(study, small_cohort):
    train, validation = small_cohort
    told = []
    Classifier(study).fit(*train, validation, seed=0, progress=lambda **entry: told.append(entry))
    assert [entry["epoch"] for entry in told] == list(range(6))
    assert {"validation_loss", "validation_score", "learning_rate", "epochs"} <= set(told[0])
    assert told[0]["seconds_left"] > 0 and told[-1]["seconds_left"] == 0
