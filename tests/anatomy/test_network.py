import numpy as np
import pytest

from bids_sexclf.anatomy import network
from bids_sexclf.anatomy.brain import overlap
from bids_sexclf.phantom.template import make_head
from bids_sexclf.resources import find_weights

STEP = 3
"""Of the phantom's voxels, every third: a scan of 3 mm."""


@pytest.fixture(scope="module")
def scan():
    """Give a phantom's head in a field of view that is not a cube, and its brain."""
    from bids_sexclf.phantom.signal import T1W

    head = make_head()
    t1w = head.t1w + sum(T1W[tissue] * getattr(head, tissue) for tissue in T1W)
    t1w, brain = (np.asarray(a, np.float32)[::STEP, ::STEP, ::STEP] for a in (t1w, head.brain))
    room = ((9, 2), (0, 5), (3, 3))
    noise = np.random.default_rng(0).rayleigh(0.01 * t1w.max(), np.pad(t1w, room).shape)
    return np.pad(t1w, room) + noise.astype(np.float32), np.pad(brain > 0.5, room)


def test_the_mask_is_the_known_brain_with_one_thread_or_two(scan):
    found = [network.find_brain(scan[0], find_weights(), threads) for threads in (1, 2)]
    assert overlap(found[0], scan[1]) > 0.95
    np.testing.assert_array_equal(*found)


def test_the_coarse_mask_lies_on_the_brain(scan):
    found = network.find_coarsely(1000 * scan[0], find_weights())
    assert found.shape == scan[0].shape and overlap(found, scan[1]) > 0.9


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_holds_no_brain(value):
    assert not network.find_brain(np.full((20, 24, 18), value), find_weights()).any()


def test_the_box_reaches_a_tenth_beyond_the_brain_and_no_further_than_the_image():
    mask = np.zeros((network.COARSE,) * 3, bool)
    mask[:64, 32:96, 64:] = True
    # Half of 100 voxels, and a tenth of it beyond, where there is room.
    assert network._box(mask, (100, 100, 50)) == (slice(0, 55), slice(20, 80), slice(22, 50))
    assert network._box(np.zeros_like(mask), (100, 100, 50)) is None
