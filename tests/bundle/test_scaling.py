"""How values of a map become the numbers that a model reads."""

import numpy as np
import pytest

from bids_sexclf.bundle import scaling
from bids_sexclf.cohort.maps import ENTRIES
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import Grid

SHAPE = (6, 5, 4)


@pytest.fixture
def brain():
    """A brain of random positive values in a box of zeros, and its mask."""
    inside = np.zeros(SHAPE, bool)
    inside[1:5, 1:4, 1:3] = True
    values = np.random.default_rng(3).uniform(50, 150, SHAPE).astype(np.float32)
    return values * inside, inside


def carry(values, inside, kind, covered=None, affine=None, grid=None):
    affine = np.eye(4) if affine is None else affine
    return scaling.carry(values, affine, covered, grid or Grid(SHAPE, np.eye(4)), inside, kind)


def test_every_map_has_a_kind_that_exists():
    assert {scaling.find(name) for name in ENTRIES} == set(scaling.KINDS)
    assert set(scaling.OF_MAPS) <= set(ENTRIES)
    assert scaling.find("MD") == scaling.UNITS


def test_maps_with_units_keep_them(brain):
    whole, volume, gap = carry(*brain, scaling.UNITS)
    np.testing.assert_array_equal(volume, brain[0])
    np.testing.assert_array_equal(whole, brain[0])
    assert not gap.any()


@pytest.mark.parametrize("factor", [1.0, 16.0])
def test_own_spread_has_mean_0_and_sd_1_in_the_brain_whatever_the_unit(brain, factor):
    values, inside = brain
    _, volume, _ = carry(factor * values, inside, scaling.OWN_SPREAD)
    assert abs(volume[inside].mean()) < 1e-5 and abs(volume[inside].std() - 1) < 1e-5
    assert not volume[~inside].any()
    np.testing.assert_allclose(volume, carry(values, inside, scaling.OWN_SPREAD)[1], atol=1e-4)


def test_own_mean_keeps_zero_and_ratios(brain):
    values, inside = brain
    _, volume, _ = carry(values, np.ones(SHAPE, bool), scaling.OWN_MEAN)
    assert volume[inside].mean() == pytest.approx(1, rel=1e-5) and not volume[~inside].any()
    np.testing.assert_allclose(volume / volume.max(), values / values.max(), rtol=1e-5)


def test_unmeasured_voxels_do_not_count(brain):
    values, inside = brain
    covered = np.ones(SHAPE, bool)
    covered[3:] = False
    lost = np.where(covered, values, 0)
    _, volume, gap = carry(lost, inside, scaling.OWN_SPREAD, covered)
    np.testing.assert_array_equal(gap, inside & ~covered)
    assert abs(volume[inside & covered].mean()) < 1e-5
    assert abs(volume[inside & covered].std() - 1) < 1e-5


def test_a_map_on_a_finer_grid_is_scaled_after_it_was_carried(brain):
    values, inside = brain
    fine = np.repeat(np.repeat(np.repeat(values, 2, 0), 2, 1), 2, 2)
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = -0.25
    whole, volume, _ = carry(fine, inside, scaling.OWN_SPREAD, affine=affine)
    assert volume.shape == SHAPE and whole.shape == fine.shape
    assert abs(volume[inside].mean()) < 1e-5 and not whole[fine == 0].any()


@pytest.mark.parametrize("kind", scaling.KINDS)
@pytest.mark.parametrize("spoil", [0.0, -2.0, np.nan])
def test_what_cannot_be_scaled_is_refused(brain, kind, spoil):
    values, inside = brain
    values[inside] = spoil
    with pytest.raises(InputError, match="constant or not finite"):
        carry(values, inside, kind)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="Found scaling 'median', needed one of units"):
        scaling.learn("median", np.ones(3, np.float32))
