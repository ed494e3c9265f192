"""Tests of the tensor fit: closed forms, dipy, invariances, refusals."""

import numpy as np
import pytest

from bids_sexclf.diffusion import count_impossible, fit_tensor
from bids_sexclf.diffusion.tensor import MAPS
from bids_sexclf.errors import InputError


def simulate(tensor, bvals, bvecs, s0=300.0):
    exponent = -bvals * np.einsum("ni,ij,nj->n", bvecs, tensor, bvecs)
    return (s0 * np.exp(exponent)).reshape(1, 1, 1, -1)


def rotation(seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


@pytest.mark.parametrize("method", ["WLS", "OLS"])
@pytest.mark.parametrize(
    ("evals", "fa"),
    [
        # FA² = 3/2 Σ(λ - mean)² / Σλ²
        ((1.0e-3, 1.0e-3, 1.0e-3), 0.0),
        ((2.0e-3, 1.0e-3, 1.0e-3), np.sqrt(1 / 6)),
        ((1.7e-3, 0.2e-3, 0.2e-3), np.sqrt(2.25 / 2.97)),
        ((1.5e-3, 1.0e-3, 0.5e-3), np.sqrt(1.5 * 0.5 / 3.5)),
    ],
)
def test_single_tensor_gives_the_maps_worked_out_by_hand(one_shell, method, evals, fa):
    turn = rotation()
    tensor = turn @ np.diag(evals) @ turn.T
    maps = fit_tensor(simulate(tensor, *one_shell), *one_shell, method=method)
    assert maps["FA"].item() == pytest.approx(fa, abs=1e-6)
    assert maps["MD"].item() == pytest.approx(sum(evals) / 3, rel=1e-6)
    assert maps["AD"].item() == pytest.approx(evals[0], rel=1e-6)
    assert maps["RD"].item() == pytest.approx((evals[1] + evals[2]) / 2, rel=1e-6)
    assert maps["S0"].item() == pytest.approx(300, rel=1e-6)


def test_principal_direction_is_the_axis_of_the_tensor(one_shell):
    turn = rotation(1)
    tensor = turn @ np.diag([1.7e-3, 0.4e-3, 0.2e-3]) @ turn.T
    maps = fit_tensor(simulate(tensor, *one_shell), *one_shell, directions=True)
    assert maps["V1"].shape == (1, 1, 1, 3)
    assert abs(maps["V1"][0, 0, 0] @ turn[:, 0]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", ["WLS", "OLS"])
def test_noisy_scan_agrees_with_dipy(noisy_two_shells, two_shells, method):
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    bvals, bvecs = two_shells
    options = {"b_max": np.inf, "method": method, "signal_floor": 1e-6}
    maps = fit_tensor(noisy_two_shells, bvals, bvecs, **options)
    table = gradient_table(bvals, bvecs=bvecs, b0_threshold=50)
    fit = TensorModel(table, fit_method=method).fit(noisy_two_shells)
    for name, top in [("fa", 1), ("md", 3e-3), ("ad", 3e-3), ("rd", 3e-3)]:
        difference = np.abs(maps[name.upper()] - getattr(fit, name))
        assert np.median(difference) < 1e-6 * top
        assert difference.max() < 1e-4 * top


@pytest.mark.parametrize("name", ["small_64D", "small_101D", "small_25"])
def test_real_crop_agrees_with_dipy_where_no_signal_is_floored(name):
    from dipy.core.gradients import gradient_table
    from dipy.data import get_fnames
    from dipy.io.gradients import read_bvals_bvecs
    from dipy.io.image import load_nifti_data
    from dipy.reconst.dti import TensorModel

    scan, bval, bvec = get_fnames(name=name)
    dwi = load_nifti_data(scan)
    bvals, bvecs = read_bvals_bvecs(str(bval), str(bvec))
    maps = fit_tensor(dwi, bvals, bvecs, b_max=np.inf, counts=True)
    fit = TensorModel(gradient_table(bvals, bvecs=bvecs)).fit(dwi)
    whole = (maps["n_floored"] == 0) & (maps["n_clipped"] == 0)
    assert whole.mean() > 0.5
    assert np.median(np.abs(maps["FA"] - fit.fa)[whole]) < 1e-4
    assert np.median(np.abs(maps["MD"] - fit.md)[whole]) < 1e-4 * 3e-3


class OnDisk:
    """A scan that can be sliced and is no array; it remembers what was asked of it."""

    def __init__(self, array):
        self.array, self.asked = array, []
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype

    def __getitem__(self, key):
        part = self.array[key]
        self.asked.append(part.size)
        return part

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("it was read as a whole")


@pytest.mark.parametrize("order", ["C", "F"])
def test_slabs_give_the_maps_of_the_whole(noisy_two_shells, two_shells, order, monkeypatch):
    from bids_sexclf.diffusion import _voxels

    mask = np.random.default_rng(0).random(noisy_two_shells.shape[:3]) < 0.5
    whole = fit_tensor(noisy_two_shells, *two_shells, mask, directions=True)
    # A slab of one plane.
    monkeypatch.setattr(_voxels, "SLAB_BYTES", 1)
    scan = OnDisk(np.array(noisy_two_shells, order=order))
    slabs = fit_tensor(scan, *two_shells, mask, directions=True)
    assert max(scan.asked) == noisy_two_shells[:, :, 0].size
    for name, values in whole.items():
        np.testing.assert_allclose(slabs[name], values, rtol=1e-4, atol=1e-7, err_msg=name)


def test_a_mapped_file_gives_the_maps_of_its_values(noisy_two_shells, two_shells, tmp_path):
    np.save(tmp_path / "scan.npy", noisy_two_shells.astype(np.float32))
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    expected = fit_tensor(noisy_two_shells, *two_shells)
    for name, values in fit_tensor(mapped, *two_shells).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-7, err_msg=name)


def test_turning_head_and_gradients_together_changes_no_scalar(noisy_two_shells, two_shells):
    bvals, bvecs = two_shells
    turn = rotation(2)
    still = fit_tensor(noisy_two_shells, bvals, bvecs, directions=True)
    turned = fit_tensor(noisy_two_shells, bvals, bvecs @ turn.T, directions=True)
    for record in MAPS:
        np.testing.assert_allclose(turned[record.name], still[record.name], rtol=1e-4)
    cosine = np.abs(np.sum(turned["V1"] * (still["V1"] @ turn.T), axis=-1))
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_computed_maps_are_the_declared_ones_and_in_range(broken_scan, two_shells):
    maps = fit_tensor(broken_scan, *two_shells)
    assert list(maps) == [record.name for record in MAPS]
    for record in MAPS:
        values = maps[record.name]
        low, high = np.float32(record.range)
        assert values.dtype == np.float32 and values.shape == broken_scan.shape[:3]
        assert np.isfinite(values).all()
        assert low <= values.min() and values.max() <= high


def test_voxels_without_b0_signal_are_zero_and_counted(broken_scan, two_shells):
    maps = fit_tensor(broken_scan, *two_shells, b_max=np.inf, counts=True)
    for record in MAPS:
        assert not maps[record.name][0, 0, :3].any()
    n_volumes = broken_scan.shape[-1]
    assert maps["n_floored"][0, 0, :3].tolist() == [n_volumes] * 3
    assert count_impossible(maps)["empty_voxels"] == 3


def test_every_floored_sample_and_clipped_eigenvalue_is_counted(one_shell):
    bvals, bvecs = one_shell
    dwi = np.tile(simulate(1e-3 * np.eye(3), bvals, bvecs), (2, 2, 1, 1))
    # Signal that grows with b asks for negative diffusion in all three directions.
    dwi[1, 1, 0] = 300 * np.exp(0.5e-3 * bvals)
    dwi[0, 0, 0, 10:13] = [0, -5, np.nan]
    dwi[0, 1, 0, 20] = 300 * 0.0009
    maps = fit_tensor(dwi, bvals, bvecs, counts=True)
    assert maps["n_floored"][..., 0].tolist() == [[3, 1], [0, 0]]
    assert maps["n_clipped"][..., 0].tolist() == [[0, 0], [0, 3]]
    assert count_impossible(maps) == {
        "floored_samples": 4,
        "floored_voxels": 2,
        "clipped_estimates": 3,
        "clipped_voxels": 1,
        "empty_voxels": 0,
    }


@pytest.mark.parametrize("lost", [0, -30, np.nan, np.inf])
def test_one_lost_sample_hardly_moves_fa(one_shell, lost):
    bvals, bvecs = one_shell
    dwi = simulate(np.diag([0.9e-3, 0.8e-3, 0.7e-3]), bvals, bvecs)
    truth = fit_tensor(dwi, bvals, bvecs)["FA"].item()
    dwi[..., 7] = lost
    assert fit_tensor(dwi, bvals, bvecs)["FA"].item() == pytest.approx(truth, abs=0.005)


@pytest.mark.parametrize("options", [{"chunk_size": 1}, {"chunk_size": 7}, {"n_threads": 2}])
def test_chunks_and_threads_change_no_map(broken_scan, two_shells, options):
    whole = fit_tensor(broken_scan, *two_shells, chunk_size=10_000)
    parts = fit_tensor(broken_scan, *two_shells, **({"chunk_size": 11} | options))
    for name, values in whole.items():
        # Sums in float32 round otherwise; in a ruined voxel by up to 1e-7 mm²/s.
        allowed = 1e-6 if name == "FA" else 1e-7
        np.testing.assert_allclose(parts[name], values, rtol=1e-4, atol=allowed, err_msg=name)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_type_and_memory_order_of_the_scan_change_no_map(noisy_two_shells, two_shells, dtype):
    rounded = np.round(noisy_two_shells)
    expected = fit_tensor(rounded, *two_shells)
    maps = fit_tensor(np.asfortranarray(rounded.astype(dtype)), *two_shells)
    for name, values in expected.items():
        np.testing.assert_allclose(maps[name], values, rtol=1e-4, atol=1e-9)


def test_maps_are_zero_outside_the_mask_and_unchanged_inside(noisy_two_shells, two_shells):
    mask = np.random.default_rng(0).random(noisy_two_shells.shape[:3]) < 0.5
    whole = fit_tensor(noisy_two_shells, *two_shells)
    masked = fit_tensor(noisy_two_shells, *two_shells, mask)
    for name, values in whole.items():
        np.testing.assert_allclose(masked[name], np.where(mask, values, 0), rtol=1e-5)


def test_scaling_the_scan_scales_s0_and_nothing_else(noisy_two_shells, two_shells):
    plain = fit_tensor(noisy_two_shells, *two_shells)
    scaled = fit_tensor(noisy_two_shells * 1e-3, *two_shells)
    np.testing.assert_allclose(scaled.pop("S0"), plain.pop("S0") * 1e-3, rtol=1e-5)
    for name, values in plain.items():
        np.testing.assert_allclose(scaled[name], values, rtol=1e-4)


def test_high_shell_is_left_out_by_default_because_kurtosis_lowers_md(two_shells, mixtures):
    bvals, bvecs = two_shells
    mixture = mixtures["isotropic"]
    dwi = mixture.signal(bvals, bvecs).reshape(1, 1, 1, -1)
    low = bvals < 1500
    default = fit_tensor(dwi, bvals, bvecs)["MD"].item()
    only_low = fit_tensor(dwi[..., low], bvals[low], bvecs[low])["MD"].item()
    everything = fit_tensor(dwi, bvals, bvecs, b_max=np.inf)["MD"].item()
    assert default == pytest.approx(only_low, rel=1e-6)
    assert everything < default < mixture.evals.mean()


def test_high_shell_is_used_where_the_low_one_has_too_few_directions(two_shells, mixtures):
    bvals, bvecs = (part[np.r_[0:12, 34:64]] for part in two_shells)
    dwi = mixtures["no two equal"].signal(bvals, bvecs).reshape(1, 1, 1, -1)
    default = fit_tensor(dwi, bvals, bvecs)
    everything = fit_tensor(dwi, bvals, bvecs, b_max=np.inf)
    assert default["MD"].item() == everything["MD"].item()


def test_two_b_values_without_b0_are_enough(two_shells):
    bvals, bvecs = (part[4:] for part in two_shells)
    dwi = simulate(np.diag([1.5e-3, 0.5e-3, 0.4e-3]), bvals, bvecs)
    assert fit_tensor(dwi, bvals, bvecs)["MD"].item() == pytest.approx(0.8e-3, rel=1e-5)


def test_one_shell_without_b0_is_refused(one_shell):
    bvals, bvecs = (part[3:] for part in one_shell)
    bvals = bvals + np.resize([-5, 0, 5], bvals.size)
    with pytest.raises(InputError, match="6 of the 7 unknowns.*b0 or a second b-value.*use a scan"):
        fit_tensor(np.ones((1, 1, 1, bvals.size)), bvals, bvecs)


@pytest.mark.parametrize("case", ["five directions", "one plane"])
def test_directions_that_leave_the_tensor_open_are_refused(one_shell, case):
    bvals, bvecs = one_shell
    if case == "five directions":
        bvals, bvecs = bvals[:8], bvecs[:8]
    else:
        bvecs = bvecs * [1, 1, 0]
        bvecs[3:] /= np.linalg.norm(bvecs[3:], axis=1, keepdims=True)
    with pytest.raises(InputError, match="6 non-collinear directions"):
        fit_tensor(np.ones((1, 1, 1, bvals.size)), bvals, bvecs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dwi": np.ones((2, 2, 33))}, "shape \\(2, 2, 33\\).*\\(X, Y, Z, N\\).*pass the whole"),
        ({"dwi": np.ones((2, 2, 2, 33), complex)}, "complex128.*real numbers"),
        ({"dwi": np.ones((2, 2, 2, 32))}, "bvals has shape .33,. for 32.*bvecs has shape"),
        ({"bvecs": np.zeros((3, 33))}, "\\(33, 3\\) is needed; transpose it"),
        ({"bvecs": np.zeros((33, 3))}, "lengths .*length 1 is needed.*correct"),
        ({"bvals": np.full(33, np.nan)}, "finite values of at least 0.*correct the .bval"),
        ({"mask": np.ones((2, 2, 3), bool)}, "mask has shape \\(2, 2, 3\\).*resample"),
        ({"method": "NLLS"}, "'NLLS' is unknown; choose one of .'WLS', 'OLS'"),
        ({"signal_floor": 0}, "signal_floor is 0; a fraction.*default"),
        ({"chunk_size": 0}, "chunk_size is 0.*at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_what_to_do(one_shell, change, message):
    arguments = {"dwi": np.ones((2, 2, 2, 33)), "bvals": one_shell[0], "bvecs": one_shell[1]}
    with pytest.raises(InputError, match=message):
        fit_tensor(**(arguments | change))


def test_counting_maps_fitted_without_counts_is_refused(one_shell):
    maps = fit_tensor(np.ones((1, 1, 1, 33)), *one_shell)
    with pytest.raises(InputError, match="lack.*counts=True"):
        count_impossible(maps)
