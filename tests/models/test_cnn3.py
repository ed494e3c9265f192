"""The network of Kan 2020: its published size, its smallest grid, its layers."""

import pytest
import torch
from torch import nn

from bids_sexclf import models
from bids_sexclf.errors import InputError


def count(network):
    return sum(weights.numel() for weights in network.parameters())


def test_published_number_of_parameters():
    assert count(models.build("cnn3")) == 322_818


@pytest.mark.parametrize("grid", [(22, 22, 22), (23, 29, 30), (36, 44, 36)])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 2), (2, 1)])
def test_any_grid_that_is_large_enough_is_carried_to_the_outputs(grid, channels, outputs):
    network = models.build("cnn3", grid=grid, channels=channels, outputs=outputs).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, channels, *grid)).shape == (1, outputs)


@pytest.mark.parametrize("axis", range(3))
def test_grid_one_voxel_too_small_is_refused_with_the_minimum(axis):
    grid = [22, 22, 22]
    grid[axis] = 21
    with pytest.raises(InputError, match="at least 22"):
        models.build("cnn3", grid=grid)


def test_smallest_grid_trains_on_a_batch_of_one():
    network = models.build("cnn3", grid=(22, 22, 22)).train()
    network(torch.randn(1, 1, 22, 22, 22)).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


def test_activations_are_neither_shared_nor_in_place():
    network = models.build("cnn3")
    calls = []
    activations = [layer for layer in network.modules() if isinstance(layer, nn.ReLU)]
    for layer in activations:
        layer.register_forward_hook(lambda layer, inputs, output: calls.append(id(layer)))
    network.eval()(torch.zeros(1, 1, 58, 70, 58))
    assert len(calls) == len(set(calls)) == 3
    assert not any(layer.inplace for layer in activations)


def test_dropout_is_the_share_asked_for():
    network = models.build("cnn3", grid=(22, 22, 22), dropout=0.25)
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.25]


def test_a_classifier_that_is_no_network_is_not_built():
    with pytest.raises(InputError, match="'brain_size', which is no network.*cnn3"):
        models.build("brain_size")
