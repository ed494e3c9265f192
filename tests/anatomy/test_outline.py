import numpy as np
import pytest

from bids_sexclf.anatomy import brain

RADIUS = 44.0
SIZES = [(2.0, 2.0, 2.0), (1.5, 2.0, 3.0)]


def from_middle(size):
    """Give the coordinates of voxels of a cube of 128 mm, mm from its middle."""
    shape = [round(128 / step) for step in size]
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, size, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def head(places, skull=4.0, scalp=200.0):
    """Give a brain of grey folds in fluid, in a thin dark skull, in a scalp twice as bright."""
    radius = np.linalg.norm(places, axis=0)
    t1w = np.select(
        [radius < RADIUS, radius < RADIUS + skull, radius < RADIUS + skull + 6],
        [100.0, 10.0, scalp],
    )
    fold = (radius > RADIUS - 12) & (radius < RADIUS) & (np.abs(places[0] % 14 - 7) < 1.5)
    t1w[fold] = 25
    return t1w + np.random.default_rng(0).normal(0, 3, t1w.shape)


def cut_short(places, size, by=6.0):
    """Give a distance from the brain that lies too deep, mm, at the top."""
    radius = np.linalg.norm(places, axis=0)
    deeper = by * np.exp(-(places[0] ** 2 + places[1] ** 2) / 2 / 40**2) * (places[2] > 0)
    return (radius - RADIUS + deeper).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_an_outline_that_cuts_the_brain_is_moved_out_to_the_gap(size):
    places = from_middle(size)
    radius, distance = np.linalg.norm(places, axis=0), cut_short(places, size)
    mask = brain.carried_mask(head(places), distance, size)
    top = (radius < RADIUS) & (np.hypot(places[0], places[1]) < 20) & (places[2] > 0)
    lost = [(top & ~held).sum() for held in (distance < 0, mask)]
    assert lost[1] < 0.2 * lost[0]
    assert not (mask & (radius > RADIUS + max(size))).any()
    assert not ((distance < 0) & ~mask).any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("off", [-1, 0, 2])
def test_an_outline_near_the_gap_is_left_alone(size, off):
    places = from_middle(size)
    distance = np.linalg.norm(places, axis=0) - RADIUS - off
    mask = brain.carried_mask(head(places), distance, size)
    np.testing.assert_array_equal(mask, distance < 0)


def test_tissue_without_a_gap_is_not_followed():
    places = from_middle(SIZES[0])
    t1w, distance = head(places), np.linalg.norm(places, axis=0) - RADIUS
    # A stem that leaves the image, and an outline that crosses it and lies right elsewhere.
    t1w[(np.hypot(places[0], places[1]) < 18) & (places[2] < -20)] = 100
    mask = brain.carried_mask(t1w, distance, SIZES[0])
    np.testing.assert_array_equal(mask, distance < 0)


def test_a_few_bright_vessels_move_nothing():
    places = from_middle(SIZES[0])
    t1w, radius = head(places, skull=8.0), np.linalg.norm(places, axis=0)
    t1w[(np.abs(places[0]) < 2) & (radius > RADIUS - 8) & (radius < RADIUS + 5)] = 110
    mask = brain.carried_mask(t1w, radius - RADIUS, SIZES[0])
    np.testing.assert_array_equal(mask, radius < RADIUS)


def test_brightness_is_relative():
    places = from_middle(SIZES[0])
    distance = cut_short(places, SIZES[0])
    dim = 0.01 * head(places) * (1 + places[2] / 200)
    first, second = (brain.carried_mask(t1w, distance, SIZES[0]) for t1w in (dim, 1000 * dim))
    np.testing.assert_array_equal(first, second)
    assert first.sum() > (distance < 0).sum()
