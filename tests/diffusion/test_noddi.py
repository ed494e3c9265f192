"""Tests of NODDI: integration over the sphere, recovery, invariances, refusals."""

import numpy as np
import pytest

from bids_sexclf.diffusion import count_impossible, fit_noddi
from bids_sexclf.diffusion._neurites import ShellSignals
from bids_sexclf.diffusion.noddi import MAPS
from bids_sexclf.errors import InputError

PARALLEL, FREE = 1.7e-3, 3.0e-3


def spread(n, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sphere(axis, dispersion):
    """Return directions all over the sphere, and their weights in a Watson distribution."""
    heights, weights = np.polynomial.legendre.leggauss(200)
    angle = np.arange(100) * 2 * np.pi / 100
    radius = np.sqrt(1 - heights**2)[:, None]
    grid = np.stack(
        [radius * np.cos(angle), radius * np.sin(angle), heights[:, None] + 0 * angle], axis=-1
    )
    frame, _ = np.linalg.qr(np.column_stack([axis, spread(2, seed=9).T]))
    frame = frame[:, [1, 2, 0]] * np.sign(frame[:, 0] @ axis)
    concentration = 1 / np.tan(np.pi / 2 * dispersion)
    density = np.repeat(weights * np.exp(concentration * (heights**2 - 1)), 100)
    return grid.reshape(-1, 3) @ frame.T, density / density.sum()


def simulate(bvals, bvecs, axis, density, dispersion, water):
    """Integrate the model of Zhang et al. (2012) over the sphere: signals with S0 = 1."""
    directions, weights = sphere(axis, dispersion)
    within = weights @ np.exp(-bvals * PARALLEL * (directions @ bvecs.T) ** 2)
    spreading = np.einsum("q,qi,qj->ij", weights, directions, directions)
    around = PARALLEL * ((1 - density) * np.eye(3) + density * spreading)
    around = np.exp(-bvals * np.einsum("ni,ij,nj->n", bvecs, around, bvecs))
    tissue = density * within + (1 - density) * around
    return (1 - water) * tissue + water * np.exp(-bvals * FREE)


@pytest.fixture(scope="module")
def scheme():
    """6 b0 volumes and 30, 30 and 60 directions at b = 700, 1000 and 2500: bvals, bvecs."""
    bvals = np.repeat([0.0, 700, 1000, 2500], [6, 30, 30, 60])
    bvecs = np.vstack([np.zeros((6, 3)), spread(120, seed=1)])
    order = np.random.default_rng(0).permutation(bvals.size)
    return bvals[order], bvecs[order]


@pytest.fixture(scope="module")
def tissue(scheme):
    """Signals of forty voxels, shape (5, 4, 2, 126), and their ICVF, ODI and ISOVF."""
    rng = np.random.default_rng(3)
    truth = np.column_stack(
        [rng.uniform(0.2, 0.8, 40), rng.uniform(0.04, 0.6, 40), rng.uniform(0, 0.5, 40)]
    )
    truth[::4, 2] = 0
    axes = spread(40, seed=4)
    signal = [simulate(*scheme, axis, *each) for axis, each in zip(axes, truth, strict=True)]
    return np.reshape(signal, (5, 4, 2, -1)), truth.T.reshape(3, 5, 4, 2)


@pytest.mark.parametrize("dispersion", [0.01, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("density", [0.0, 0.3, 0.9])
def test_series_of_a_shell_is_the_integral_over_the_sphere(density, dispersion):
    axis = spread(1, seed=5)[0]
    bvecs = spread(20, seed=6)
    signals = ShellSignals([1000, 3000])
    series = signals.tissue(np.array([density]), np.array([dispersion]))[0][..., 0]
    for shell, b in zip(series, (1000.0, 3000.0), strict=True):
        expanded = np.polynomial.legendre.legval(
            bvecs @ axis, np.insert(shell, range(1, shell.size + 1), 0)
        )
        truth = simulate(np.full(20, b), bvecs, axis, density, dispersion, 0)
        np.testing.assert_allclose(expanded, truth, atol=3e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_slopes_are_those_of_the_signal(which):
    signals = ShellSignals([0, 1000, 2500])
    point = np.array([[0.2, 0.5, 0.9], [0.05, 0.3, 0.8]])
    step = np.zeros((2, 1))
    step[which] = 1e-5
    slope = signals.tissue(*point)[1 + which]
    difference = (signals.tissue(*(point + step))[0] - signals.tissue(*(point - step))[0]) / 2e-5
    np.testing.assert_allclose(slope, difference, atol=1e-6)


def test_known_tissue_is_recovered(scheme, tissue):
    signal, truth = tissue
    maps = fit_noddi(300 * signal, *scheme)
    for name, expected in zip(("ICVF", "ODI", "ISOVF"), truth, strict=True):
        np.testing.assert_allclose(maps[name], expected, atol=2e-3, err_msg=name)
    np.testing.assert_allclose(maps["S0"], 300, rtol=1e-3)


def test_noise_leaves_estimates_near_the_truth_and_without_bias(scheme, tissue):
    signal, truth = tissue
    noise = np.random.default_rng(7).normal(scale=1 / 60, size=(2, *signal.shape))
    maps = fit_noddi(np.hypot(signal + noise[0], noise[1]), *scheme)
    for name, expected in zip(("ICVF", "ODI", "ISOVF"), truth, strict=True):
        error = maps[name] - expected
        assert np.median(np.abs(error)) < 0.05, name
        assert abs(np.median(error)) < 0.02, name


def test_fluid_is_fluid(scheme):
    bvals, bvecs = scheme
    maps = fit_noddi(np.exp(-bvals * FREE).reshape(1, 1, 1, -1), bvals, bvecs)
    assert maps["ISOVF"].item() == pytest.approx(1, abs=1e-3)


def test_turning_head_and_gradients_together_changes_no_scalar(scheme, tissue):
    bvals, bvecs = scheme
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    still, turned = (fit_noddi(tissue[0], bvals, g) for g in (bvecs, bvecs @ turn.T))
    for name, values in still.items():
        np.testing.assert_allclose(turned[name], values, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("options", [{"chunk_size": 7}, {"n_threads": 2, "chunk_size": 11}])
def test_chunks_and_threads_change_no_map(scheme, tissue, options):
    whole, parts = fit_noddi(tissue[0], *scheme), fit_noddi(tissue[0], *scheme, **options)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, atol=1e-4, err_msg=name)


@pytest.mark.filterwarnings("error")
def test_broken_samples_leave_maps_in_range_and_are_counted(scheme, tissue):
    signal = tissue[0].copy()
    rng = np.random.default_rng(8)
    for value in (0, -20, np.nan, np.inf, 1e30):
        signal[rng.random(signal.shape) < 0.02] = value
    signal[0, 0, 0] = 0
    signal[0, 0, 1] = np.nan
    maps = fit_noddi(signal, *scheme, counts=True)
    for record in MAPS:
        values = maps[record.name]
        assert values.dtype == np.float32 and np.isfinite(values).all()
        fitted = values[1:]
        assert fitted.min() >= np.float32(record.range[0])
        assert fitted.max() <= record.range[1]
    assert count_impossible(maps)["empty_voxels"] == 2
    assert not maps["ODI"][0, 0].any()


@pytest.mark.parametrize("kept", [[0, 700], [700, 2500]])
def test_one_shell_or_no_b0_is_refused_with_what_to_do(scheme, kept):
    bvals, bvecs = scheme
    here = np.isin(bvals, kept)
    with pytest.raises(InputError, match="NODDI needs b0 and two shells.*leave NODDI out"):
        fit_noddi(np.ones((1, 1, 1, here.sum())), bvals[here], bvecs[here])
