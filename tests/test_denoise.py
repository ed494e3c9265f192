import numpy as np
import pytest
from dipy.denoise.localpca import mppca as other_mppca

from bids_sexclf import denoise

SD = 5.0


@pytest.fixture(scope="module")
def noisy():
    """Draw smooth structure that a few components span, and Gaussian noise of known SD."""
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (16, 15, 13)], indexing="ij"))
    parts = np.stack([1 + 0 * place[0], place[0] > 0.1, place[1] ** 2, place[2] * place[0]], -1)
    truth = 100 + parts @ rng.normal(0, 20, (4, 30))
    data = truth + rng.normal(0, SD, truth.shape)
    return data.astype(np.float32), truth, np.ones(truth.shape[:3], bool)


def test_noise_is_found_and_mostly_removed(noisy):
    data, truth, mask = noisy
    clean, sigma = denoise.mppca(data, mask)
    assert np.median(sigma) == pytest.approx(SD, rel=0.05)
    assert np.std(clean - truth) < 0.45 * SD


def test_what_is_removed_holds_no_structure(noisy):
    data, truth, mask = noisy
    removed = (data - denoise.mppca(data, mask)[0]).ravel()
    assert abs(np.corrcoef(removed, truth.ravel())[0, 1]) < 0.02
    assert np.std(removed) < 1.02 * SD


def test_denoising_is_as_good_as_an_independent_one(noisy):
    data, truth, mask = noisy
    ours = np.std(denoise.mppca(data, mask)[0] - truth)
    theirs = np.std(other_mppca(data, patch_radius=2) - truth)
    assert ours < 1.1 * theirs


def test_order_and_number_of_threads_change_nothing(noisy):
    data, _, mask = noisy
    once, _ = denoise.mppca(data, mask)
    again, _ = denoise.mppca(data, mask, at_once=5, run=lambda f, jobs: [f(job) for job in jobs])
    np.testing.assert_array_equal(once, again)


def test_voxels_outside_every_patch_stay_as_they_are(noisy):
    data, _, mask = noisy
    part = np.zeros_like(mask)
    part[:5, :5, :5] = True
    clean, sigma = denoise.mppca(data, part)
    np.testing.assert_array_equal(clean[-1], data[-1])
    assert (sigma[-1] == 0).all() and (sigma[:5, :5, :5] > 0).all()


@pytest.mark.parametrize(
    ("shape", "word"),
    [((20, 20, 20, 7), "7 volumes"), ((20, 20, 20), "1 volumes"), ((4, 4, 1, 40), "16 voxels")],
)
def test_series_that_cannot_be_denoised_are_told_why(shape, word):
    assert word in denoise.unfit(shape)
    assert denoise.unfit((20, 20, 20, 13)) is None
