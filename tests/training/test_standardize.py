"""Standardisation: textbook means and deviations, learnt one volume at a time."""

import numpy as np
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.training import standardize

GRID = (3, 4, 2)


@pytest.fixture
def volumes():
    rng = np.random.default_rng(0)
    return (1000 + rng.standard_normal((7, *GRID))).astype(np.float32)


def test_voxel_statistics_are_numpys(volumes):
    centre, scale = standardize.learn(volumes, "voxel")
    wide = volumes.astype(np.float64)
    np.testing.assert_allclose(centre, wide.mean(0), rtol=1e-7)
    deviation = wide.std(0)
    floor = standardize.FLOOR * np.median(deviation)
    np.testing.assert_allclose(scale, np.maximum(deviation, floor), rtol=1e-6)
    assert (centre.dtype, scale.dtype, scale.shape) == (np.float32, np.float32, GRID)


def test_constant_voxels_become_exactly_zero_and_stay_bounded_for_new_participants(volumes):
    volumes[:, 0] = 0.1  # not representable: a mean taken carelessly would miss it
    volumes[:, 1] = 0
    centre, scale = standardize.learn(volumes, "voxel")
    standardized = (volumes - centre) / scale
    assert not standardized[:, :2].any()
    typical = np.median(volumes[:, 2].std(0))
    np.testing.assert_allclose(scale[:2], standardize.FLOOR * typical, rtol=1e-5)


def test_map_statistics_are_those_of_non_zero_voxels(volumes):
    volumes[:, 1] = 0
    centre, scale = standardize.learn(volumes, "map")
    known = volumes[volumes != 0].astype(np.float64)
    np.testing.assert_allclose(centre, known.mean(), rtol=1e-7)
    np.testing.assert_allclose(scale, known.std(), rtol=1e-6)
    assert scale.shape == ()


def test_none_changes_nothing(volumes):
    centre, scale = standardize.learn(volumes, "none")
    np.testing.assert_array_equal((volumes - centre) / scale, volumes)


@pytest.mark.parametrize("how", ["voxel", "map"])
def test_order_of_participants_does_not_matter(volumes, how):
    forth, back = (standardize.learn(some, how) for some in (volumes, volumes[::-1]))
    for one, other in zip(forth, back, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("how", ["voxel", "map"])
def test_volumes_are_read_one_by_one(volumes, how):
    class Single:
        """Refuses to give more than one participant at a time."""

        def __len__(self):
            return len(volumes)

        def __getitem__(self, index):
            assert isinstance(index, int)
            return volumes[index]

    np.testing.assert_array_equal(standardize.learn(Single(), how), standardize.learn(volumes, how))


@pytest.mark.parametrize("how", ["voxel", "map"])
def test_non_finite_volumes_are_counted_and_refused(volumes, how):
    volumes[2, 0, 0, 0] = np.nan
    volumes[5, 1, 1, 1] = np.inf
    with pytest.raises(InputError, match="2 of 7"):
        standardize.learn(volumes, how)


@pytest.mark.parametrize("how", ["voxel", "map"])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_volumes_that_do_not_vary_are_refused(how, value):
    with pytest.raises(InputError, match="do not vary"):
        standardize.learn(np.full((4, *GRID), value, np.float32), how)
