import numpy as np
import pytest
from scipy import ndimage

from bids_sexclf.anatomy import turns

AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
AFFINE[:3, 3] = -20, -30, 5


def test_there_are_24_turns_and_none_of_them_is_a_mirror():
    found = turns.list_turns()
    assert len({turn.tobytes() for turn in found}) == 24
    assert all(np.linalg.det(turn) == pytest.approx(1) for turn in found)
    np.testing.assert_array_equal(found[0], np.eye(3))


@pytest.mark.parametrize("turn", turns.list_turns())
def test_a_turned_head_is_turned_back_to_where_it_was(turn):
    t1w = np.random.default_rng(0).random((7, 9, 5))
    turned, affine, matrix = turns.turn_head(t1w, AFFINE, turn)
    # Axes are RAS+ again: each step leads to larger coordinates along its own direction.
    assert (np.diag(affine)[:3] > 0).all() and np.count_nonzero(affine[:3, :3]) == 3
    voxel = np.array([5, 2, 1])
    world = AFFINE @ np.append(voxel, 1)
    there = np.rint(np.linalg.inv(affine) @ matrix @ world)[:3].astype(int)
    assert turned[tuple(there)] == t1w[tuple(voxel)]
    np.testing.assert_array_equal(turns.turn_back(turned, affine, AFFINE, matrix), t1w)


def test_the_right_orientation_has_the_best_start():
    rng, grid = np.random.default_rng(1), np.diag([4.0, 4.0, 4.0, 1.0])
    places = np.indices((36, 44, 34)) - np.array([17.5, 21.5, 16.5])[:, None, None, None]
    mask = ((places / np.array([13, 17, 11])[:, None, None, None]) ** 2).sum(0) < 1
    mask &= places[2] > -8  # flat below
    brain = np.where(mask, 1 + ndimage.gaussian_filter(rng.normal(size=mask.shape), 3) * 20, 0)
    lying = turns.list_turns()[10]
    head, affine, _ = turns.turn_head(brain, grid, lying)
    scores = []
    for turn in turns.list_turns():
        turned, own, _ = turns.turn_head(head, affine, turn)
        scores.append(turns.score_start(turned, own, turned > 0, (brain, mask, grid)))
    best = turns.list_turns()[int(np.argmax(scores))]
    np.testing.assert_allclose(best @ lying, np.eye(3), atol=1e-9)
    assert max(scores) > 1.9 and sorted(scores)[-2] < 1.5


def test_no_brain_is_no_start():
    empty = np.zeros((5, 5, 5))
    template = (np.ones((5, 5, 5)), np.ones((5, 5, 5), bool), np.eye(4))
    assert turns.score_start(empty, np.eye(4), empty > 0, template) == -1
