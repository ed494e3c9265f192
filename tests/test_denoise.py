import nibabel as nib
import numpy as np
import pytest
from dipy.denoise.gibbs import gibbs_removal
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


def scanned_step(size, turned=False):
    """Give a bright rectangle as seen from a third of k-space, and as it is."""
    fine = np.full((3 * size, 3 * size), 40.0)
    fine[3 * size // 4 : 3 * size * 7 // 10, size : 2 * size + 2] = 100
    fine = fine.T if turned else fine
    spectrum = np.fft.fftshift(np.fft.fft2(fine))
    kept = slice((3 * size - size) // 2, (3 * size - size) // 2 + size)
    seen = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum[kept, kept]))) / 9
    return seen.astype(np.float32), fine.reshape(size, 3, size, 3).mean(axis=(1, 3))


def inside(truth):
    """Tell the voxels whose neighbours, two to each side, are all as bright as they are."""
    moved = [np.roll(truth, shift, axis) for axis in (0, 1) for shift in (-2, -1, 1, 2)]
    return np.all(np.abs(np.array(moved) - truth) < 1e-6, axis=0)


@pytest.mark.parametrize("size", [64, 65])
def test_ringing_beside_a_step_falls_by_nine_tenths(size):
    seen, truth = scanned_step(size)
    flat = inside(truth)
    before, after = (
        np.std((image - truth)[flat]) for image in (seen, denoise.unring(seen[None])[0])
    )
    assert after < 0.1 * before


# dipy spaces the weights of the two axes over N - 1 voxels, not N, and keeps the magnitude of
# shifted lines, which differs from their value where N is even: 5 % of what is removed at most.
APART = 0.05


@pytest.mark.parametrize("size", [64, 65, 96])
def test_unringing_is_that_of_dipy(size):
    seen = np.stack([scanned_step(size)[0], scanned_step(size, turned=True)[0]])
    noise = np.random.default_rng(0).normal(size=(2, *seen.shape))
    for given in (seen, np.hypot(seen + noise[0], noise[1]).astype(np.float32)):
        theirs = gibbs_removal(given, slice_axis=0, inplace=False)
        apart = denoise.unring(given) - theirs
        assert np.sqrt((apart**2).mean()) < APART * np.sqrt(((theirs - given) ** 2).mean())


def test_unringing_a_real_scan_is_that_of_dipy(real_data):
    path = next((real_data / "scans" / "sub-canon" / "dwi").glob("*PAortho*_dwi.nii.gz"))
    image = nib.load(path)
    given = np.asarray(image.dataobj[..., image.shape[2] // 2, :2], np.float32).transpose(2, 0, 1)
    theirs = gibbs_removal(given, slice_axis=0, inplace=False)
    apart = denoise.unring(given) - theirs
    assert np.sqrt((apart**2).mean()) < APART * np.sqrt(((theirs - given) ** 2).mean())


def test_smooth_slices_and_slices_without_signal_are_left_as_they_are():
    wave = 2 * np.pi * np.arange(40) / 40
    smooth = (100 + 10 * np.cos(wave)[:, None] + 10 * np.sin(wave)).astype(np.float32)
    clean = denoise.unring(np.stack([smooth, 0 * smooth]))
    np.testing.assert_allclose(clean[0], smooth, atol=0.2)  # 2 % of the waves' height
    assert not clean[1].any()


def test_each_slice_is_unrung_by_itself_and_either_axis_alike():
    seen, turned = scanned_step(64)[0], scanned_step(64, turned=True)[0]
    both = denoise.unring(np.stack([seen, turned, seen]))
    np.testing.assert_allclose(both[0], both[2], atol=1e-4)
    np.testing.assert_allclose(both[1], both[0].T, atol=0.02)
    np.testing.assert_allclose(denoise.unring(seen[None])[0], both[0], atol=1e-4)


def test_slices_too_narrow_to_ring_are_left_as_they_are():
    narrow = np.random.default_rng(0).random((2, 7, 20)).astype(np.float32)
    np.testing.assert_array_equal(denoise.unring(narrow), narrow)
