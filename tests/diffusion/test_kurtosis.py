"""Tests of the kurtosis fit: quadrature of the definition, dipy, invariances, refusals."""

import numpy as np
import pytest

from bids_sexclf.diffusion import count_impossible, fit_kurtosis
from bids_sexclf.diffusion._gradients import check_gradients
from bids_sexclf.diffusion._least_squares import LinearModel, log_signal, solve
from bids_sexclf.diffusion.kurtosis import KURTOSIS_POWERS, MAPS, mean_kurtosis
from bids_sexclf.errors import InputError

ROUNDING = 1e-4
"""What sums in float32 may do to kurtosis: a hundredth of what is allowed between programs."""

CASES = [
    "no two equal",
    "smaller two equal",
    "larger two equal",
    "all equal",
    "all nearly equal",
    "isotropic",
]


@pytest.mark.parametrize("method", ["WLS", "OLS"])
@pytest.mark.parametrize("case", CASES)
def test_noise_free_kurtosis_is_its_integral_over_directions(mixtures, two_shells, case, method):
    mixture = mixtures[case]
    dwi = 200 * mixture.signal(*two_shells).reshape(1, 1, 1, -1)
    maps = fit_kurtosis(dwi, *two_shells, method=method)
    assert maps["MK"].item() == pytest.approx(mixture.mean_kurtosis(), rel=2e-4)
    assert maps["MD"].item() == pytest.approx(mixture.evals.mean(), rel=1e-5)
    assert maps["AD"].item() == pytest.approx(mixture.evals[2], rel=1e-5)
    assert maps["S0"].item() == pytest.approx(200, rel=1e-5)


@pytest.mark.parametrize("case", ["no two equal", "smaller two equal", "isotropic"])
def test_axial_and_radial_kurtosis_are_exact_where_there_is_one_axis(mixtures, two_shells, case):
    mixture = mixtures[case]
    dwi = mixture.signal(*two_shells).reshape(1, 1, 1, -1)
    maps = fit_kurtosis(dwi, *two_shells)
    assert maps["AK"].item() == pytest.approx(mixture.kurtosis(mixture.axis[None])[0], rel=1e-4)
    assert maps["RK"].item() == pytest.approx(mixture.radial_kurtosis(), rel=1e-4)


def test_two_isotropic_compartments_have_kurtosis_three_variance_over_mean_squared(
    mixtures, two_shells
):
    # Diffusivities 0.5 and 1.5 in equal parts: mean 1, variance 0.25.
    dwi = mixtures["isotropic"].signal(*two_shells).reshape(1, 1, 1, -1)
    maps = fit_kurtosis(dwi, *two_shells)
    for name in ("MK", "AK", "RK"):
        assert maps[name].item() == pytest.approx(0.75, rel=1e-4)
    assert maps["KFA"].item() == pytest.approx(0, abs=1e-4)


def test_free_diffusion_has_no_kurtosis(two_shells):
    bvals, bvecs = two_shells
    tensor = np.diag([1.5e-3, 0.7e-3, 0.3e-3])
    dwi = np.exp(-bvals * np.einsum("ni,ij,nj->n", bvecs, tensor, bvecs)).reshape(1, 1, 1, -1)
    maps = fit_kurtosis(dwi, bvals, bvecs)
    for name in ("MK", "AK", "RK"):
        assert maps[name].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("method", ["WLS", "OLS"])
def test_noisy_scan_agrees_with_dipy(noisy_two_shells, two_shells, method):
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dki import DiffusionKurtosisModel

    bvals, bvecs = two_shells
    maps = fit_kurtosis(noisy_two_shells, bvals, bvecs, method=method, signal_floor=1e-6)
    table = gradient_table(bvals, bvecs=bvecs, b0_threshold=50)
    fit = DiffusionKurtosisModel(table, fit_method=method).fit(noisy_two_shells)
    limits = {"min_kurtosis": -3 / 7, "max_kurtosis": 10}
    truth = {"FA": fit.fa, "MD": fit.md, "AD": fit.ad, "RD": fit.rd, "KFA": fit.kfa}
    truth |= {"MK": fit.mk(**limits), "AK": fit.ak(**limits), "RK": fit.rk(**limits)}
    allowed = {"MD": 3e-7, "AD": 3e-7, "RD": 3e-7, "MK": 1e-3, "RK": 1e-3, "AK": 1e-3}
    for name, expected in truth.items():
        assert np.median(np.abs(maps[name] - expected)) < allowed.get(name, 1e-4), name


def test_turning_head_and_gradients_together_changes_no_scalar(noisy_two_shells, two_shells):
    bvals, bvecs = two_shells
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    still = fit_kurtosis(noisy_two_shells, bvals, bvecs)
    turned = fit_kurtosis(noisy_two_shells, bvals, bvecs @ turn.T)
    for name, values in still.items():
        np.testing.assert_allclose(turned[name], values, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.filterwarnings("error")
def test_computed_maps_are_the_declared_ones_and_in_range(broken_scan, two_shells):
    maps = fit_kurtosis(broken_scan, *two_shells)
    assert list(maps) == [record.name for record in MAPS]
    for record in MAPS:
        values = maps[record.name]
        low, high = np.float32(record.range)
        assert values.dtype == np.float32 and values.shape == broken_scan.shape[:3]
        assert np.isfinite(values).all()
        assert low <= values.min() and values.max() <= high


def test_every_map_names_its_units_and_source():
    for record in MAPS:
        assert record.units and record.description.endswith(".")
        assert record.source.startswith("10.")
        assert record.range[0] < record.range[1]


def test_kurtosis_is_undefined_and_counted_where_diffusion_is_negative(two_shells):
    bvals, bvecs = two_shells
    tensor = np.diag([1.5e-3, 0.5e-3, -0.3e-3])
    dwi = np.exp(-bvals * np.einsum("ni,ij,nj->n", bvecs, tensor, bvecs)).reshape(1, 1, 1, -1)
    maps = fit_kurtosis(dwi, bvals, bvecs, counts=True)
    assert [maps[name].item() for name in ("MK", "AK", "RK")] == [0, 0, 0]
    # One eigenvalue and three kurtosis values.
    assert count_impossible(maps)["clipped_estimates"] == 4


def test_kurtosis_is_clipped_to_the_limits_asked_for_and_counted(mixtures, two_shells):
    dwi = mixtures["isotropic"].signal(*two_shells).reshape(1, 1, 1, -1)
    maps = fit_kurtosis(dwi, *two_shells, max_kurtosis=0.5, counts=True)
    assert [maps[name].item() for name in ("MK", "AK", "RK")] == [0.5, 0.5, 0.5]
    assert maps["n_clipped"].item() == 3


def test_voxels_without_b0_signal_are_zero_and_counted(broken_scan, two_shells):
    maps = fit_kurtosis(broken_scan, *two_shells, counts=True)
    for record in MAPS:
        assert not maps[record.name][0, 0, :3].any()
    assert count_impossible(maps)["empty_voxels"] == 3


@pytest.mark.parametrize("options", [{"chunk_size": 1}, {"chunk_size": 7}, {"n_threads": 2}])
def test_chunks_and_threads_change_no_map(noisy_two_shells, two_shells, options):
    whole = fit_kurtosis(noisy_two_shells, *two_shells, chunk_size=10_000)
    parts = fit_kurtosis(noisy_two_shells, *two_shells, **({"chunk_size": 11} | options))
    for name, values in whole.items():
        allowed = 1e-9 if name.endswith("D") else ROUNDING
        np.testing.assert_allclose(parts[name], values, rtol=1e-4, atol=allowed, err_msg=name)


def test_maps_are_zero_outside_the_mask_and_unchanged_inside(noisy_two_shells, two_shells):
    mask = np.random.default_rng(0).random(noisy_two_shells.shape[:3]) < 0.5
    whole = fit_kurtosis(noisy_two_shells, *two_shells)
    masked = fit_kurtosis(noisy_two_shells, *two_shells, mask)
    for name, values in whole.items():
        expected = np.where(mask, values, 0)
        allowed = 1e-9 if name.endswith("D") else ROUNDING
        np.testing.assert_allclose(masked[name], expected, rtol=1e-4, atol=allowed, err_msg=name)


def test_volumes_over_b_max_are_not_used(noisy_two_shells, two_shells):
    bvals, bvecs = two_shells
    extra = np.concatenate([noisy_two_shells, 0 * noisy_two_shells[..., :5]], axis=-1)
    more_bvals, more_bvecs = np.r_[bvals, np.full(5, 8000)], np.vstack([bvecs, bvecs[4:9]])
    plain = fit_kurtosis(noisy_two_shells, bvals, bvecs)
    limited = fit_kurtosis(extra, more_bvals, more_bvecs, b_max=3000)
    np.testing.assert_allclose(limited["MK"], plain["MK"], rtol=1e-5)


def test_one_shell_is_refused_though_its_b_values_scatter(one_shell):
    bvals, bvecs = one_shell
    bvals = bvals + np.where(bvals > 0, np.resize([-5, 0, 5], bvals.size), 0)
    with pytest.raises(InputError, match=r"1 shell.*two or more.*fit a tensor instead"):
        fit_kurtosis(np.ones((1, 1, 1, bvals.size)), bvals, bvecs)


def test_fourteen_directions_are_refused(two_shells):
    bvals, bvecs = two_shells
    once = bvecs[4:18]
    bvals, bvecs = np.r_[bvals[:4], np.repeat([1000, 2000], 14)], np.vstack([bvecs[:4], once, once])
    with pytest.raises(InputError, match="of the 22 unknowns of the kurtosis model.*15 dir"):
        fit_kurtosis(np.ones((1, 1, 1, bvals.size)), bvals, bvecs)


def test_mean_kurtosis_of_unequal_eigenvalues_is_its_integral():
    # With one element alone and an axis of symmetry, one integral is left.
    for ratio, error in [(2.0, 1e-7), (100.0, 1e-7), (1000.0, 1e-5), (5e4, 1e-3)]:
        evals = np.array([[ratio], [1.0], [1.0]])
        quartic = np.zeros((3, 3, 1))
        quartic[0, 0] = 1
        long = np.sqrt(ratio - 1)
        truth = (1 - 1.5 * np.arctan(long) / long + 0.5 / ratio) / long**4
        assert mean_kurtosis(evals, quartic).item() == pytest.approx(truth, rel=error)
        # The shortest axis apart, and the element along it.
        evals, quartic = np.array([[ratio], [ratio], [1.0]]), np.roll(quartic, -1, axis=(0, 1))
        flat = np.sqrt(1 - 1 / ratio)
        truth = (1 - 1.5 * np.arctanh(flat) / flat + 0.5 * ratio) / flat**4 / ratio**2
        assert mean_kurtosis(evals, quartic).item() == pytest.approx(truth, rel=error)


def test_fluid_at_high_b_is_fitted_as_in_float64(two_shells):
    bvals, bvecs = two_shells
    tensor = np.diag([3.2e-3, 3.0e-3, 2.9e-3])
    signal = np.exp(-2 * bvals * np.einsum("ni,ij,nj->n", bvecs, tensor, bvecs))
    noise = np.random.default_rng(0).normal(scale=0.02, size=(2, 200, bvals.size))
    dwi = np.hypot(signal + noise[0], noise[1]).astype(np.float32)
    maps = fit_kurtosis(dwi.reshape(10, 20, 1, -1), bvals, bvecs)
    logs, _, floored, _ = log_signal(dwi.T.astype(float), bvals < 50, 1e-3)
    gradients = check_gradients(dwi[None, None], bvals, bvecs, 50)
    model = LinearModel.from_powers(gradients, KURTOSIS_POWERS)
    exact = solve(model, logs, floored, "WLS", 1e-3)
    md = -exact[[1, 4, 6]].mean(axis=0) / 1000
    # Where an eigenvalue is clipped, MD is no longer the mean of the fitted ones.
    inside = (maps["AD"] < 0.99e-2).ravel() & (maps["RD"] > 1e-4).ravel()
    assert np.median(np.abs(maps["MD"].ravel() - md)) < 1e-8
    assert np.quantile(np.abs(maps["MD"].ravel() - md)[inside], 0.9) < 1e-7
