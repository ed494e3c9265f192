"""Augmentation: the same key gives the same volume, and nothing but training is changed."""

import numpy as np
import pytest
import torch
from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.settings import Recipe, Study
from bids_sexclf.training import augmentation, batches, evidence, networks

GRID = (6, 8, 4)
ALL = {
    "augment_flip": 0.5,
    "augment_rotation": 30,
    "augment_zoom": 0.2,
    "augment_shift": 1,
    "augment_gain": 0.2,
    "augment_offset": 0.3,
    "augment_noise": 0.2,
}


@pytest.fixture
def volumes():
    return (50 + 5 * np.random.default_rng(0).standard_normal((5, *GRID))).astype(np.float32)


def make(grid=GRID, network=None, **choices):
    module = evidence.Evidence(network or nn.Flatten(), np.float32(50), np.float32(5))
    return augmentation.make(Recipe(**choices), module, grid)


def plain(volume):
    return torch.from_numpy((volume - 50) / 5)[None]


def test_nothing_is_changed_where_nothing_is_asked_for():
    assert make() is None


@pytest.mark.parametrize("name", ALL)
def test_each_choice_changes_volumes_and_by_its_key_alone(volumes, name):
    augment = make(**{name: ALL[name]})
    keys = [(1, epoch, row) for epoch in range(6) for row in range(3)]
    first = [augment(volumes[0], key) for key in keys]
    # In another order, by another instance, as another process or a resumed run would.
    again = [make(**{name: ALL[name]})(volumes[0], key) for key in reversed(keys)][::-1]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert all(one.shape == (1, *GRID) and one.dtype == torch.float32 for one in first)
    if name == "augment_flip":
        flipped = [torch.equal(one, plain(volumes[0]).flip(1)) for one in first]
        kept = [torch.equal(one, plain(volumes[0])) for one in first]
        assert 0 < sum(flipped) < len(keys) == sum(flipped) + sum(kept)
    else:
        assert len({one.numpy().tobytes() for one in first}) == len(keys)


def test_gain_offset_and_noise_stay_within_what_was_allowed(volumes):
    standard = plain(volumes[0])
    for row in range(20):
        gained = make(augment_gain=0.2)(volumes[0], (row,)) / standard
        assert gained.max() - gained.min() < 1e-4 and 0.8 <= gained.mean() <= 1.2
        moved = make(augment_offset=0.3)(volumes[0], (row,)) - standard
        assert moved.max() - moved.min() < 1e-5 and abs(moved.mean()) <= 0.3
        noise = make(augment_noise=0.2)(volumes[0], (row,)) - standard
        assert noise.std() < 0.3 and abs(noise.mean()) < 0.1


def test_left_and_right_are_the_first_axis(volumes):
    changed = make(augment_flip=1.0)(volumes[0], (0,))
    assert torch.equal(changed, plain(volumes[0][::-1].copy()))


def test_channels_are_changed_together(volumes):
    both = np.stack([volumes[0], volumes[0]])
    moved = make(augment_rotation=30, augment_flip=0.5)(both, (3,))
    assert torch.equal(moved[0], moved[1]) and moved.shape == (2, *GRID)


def test_a_crop_is_a_piece_of_the_volume_and_never_larger_than_it(volumes):
    augment = make(network=Pooled((1,)), crop=[3, 4, 9])
    starts = set()
    for row in range(40):
        piece = augment(volumes[0], (row,)).numpy()[0]
        assert piece.shape == (3, 4, 4)
        windows = np.lib.stride_tricks.sliding_window_view(plain(volumes[0])[0].numpy(), (3, 4, 4))
        places = np.argwhere((windows == piece).all((3, 4, 5)))
        assert len(places) == 1
        starts.add(tuple(places[0]))
    assert len(starts) > 10


class Pooled(nn.Module):
    """Take any grid: the mean of some voxels, and note which grids were seen in training."""

    def __init__(self, grid):
        super().__init__()
        self.weight, self.seen, self.kept = nn.Parameter(torch.ones(1)), set(), set()

    def forward(self, volumes):
        """Carry volumes to one logit."""
        (self.seen if self.training else self.kept).add(tuple(volumes.shape[2:]))
        return self.weight * volumes.mean((1, 2, 3, 4))[:, None]


def build(grid, outputs=1):
    """Build it."""
    return Pooled(grid)


def test_training_sees_crops_and_validation_and_test_see_whole_volumes(volumes):
    target = np.array([0, 1, 0, 1, 1])
    study = Study(epochs=2, batch_size=2, crop=[3, 4, 2])
    fitted = networks.network(build)(study).fit(volumes, target, (volumes, target), seed=0)
    network = fitted.module.network
    assert network.seen == {(3, 4, 2)}
    network.kept.clear()
    fitted.evidence(volumes)
    assert network.kept == {GRID}


def test_a_network_of_one_grid_is_not_given_crops(volumes):
    def build_fixed(grid):
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(grid)), 1))

    target = np.array([0, 1, 0, 1, 1])
    classifier = networks.network(build_fixed)(Study(epochs=1, crop=[3, 4, 2]))
    with pytest.raises(InputError, match=r"crop \(3, 4, 2\) on a grid of \(6, 8, 4\)"):
        classifier.fit(volumes, target, (volumes, target), seed=0)


def test_validation_volumes_are_left_as_they_are(volumes):
    """Where nothing is learnt, the validation loss is that of the volumes as they are."""
    target = np.array([0, 1, 0, 1, 1])
    losses = []
    for choices in ({}, ALL):
        study = Study(epochs=1, batch_size=5, optimizer="sgd", learning_rate=1e-8, **choices)
        fitted = networks.network(build)(study).fit(volumes, target, (volumes, target), seed=0)
        losses.append(fitted.history[0])
    assert losses[0]["validation_loss"] == pytest.approx(losses[1]["validation_loss"], rel=1e-6)
    assert losses[0]["train_loss"] != pytest.approx(losses[1]["train_loss"], rel=1e-3)


def test_the_number_of_reading_processes_changes_no_bit(volumes):
    from torch.utils.data import DataLoader

    read = []
    for workers in (0, 2):
        part = batches.Part(volumes, np.array([0, 1, 0, 1, 1]), make(**ALL))
        dealt = batches.Batches(5, 2, lambda: (7, 3))
        loader = DataLoader(part, batch_size=None, sampler=dealt, num_workers=workers)
        read.append(torch.cat([volumes for volumes, _ in loader]))
    assert torch.equal(*read)
