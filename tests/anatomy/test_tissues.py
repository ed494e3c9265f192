"""Tissues and bias field of brains whose truth is known."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from bids_sexclf.anatomy.bias_field import fit_both, make_basis
from bids_sexclf.anatomy.morphometry import grey_white_contrast, white_gradient
from bids_sexclf.anatomy.tissues import find_tissues, log_field, shares_on, sharpen, working_grid
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import Grid, resample

SIGNAL = np.array([25.0, 68.0, 100.0])


def make_brain(shape=(56, 68, 56), size=(2.0, 2.0, 2.0), noise=6.0, bias=0.4, seed=0):
    """Give a folded brain, its true shares, its mask, its affine and its bias field."""
    random, size = np.random.default_rng(seed), np.array(size)
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = -size * np.array(shape) / 2
    places = affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]
    x, y, z = places.reshape(3, *shape)
    fold = 0.05 * np.sin(x / 4) * np.sin(y / 5) * np.sin(z / 4)
    radius = np.sqrt((x / 50) ** 2 + (y / 62) ** 2 + (z / 50) ** 2)
    borders = [radius < 0.12, radius < 0.72 + fold, radius < 0.9 + fold, radius < 1]
    labels = np.select(borders, [1, 3, 2, 1])
    shares = [gaussian_filter((labels == k).astype(np.float32), 0.6 / size) for k in (1, 2, 3)]
    mask, shares = labels > 0, np.stack(shares)
    shares = np.where(mask, shares / np.maximum(shares.sum(0), 1e-6), 0)
    field = bias * (0.6 * z / 50 + 0.3 * x / 50 - 0.4 * (y / 62) ** 2)
    signal = np.tensordot(SIGNAL, shares, 1) * np.exp(field)
    scan = np.abs(signal + random.normal(0, noise, shape)).astype(np.float32)
    return scan, shares, mask, affine, field


def overlap(found, truth, tissue):
    inside = truth.sum(0) > 0.5
    one, two = ((shares.argmax(0) == tissue) & inside for shares in (found, truth))
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize("guided", [True, False])
def test_known_tissues_and_a_known_bias_field_are_found_together(guided):
    scan, truth, mask, affine, field = make_brain()
    grid = working_grid(mask, affine)
    expected = None
    if guided:  # what is expected is as vague as the map of a template
        expected = np.stack([resample(gaussian_filter(one, 2), affine, grid) for one in truth])
    found = find_tissues(scan, mask, affine, expected)
    shares = shares_on(found, mask, affine)
    np.testing.assert_allclose(shares.sum(0), mask, atol=1e-5)
    assert overlap(shares, truth, 1) > 0.94 and overlap(shares, truth, 2) > 0.97
    for tissue in (0, 1, 2):
        assert shares[tissue].sum() == pytest.approx(truth[tissue].sum(), rel=0.06)
    white = truth[2] > 0.95
    rest = field - log_field(found, Grid(scan.shape, affine))
    assert np.ptp(np.quantile(rest[white], (0.02, 0.98))) < 0.05
    before, after = (white_gradient(scan / np.exp(f), white, affine) for f in (0, field - rest))
    assert before > 25 and after < 4
    np.testing.assert_allclose(found.means / found.means[2], SIGNAL / 100, atol=0.04)


def test_white_matter_that_is_brighter_in_one_place_is_not_taken_for_bias():
    """The grey matter beside it stays as it was, or it would seem to differ instead."""
    scan, truth, mask, affine, field = make_brain()
    x, y, z = affine[:3, :3] @ np.indices(scan.shape).reshape(3, -1) + affine[:3, 3:]
    place = ((x > 8) & (y < -8) & (z > 8)).reshape(scan.shape)
    white, grey = (place & (truth[tissue] > 0.95) for tissue in (2, 1))
    brighter = scan * np.where(place, 1 + 0.15 * truth[2], 1).astype(np.float32)

    fields = [
        log_field(find_tissues(each, mask, affine), Grid(scan.shape, affine))
        for each in (scan, brighter)
    ]
    taken = fields[1] - fields[0]
    assert white.sum() > 900 and grey.sum() > 900
    assert 0 < np.mean(taken[white]) < 0.03
    assert 0 < np.mean(taken[grey]) < 0.03


def test_small_voxels_are_fitted_as_large_ones_and_told_apart_at_one_millimetre():
    scan, truth, mask, affine, _ = make_brain((90, 180, 150), (1.25, 0.75, 0.75), bias=0.2)
    coarse, fine = (working_grid(mask, affine, edge) for edge in (1.5, 1.0))
    np.testing.assert_allclose(coarse.voxel_size, 1.5)
    np.testing.assert_allclose(fine.voxel_size, (1.25, 1, 1))
    found = find_tissues(scan, mask, affine)
    sharp = sharpen(found, scan, mask, affine)
    assert sharp.shares.shape[1:] == fine.shape
    shares = [shares_on(each, mask, affine) for each in (found, sharp)]
    np.testing.assert_allclose(shares[1].sum(0), mask, atol=1e-5)
    blurred, sharp = (overlap(each, truth, 1) for each in shares)
    assert sharp > 0.97 and blurred > 0.97


def test_a_mask_with_more_fluid_gives_the_same_grey_and_white_matter():
    scan, _, mask, affine, _ = make_brain()
    volumes = [
        shares_on(find_tissues(scan, where, affine), where, affine).sum((1, 2, 3))
        for where in (mask, binary_erosion(mask, iterations=2))
    ]
    np.testing.assert_allclose(volumes[0][1:], volumes[1][1:], rtol=0.05)


def test_the_same_bytes_whatever_the_number_of_threads(tmp_path):
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1])\n"
        "from test_tissues import make_brain\n"
        "from bids_sexclf.anatomy.tissues import find_tissues\n"
        "scan, _, mask, affine, _ = make_brain((40, 46, 40), (3, 3, 3))\n"
        "found = find_tissues(scan, mask, affine)\n"
        "np.save(sys.argv[2], np.concatenate([found.shares.ravel(), found.log_field.ravel()]))\n"
    )
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"]
    for threads in ("1", "4"):
        subprocess.run(
            [sys.executable, "-c", code, os.path.dirname(__file__), tmp_path / f"{threads}.npy"],
            env=os.environ | dict.fromkeys(names, threads),
            check=True,
        )
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "4.npy").read_bytes()


def test_an_empty_or_flat_brain_is_refused():
    scan, _, mask, affine, _ = make_brain((30, 34, 30), (4, 4, 4))
    with pytest.raises(InputError, match="brain mask of 0 voxels"):
        find_tissues(scan, mask & False, affine)
    with pytest.raises(InputError, match="median signal is 0"):
        find_tissues(0 * scan, mask, affine)


def test_the_gradient_of_white_matter_is_what_was_planted():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    white = np.ones((20, 20, 50), bool)
    flat = np.full(white.shape, 80.0)
    assert white_gradient(flat, white, affine) == 0
    rising = flat * np.linspace(0.9, 1.1, 50)
    # Medians of the lowest and the highest of ten slabs of five slices.
    assert white_gradient(rising, white, affine) == pytest.approx(100 * 0.2 * 45 / 49, rel=1e-6)
    white[:, :, 5:] = False
    assert np.isnan(white_gradient(rising, white, affine))


def test_contrast_is_the_share_by_which_grey_matter_is_darker():
    white = np.arange(8).reshape(2, 2, 2) % 2.0
    t1w = np.where(white > 0, 100.0, 70.0)
    assert grey_white_contrast(t1w, 1 - white, white) == pytest.approx(0.3)
    assert grey_white_contrast(170 - t1w, 1 - white, white) == pytest.approx(-30 / 70)
    assert np.isnan(grey_white_contrast(t1w, white * 0, white))


def test_voxels_as_large_as_a_block_have_a_bias_field_too():
    scan, truth, mask, affine, field = make_brain((20, 24, 20), (6.0, 6.0, 6.0), noise=2.0)
    log = log_field(find_tissues(scan, mask, affine), Grid(scan.shape, affine))
    white = truth[2] > 0.9
    assert np.corrcoef(log[white], field[white])[0, 1] > 0.95


def test_a_brain_without_a_block_of_white_or_grey_matter_has_no_field():
    basis = make_basis(np.argwhere(np.ones((4, 4, 4))), 5)
    nothing = (np.zeros(64), np.zeros(64))
    assert (fit_both(basis, [nothing, nothing]) == 0).all()
