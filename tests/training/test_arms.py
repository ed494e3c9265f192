"""The arms of the transformer: what pretraining may see, what it leaves behind, how it resumes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bids_sexclf import models
from bids_sexclf.errors import InputError, LeakageError
from bids_sexclf.settings import Study
from bids_sexclf.training import encoders, outside, pretraining, transformer, weight_files

GRID = (8, 12, 12)
SMALL = {
    "design": "vit",
    "patch": [4, 4, 4],
    "width": 24,
    "depth": 1,
    "heads": 2,
    "mae2d_epochs": 2,
    "mae3d_epochs": 2,
    "mae_slices": 4,
    "decoder_width": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "epochs": 2,
    "batch_size": 4,
}


def make(arm, **changes):
    return models.make(Study(variants={"arm": SMALL | {"arm": arm} | changes}), "arm")


@pytest.fixture(scope="module")
def cohort():
    """Give smooth volumes: what is hidden can be told from what is seen."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    volumes = np.stack([gaussian_filter(rng.standard_normal(GRID), 2) for _ in range(24)])
    target = np.tile([0, 1], 12)
    volumes[target == 1, :4] += 0.05
    return (100 + 400 * volumes).astype(np.float32), target


def fit(arm, cohort, folder=None, progress=None, target=None, **changes):
    volumes, truth = cohort
    target = truth[:16] if target is None else target
    return make(arm, **changes).fit(
        volumes[:16],
        target,
        (volumes[16:20], truth[16:20]),
        seed=0,
        folder=folder,
        progress=progress,
    )


def encoder_of(fitted):
    return fitted.module.network.encoder.state_dict()


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def probed(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    return fit("probe", cohort, folder), folder


def test_a_probe_learns_its_head_and_leaves_the_pretrained_encoder_alone(probed):
    fitted, folder = probed
    assert equal(encoder_of(fitted), load_file(folder / "encoder.safetensors"))
    assert not any(one.requires_grad for one in fitted.module.network.encoder.parameters())
    assert [len(fitted.pretraining[step]) for step in ("mae2d", "mae3d")] == [2, 2]


def test_fine_tuning_starts_from_the_same_encoder_and_changes_it(probed, cohort, tmp_path):
    fitted = fit("finetune", cohort, tmp_path, drop_path=0.1, layer_decay=0.7)
    start = load_file(tmp_path / "encoder.safetensors")
    assert equal(start, load_file(probed[1] / "encoder.safetensors"))
    assert not equal(encoder_of(fitted), start)
    assert fitted.module.network.encoder.blocks[0].drop_path1.rate == 0  # depth 1: 0 to 0


def test_a_probe_of_all_patches_of_an_encoder_that_foretold_brightness(probed, cohort, tmp_path):
    fitted = fit("probe", cohort, tmp_path, pool="mean", normalize_patches=False)
    assert not equal(encoder_of(fitted), encoder_of(probed[0]))
    with torch.no_grad():
        seen = fitted.module.standardise(torch.from_numpy(cohort[0][:16]))
        network = fitted.module.network
        mean = network.encoder(seen)[:, 1:].mean(1)
    np.testing.assert_allclose(mean.mean(0), network.centre, atol=1e-5)


def test_scratch_is_pretrained_by_nothing(cohort, tmp_path):
    fitted = fit("scratch", cohort, tmp_path)
    assert fitted.pretraining == {} and not list(tmp_path.glob("*.*"))


def test_pretraining_does_not_know_the_target(probed, cohort, tmp_path):
    other = np.roll(np.repeat([0, 1], 8), 3)
    fit("probe", cohort, tmp_path, target=other)
    assert equal(
        load_file(tmp_path / "encoder.safetensors"), load_file(probed[1] / "encoder.safetensors")
    )


def test_pretraining_is_handed_the_training_part_and_nothing_else(cohort):
    volumes, target = cohort
    read = set()

    class Watched:
        """Note whose volumes are read."""

        shape = (16, *GRID)

        def __len__(self):
            return 16

        def __getitem__(self, which):
            read.update(np.atleast_1d(which).tolist())
            return volumes[which]

    class Closed:
        """A validation part that must not be read before training begins."""

        shape = (4, *GRID)

        def __len__(self):
            return 4

        def __getitem__(self, which):
            raise AssertionError("validation was read")

    steps = []
    with pytest.raises(AssertionError, match="validation was read"):
        make("probe").fit(
            Watched(),
            target[:16],
            (Closed(), target[16:20]),
            seed=0,
            progress=lambda **told: steps.append(told.get("stage")),
        )
    assert steps == ["mae2d"] * 2 + ["mae3d"] * 2
    assert read == set(range(16))


class Interrupted(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize(("stage", "epoch"), [("mae2d", 0), ("mae3d", 0), ("mae3d", 1), (None, 0)])
def test_a_run_killed_in_any_step_goes_on_to_the_same_weights(
    probed, cohort, tmp_path, stage, epoch
):
    def kill(**told):
        if (told.get("stage"), told["epoch"]) == (stage, epoch):
            raise Interrupted

    with pytest.raises(Interrupted):
        fit("probe", cohort, tmp_path, kill)
    steps = []
    resumed = fit("probe", cohort, tmp_path, lambda **told: steps.append(told.get("stage")))
    assert len(steps) < 6
    assert equal(resumed.module.state_dict(), probed[0].module.state_dict())
    assert resumed.history == probed[0].history
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "encoder.safetensors",
        "encoder.safetensors.sha256",
    ]


def test_hidden_patches_of_unseen_participants_are_foretold_better_after_pretraining(cohort):
    volumes, _ = cohort
    errors = []

    def watch(step, autoencoder):
        errors.append((step, error(autoencoder, volumes[20:])))

    torch.manual_seed(0)
    network = models.build("vit", grid=GRID, patch=(4, 4, 4), width=24, depth=1, heads=2)
    context = pretraining.Context(standardise, (), "32", 0, None, None, watch=watch)
    choices = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    choices |= {"mae2d_epochs": 0, "mae3d_epochs": 60, "mae_learning_rate": 3e-3}
    pretraining.pretrain(network, volumes[:20], context, arm="probe", **choices)
    (_, before), (step, after) = errors
    assert step == "mae3d" and after < 0.9 * before


def standardise(volumes):
    return ((volumes - 100) / 30).unsqueeze(1)


@torch.no_grad()
def error(autoencoder, volumes):
    """Give the loss on the same hidden patches."""
    autoencoder.eval()
    seen = standardise(torch.from_numpy(volumes))
    loss = autoencoder(seen, torch.Generator().manual_seed(0)).item()
    autoencoder.train()
    return loss


def test_slices_are_drawn_from_those_that_hold_something():
    torch.manual_seed(0)
    volumes = torch.zeros(2, 1, 6, 4, 4)
    volumes[0, 0, 2] = torch.arange(16.0).reshape(4, 4)
    volumes[1, 0, 5] = 2 * torch.arange(16.0).reshape(4, 4)
    slices = pretraining.draw_slices(volumes, 3)
    assert slices.shape == (6, 1, 4, 4)
    assert torch.equal(slices[:3, 0], volumes[0, 0, 2].expand(3, -1, -1))
    assert torch.equal(slices[3:, 0], volumes[1, 0, 5].expand(3, -1, -1))


# Weights from elsewhere


@pytest.fixture
def foreign(tmp_path):
    encoder = transformer.Encoder(GRID, (4, 4, 4), 1, 24, 1, 2)
    path = tmp_path / "foreign.safetensors"
    encoders.save_encoder(encoder, path)
    return path, encoder


def test_weights_that_know_someone_held_out_are_leakage(foreign):
    path, _ = foreign
    options = {"arm": "probe", "weights": str(path)}
    outside.write_card(path, ["sub-7", "sub-1", "sub-7"])
    assert json.loads(path.with_suffix(".json").read_text()) == {"participants": ["sub-1", "sub-7"]}
    outside.check_weights(options, ["sub-2", "sub-3"])
    with pytest.raises(LeakageError, match="1 participants .*sub-7"):
        outside.check_weights(options, ["sub-2", "sub-7"])
    path.with_suffix(".json").write_text('{"participants": ["1", "7 "]}')
    with pytest.raises(LeakageError, match="sub-7"):  # as people write ids
        outside.check_weights(options, ["sub-2", "sub-7"])
    for wrong in ('{"participants": "sub-7"}', '{"participants": [7]}', "[" * 100_000, "3"):
        path.with_suffix(".json").write_text(wrong)
        with pytest.raises(InputError, match="does not list participants"):
            outside.check_weights(options, ["sub-2"])
    path.with_suffix(".json").write_text('{"participants": ["sub-1", "sub-7"]}')


def test_an_arm_does_not_start_from_weights_that_do_not_say_whom_they_know(foreign):
    with pytest.raises(InputError, match="needed the list of the participants"):
        outside.check_weights({"arm": "finetune", "weights": str(foreign[0])}, ["sub-1"])
    for name in ("none", "imagenet"):
        outside.check_weights({"weights": name, "arm": "probe"}, ["sub-1"])


def test_weights_that_are_not_there_are_told_as_absent_and_not_as_unsafe(tmp_path):
    lost = tmp_path / "lost.safetensors"
    for told in (lambda: outside.find_file(lost), lambda: weight_files.read(lost)):
        with pytest.raises(InputError, match="no file .*lost.safetensors") as fault:
            told()
        assert "unknown origin" not in str(fault.value)
    with pytest.raises(InputError, match="Did you mean 'imagenet'"):
        outside.find_file("imagenett")


def test_weights_from_elsewhere_take_the_place_of_pretraining(foreign, cohort):
    path, encoder = foreign
    fitted = fit("probe", cohort, weights=str(path))
    assert equal(encoder_of(fitted), encoder.state_dict()) and fitted.pretraining == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arm": "frozen"}, "needed one of scratch, probe, finetune"),
        ({"arm": "probe", "mae2d_epochs": 0, "mae3d_epochs": 0}, "encoder that has learnt"),
    ],
)
def test_arms_that_cannot_be_are_refused_before_the_first_stage(changes, words):
    study = Study(models=["arm"], variants={"arm": SMALL | changes})
    with pytest.raises(InputError, match=words):
        models.check(study)


def test_the_head_of_a_probe_sees_standardised_features_and_that_of_other_arms_plain_ones(
    probed, cohort, tmp_path
):
    fitted, folder = probed
    with torch.no_grad():
        seen = fitted.module.standardise(torch.from_numpy(cohort[0][:16]))
        network = fitted.module.network
        features = (network.encoder(seen)[:, 0] - network.centre) / network.spread
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(features.std(0, correction=0), 1, atol=1e-3)
    fitted.save(tmp_path)
    loaded = type(fitted).load(tmp_path)
    np.testing.assert_array_equal(loaded.evidence(cohort[0]), fitted.evidence(cohort[0]))
    other = fit("finetune", cohort).module.network
    assert not other.centre.any() and (other.spread == 1).all()
