"""Slice residuals: nothing where a tensor explains all, the fault where one was put."""

import numpy as np
import pytest

from bids_sexclf.diffusion.residuals import flag_slices, slice_residuals

SHAPE, BVALS = (12, 12, 8), np.array([0, 0, *[1000] * 20, *[2500] * 20])


@pytest.fixture
def scan():
    """Simulate tensors of every orientation, their gradients and a mask."""
    rng = np.random.default_rng(0)
    bvecs = rng.normal(size=(len(BVALS), 3))
    bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
    bvecs[:2] = 0
    axis = rng.normal(size=(*SHAPE, 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    diffusion = 5e-4 + 1e-3 * (axis @ bvecs.T) ** 2
    signal = 1000 * np.exp(-BVALS * diffusion)
    mask = np.ones(SHAPE, bool)
    mask[:, :, -1] = False
    mask[:4, :4, -1] = True  # sixteen voxels: too few to judge
    return signal, bvecs, mask


def test_nothing_is_left_of_a_signal_that_is_a_tensor(scan):
    signal, bvecs, mask = scan
    left = slice_residuals(signal, BVALS, bvecs, mask)
    assert np.abs(left[:-1]).max() < 1e-6 and np.isnan(left[-1]).all()
    assert not flag_slices(left, BVALS).any()


@pytest.mark.parametrize(("volume", "slice_", "factor"), [(7, 3, 0.6), (30, 5, 0.8), (25, 2, 1.3)])
def test_a_lost_or_raised_slice_is_flagged_and_no_other(scan, volume, slice_, factor):
    signal, bvecs, mask = scan
    signal = signal + np.random.default_rng(1).normal(0, 5, signal.shape)
    signal[:, :, slice_, volume] *= factor
    left = slice_residuals(signal, BVALS, bvecs, mask)
    assert np.argwhere(flag_slices(left, BVALS)).tolist() == [[slice_, volume]]
    assert left[slice_, volume] == pytest.approx(factor - 1, abs=0.08)


def test_what_a_whole_shell_shares_is_no_fault(scan):
    """Kurtosis lifts every volume of the outer shell alike."""
    signal, bvecs, mask = scan
    signal = signal.copy()
    signal[..., BVALS == 2500] *= 1.3
    assert not flag_slices(slice_residuals(signal, BVALS, bvecs, mask), BVALS).any()


def test_what_a_tensor_misses_in_one_direction_is_no_fault_of_its_slices(scan):
    signal, bvecs, mask = scan
    signal = signal + np.random.default_rng(4).normal(0, 5, signal.shape)
    signal[..., 12] *= 1.2  # the whole volume, every slice alike
    left = slice_residuals(signal, BVALS, bvecs, mask)
    assert np.nanmedian(left[:, 12]) > 0.1 and not flag_slices(left, BVALS).any()


def test_noise_alone_flags_next_to_nothing(scan):
    signal, bvecs, mask = scan
    noisy = signal + np.random.default_rng(2).normal(0, 20, signal.shape)
    assert flag_slices(slice_residuals(noisy, BVALS, bvecs, mask), BVALS).mean() < 0.01


def test_a_series_that_a_tensor_fits_exactly_is_not_judged(scan):
    signal, bvecs, mask = scan
    left = slice_residuals(signal[..., :9], BVALS[:9], bvecs[:9], mask)
    assert np.isnan(left).all() and not flag_slices(left, BVALS[:9]).any()


def test_scale_of_the_signal_changes_nothing(scan):
    signal, bvecs, mask = scan
    noisy = signal + np.random.default_rng(3).normal(0, 5, signal.shape)
    first, second = (slice_residuals(k * noisy, BVALS, bvecs, mask) for k in (1, 1e-3))
    np.testing.assert_allclose(first, second, atol=1e-9)
