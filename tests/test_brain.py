import numpy as np
import pytest

from bids_sexclf import brain
from bids_sexclf.errors import InputError

SIZE = (2.0, 2.0, 2.0)


def sphere(radius, shape=(60, 60, 60)):
    """Give a centred ball; radius in voxels."""
    axes = [np.arange(n) - (n - 1) / 2 for n in shape]
    grids = np.meshgrid(*axes, indexing="ij")
    return sum(axis**2 for axis in grids) <= radius**2


def head():
    """Give a bright brain in fluid, in a dark skull, in a bright scalp."""
    t1w = np.zeros((60, 60, 60))
    t1w[sphere(28)] = 90.0
    t1w[sphere(25)] = 5.0
    t1w[sphere(21)] = 100.0
    return t1w + np.random.default_rng(0).normal(0, 1, t1w.shape)


@pytest.mark.parametrize("radius", [20, 21, 22])
def test_a_mask_that_is_one_voxel_off_is_drawn_to_the_brain(radius):
    def error(mask):
        return 1 - 2 * (mask & truth).sum() / (mask.sum() + truth.sum())

    truth, start = sphere(21), sphere(radius)
    # Opening and closing round off what a voxel grid leaves of a ball: up to 2 %.
    assert error(brain.refine_mask(head(), start, SIZE)) < max(0.02, error(start) / 2)


def test_the_scalp_is_never_reached():
    assert not (brain.refine_mask(head(), sphere(22), SIZE) & ~sphere(25)).any()


def test_holes_are_filled_and_islands_removed():
    mask = sphere(21)
    mask[30, 30, 30] = False
    mask[2:6, 2:6, 2:6] = True
    refined = brain.refine_mask(head(), mask, SIZE)
    assert refined[30, 30, 30] and not refined[2:6, 2:6, 2:6].any()


def test_a_mask_on_nothing_is_refused_with_what_to_look_at():
    with pytest.raises(InputError, match="Look at the scan"):
        brain.refine_mask(np.zeros((60, 60, 60)), sphere(21), SIZE)


def test_the_mean_b0_is_masked_to_its_bright_part():
    b0 = np.where(sphere(20), 500.0, 10.0)
    found = brain.b0_mask(b0 + np.random.default_rng(0).normal(0, 5, b0.shape), SIZE)
    assert 2 * (found & sphere(20)).sum() / (found.sum() + sphere(20).sum()) > 0.97


def test_agreement_is_a_correlation_inside_the_mask():
    rng, mask = np.random.default_rng(0), sphere(20)
    volume = rng.random(mask.shape)
    other = np.where(mask, 2 * volume + 1, rng.random(mask.shape))
    assert brain.agreement(volume, other, mask) == pytest.approx(1)
    assert brain.agreement(volume, -other, mask) == pytest.approx(-1)
    assert brain.agreement(volume, np.ones(mask.shape), mask) == 0


def test_volume_counts_the_size_of_voxels_whatever_their_axes():
    affine = np.diag([-2.0, 3.0, 0.5, 1.0])
    assert brain.volume_ml(np.ones((10, 10, 10), bool), affine) == pytest.approx(3.0)


def test_the_ball_is_a_ball_in_millimetres():
    assert brain.ball(2, (1, 1, 1)).sum() == 33
    assert brain.ball(4, (2, 2, 4)).shape == (5, 5, 3)


def test_the_rim_leaves_and_holes_inside_stay_harmless():
    fa = np.where(sphere(20), 0.5, 0.0)
    fa[30, 30, 30] = 0
    trimmed = brain.trim_rim(fa)
    lost = (fa > 0) & (trimmed == 0)
    radius = np.sqrt(sum((np.indices(fa.shape) - 29.5) ** 2))
    # One voxel, counted along a diagonal at most the root of three.
    assert lost.any() and radius[lost].min() > 20 - np.sqrt(3) - 0.5
    assert trimmed[fa > 0].max() == 0.5 and not trimmed[fa == 0].any()


def test_the_edge_of_the_image_counts_as_outside():
    trimmed = brain.trim_rim(np.full((5, 5, 5), 0.3))
    assert np.count_nonzero(trimmed) == 27
