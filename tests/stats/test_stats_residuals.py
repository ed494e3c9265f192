"""Effects of confounds: those of ordinary least squares, learnt one row at a time."""

import numpy as np
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.stats.residuals import learn_effects


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    design = np.stack([rng.uniform(20, 80, 30), rng.normal(1200, 100, 30)], axis=1)
    truth = rng.standard_normal((2, 4, 3))
    rows = 1000 + np.tensordot((design - [50, 1200]) / [10, 100], truth, 1)
    return rows + rng.standard_normal(rows.shape), design


def test_effects_are_those_of_least_squares(world):
    rows, design = world
    effects, centre, spread = learn_effects(rows, design)
    full = np.column_stack([np.ones(30), (design - centre) / spread])
    judge = np.linalg.lstsq(full, rows.reshape(30, -1), rcond=None)[0][1:]
    np.testing.assert_allclose(effects.reshape(2, -1), judge, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([centre, spread], [design.mean(0), design.std(0)])


def test_rows_without_them_are_uncorrelated_with_confounds_and_keep_their_mean(world):
    rows, design = world
    effects, centre, spread = learn_effects(rows, design)
    left = rows - np.tensordot((design - centre) / spread, effects, 1)
    for column in design.T:
        found = [np.corrcoef(column, voxel)[0, 1] for voxel in left.reshape(30, -1).T]
        np.testing.assert_allclose(found, 0, atol=1e-5)
    np.testing.assert_allclose(left.mean(0), rows.mean(0), rtol=1e-6)


def test_units_of_confounds_do_not_matter(world):
    rows, design = world
    np.testing.assert_allclose(
        learn_effects(rows, design)[0], learn_effects(rows, design * [12, 1e-3])[0], rtol=1e-4
    )


def test_a_voxel_or_a_confound_that_never_varies_has_no_effect(world):
    rows, design = world
    rows[:, 0] = 0.1
    effects, _, spread = learn_effects(rows, np.column_stack([design, np.full(30, 0.3)]))
    assert not effects[:, 0].any() and not effects[2].any() and spread[2] == 1


def test_confounds_that_depend_on_each_other_are_taken_out_once(world):
    rows, design = world
    twice = np.column_stack([design, design[:, 0]])
    one, other = (
        rows - np.tensordot((d - c) / s, e, 1)
        for d in (design, twice)
        for e, c, s in [learn_effects(rows, d)]
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_unknown_confounds_and_too_few_participants_are_refused(world):
    rows, design = world
    with pytest.raises(InputError, match="3 training participants"):
        learn_effects(rows[:3], design[:3])
    design[4, 1] = np.nan
    with pytest.raises(InputError, match="1 of them with unknown confounds"):
        learn_effects(rows, design)
