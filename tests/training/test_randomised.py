"""What a network has learnt is taken from it layer by layer, and from nothing else."""

import numpy as np
import pytest
import torch

from bids_sexclf import models
from bids_sexclf.settings import Study
from bids_sexclf.training.randomised import list_layers, randomise

GRID = (22, 22, 22)


@pytest.fixture(scope="module")
def fitted():
    """Train one epoch, so that statistics of the normalisation are no longer the first ones."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, *GRID)).astype(np.float32)
    target = np.arange(8) % 2
    study = Study(epochs=1, models=["cnn3"])
    model = models.make(study, "cnn3")
    return model.fit(rows, target, (rows[:4], target[:4]), seed=1), rows


def states(model):
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def test_layers_are_listed_from_the_output_to_the_input(fitted):
    layers = list_layers(fitted[0].module.network)
    assert layers[0] == "head.2" and layers[-1] == "features.0" and len(layers) == 7


def test_only_the_layers_that_are_asked_for_change_and_the_model_stays(fitted):
    model, rows = fitted
    before, evidence = states(model), model.evidence(rows[:2])
    layers = list_layers(model.module.network)
    for count in (1, 3, len(layers)):
        changed = states(randomise(model, count, seed=5))
        for name, value in before.items():
            layer = name.removeprefix("network.").rpartition(".")[0]
            fresh = name.startswith("network.") and layer in layers[:count]
            # Biases and gains of a normalisation begin at 0 and 1 and have hardly moved.
            assert fresh or torch.equal(value, changed[name]), name
            if fresh and name.endswith("weight") and value.ndim > 1:
                assert not torch.allclose(value, changed[name]), name
    after = states(model)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    np.testing.assert_array_equal(model.evidence(rows[:2]), evidence)


def test_statistics_are_forgotten_too_and_standardisation_is_kept(fitted):
    model, _ = fitted
    changed = randomise(model, 99, seed=5).module
    assert not changed.network.features[1].running_mean.any()
    assert model.module.network.features[1].running_mean.any()
    assert torch.equal(changed.centre, model.module.centre)
    assert not changed.training


def test_the_same_seed_gives_the_same_network_and_leaves_the_random_state(fitted):
    model, rows = fitted
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one = randomise(model, 99, seed=5).evidence(rows[:2])
    assert torch.equal(torch.rand(1), expected)
    np.testing.assert_array_equal(one, randomise(model, 99, seed=5).evidence(rows[:2]))
    assert np.abs(one - randomise(model, 99, seed=6).evidence(rows[:2])).max() > 1e-6
