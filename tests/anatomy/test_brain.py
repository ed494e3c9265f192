import numpy as np
import pytest

from bids_sexclf.anatomy import brain
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


def test_distances_from_a_mask_are_in_millimetres_and_interpolate():
    mask = np.zeros((30, 30, 30), bool)
    mask[10:20, 10:20, 10:20] = True
    size = (2.0, 2.0, 2.0)
    outside = brain.distance_outside(mask, size)
    np.testing.assert_array_equal(outside < 0, mask)
    # The faces of the outermost voxels lie half a voxel from their centres.
    assert outside[20, 15, 15] == pytest.approx(1) and outside[19, 15, 15] == pytest.approx(-1)
    assert outside[22, 15, 15] == pytest.approx(5)
    # Half-way between two centres lies the face itself: the distance interpolates.
    assert outside[19:21, 15, 15].mean() == pytest.approx(0)


def test_a_carried_mask_is_one_part_without_holes():
    distance = brain.distance_outside(sphere(21), SIZE)
    distance[30, 30, 30], distance[2:6, 2:6, 2:6] = 5, -5
    mask = brain.carried_mask(head(), distance, SIZE)
    np.testing.assert_array_equal(mask, sphere(21))


def test_a_mask_on_nothing_is_refused_with_what_to_look_at():
    distance = brain.distance_outside(sphere(21), SIZE)
    with pytest.raises(InputError, match="Look at the scan"):
        brain.carried_mask(np.zeros((60, 60, 60)), distance, SIZE)


def emptied(mask):
    """Give the head with nothing outside a mask; what reaches beyond the brain is fluid."""
    t1w = np.where(sphere(22) & ~sphere(21), 35.0, head())
    return np.where(mask, np.maximum(t1w, 0.1), 0)


@pytest.mark.parametrize(
    ("t1w", "expected"),
    [
        (np.abs(head()), False),  # noise all around
        (emptied(sphere(22)), True),  # brain and fluid
        (emptied(sphere(21)), True),  # the brain alone
        (emptied(sphere(21)) - 100, True),  # empty need not mean zero
        (np.zeros((20, 20, 20)), False),
    ],
)
def test_a_brain_alone_is_told_from_a_head(t1w, expected):
    assert brain.is_stripped(t1w, SIZE) is expected


def test_a_head_whose_background_is_empty_is_not_a_brain_alone():
    # The size of an adult's head: 9 cm from its middle to its skin, about 3000 ml.
    assert not brain.is_stripped(emptied(sphere(28)), (3.2, 3.2, 3.2))


def test_a_scan_without_emptiness_cannot_be_taken_as_stripped():
    with pytest.raises(InputError, match="--skull-strip force"):
        brain.stripped_mask(np.zeros((10, 10, 10)))


def test_the_mean_b0_is_masked_to_its_bright_part():
    b0 = np.where(sphere(20), 500.0, 10.0)
    found = brain.b0_mask(b0 + np.random.default_rng(0).normal(0, 5, b0.shape), SIZE)
    assert 2 * (found & sphere(20)).sum() / (found.sum() + sphere(20).sum()) > 0.97


def test_eyes_on_a_thin_bridge_and_a_dim_scalp_are_no_brain():
    x, y, z = np.indices((60, 60, 60)) - 29.5
    eyes = (np.abs(x) - 9) ** 2 + (y - 27) ** 2 + (z + 6) ** 2 <= 5.5**2
    bridge = (np.abs(x) - 9) ** 2 + (z + 6) ** 2 <= 2.5**2
    bridge &= (y > 12) & (y < 27) & ~sphere(20)
    scalp = sphere(27) & ~sphere(25)
    b0 = np.select([sphere(20), eyes, bridge, scalp], [500.0, 900, 450, 180], 10)
    found = brain.b0_mask(b0 + np.random.default_rng(0).normal(0, 5, b0.shape), SIZE)
    assert not (found & eyes).any() and not (found & scalp).any()
    assert 2 * (found & sphere(20)).sum() / (found.sum() + sphere(20).sum()) > 0.97


def test_a_brain_that_the_field_of_view_cuts_is_masked_to_its_edge():
    b0 = np.where(sphere(20), 500.0, 10.0)[:, :, 18:45]
    found = brain.b0_mask(b0 + np.random.default_rng(0).normal(0, 5, b0.shape), SIZE)
    known = sphere(20)[:, :, 18:45]
    assert 2 * (found & known).sum() / (found.sum() + known.sum()) > 0.97
    assert found[..., 0].sum() > 0.9 * known[..., 0].sum()


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


def test_the_vertex_of_a_b0_is_not_widened_by_the_slices_below_it():
    """A scan that ends in the crown of the head: dark bone between a small brain and the scalp."""
    b0 = np.select([sphere(20), sphere(24), sphere(27)], [500.0, 40, 180], 10)[:, :, :47]
    found = brain.b0_mask(b0 + np.random.default_rng(0).normal(0, 5, b0.shape), (3.0, 3.0, 3.0))
    known = sphere(20)[:, :, :47]
    top = (slice(None), slice(None), slice(-4, None))
    assert known[top].any()
    assert (found & ~known)[top].sum() < 0.03 * known[top].sum()
    assert (known & ~found).sum() < 0.04 * known.sum()


def test_signal_that_is_lost_deep_inside_stays_in_the_mask():
    """Air beside the brain takes its signal away; the brain is there all the same."""
    b0 = np.where(sphere(20), 500.0, 10.0)
    b0[26:34, 26:34, 16:24] = 60  # more than 6 mm under the surface
    found = brain.b0_mask(b0 + np.random.default_rng(0).normal(0, 5, b0.shape), SIZE)
    assert found[28:32, 28:32, 18:22].all()
