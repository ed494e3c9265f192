"""Gradient schemes and signals whose truth is known in closed form."""

import numpy as np
import pytest


def spread_directions(n, seed=0):
    """Return n unit vectors, shape (n, 3)."""
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def add_rician_noise(signal, snr, seed):
    """Return magnitude signals of a scan whose b0 signal has this ratio to the noise."""
    noise = np.random.default_rng(seed).normal(scale=1 / snr, size=(2, *signal.shape))
    return np.hypot(signal + noise[0], noise[1])


class Mixture:
    """Gaussian compartments seen through their first two cumulants.

    Diffusivity along a direction has mean D(n) and variance V(n) over the
    compartments, so kurtosis is K(n) = 3 V(n) / D(n)² and the log signal of
    the kurtosis model is -b D(n) + b² V(n) / 2, with no tensor elements.
    """

    def __init__(self, fractions, tensors):
        self.fractions = np.asarray(fractions, dtype=float)
        self.tensors = np.asarray(tensors, dtype=float)
        self.mean_tensor = np.einsum("c,cij->ij", self.fractions, self.tensors)
        self.evals, evecs = np.linalg.eigh(self.mean_tensor)
        self.axis = evecs[:, 2]
        self.across = evecs[:, :2]

    def along(self, directions):
        """Return D(n) and V(n), each of shape (n,)."""
        each = np.einsum("ni,cij,nj->cn", directions, self.tensors, directions)
        mean = self.fractions @ each
        return mean, self.fractions @ each**2 - mean**2

    def signal(self, bvals, bvecs):
        """Return noise-free signals with S0 = 1, shape (n,)."""
        mean, variance = self.along(bvecs)
        return np.exp(-bvals * mean + bvals**2 * variance / 2)

    def kurtosis(self, directions):
        """Return K(n), shape (n,)."""
        mean, variance = self.along(directions)
        return 3 * variance / mean**2

    def mean_kurtosis(self):
        """Integrate K over the sphere by quadrature."""
        heights, weights = np.polynomial.legendre.leggauss(200)
        angle = np.arange(400) * 2 * np.pi / 400
        radius = np.sqrt(1 - heights**2)[:, None]
        grid = [radius * np.cos(angle), radius * np.sin(angle), heights[:, None] + 0 * angle]
        values = self.kurtosis(np.stack(grid, axis=-1).reshape(-1, 3)).reshape(200, 400)
        return float(weights @ values.mean(axis=1) / 2)

    def radial_kurtosis(self):
        """Integrate K over the circle across the principal direction."""
        angle = np.arange(1000) * 2 * np.pi / 1000
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ self.across.T
        return float(self.kurtosis(circle).mean())


def make_bundle(axis, axial, radial):
    """Return an axially symmetric tensor, mm²/s."""
    axis = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    return radial * np.eye(3) + (axial - radial) * np.outer(axis, axis)


@pytest.fixture(scope="session")
def one_shell():
    """3 b0 volumes and 30 directions at b = 1000: bvals, bvecs."""
    bvals = np.r_[np.zeros(3), np.full(30, 1000.0)]
    return bvals, np.vstack([np.zeros((3, 3)), spread_directions(30)])


@pytest.fixture(scope="session")
def two_shells():
    """4 b0 volumes and 30 directions each at b = 1000 and 2000: bvals, bvecs."""
    bvals = np.r_[np.full(4, 5.0), np.full(30, 1000.0), np.full(30, 2000.0)]
    return bvals, np.vstack([np.zeros((4, 3)), spread_directions(60, seed=1)])


@pytest.fixture(scope="session")
def mixtures():
    """Compartments without symmetry, and the cases of equal eigenvalues, by name."""
    x, y, z = np.eye(3)
    crooked = [
        make_bundle([1, 1, 0], 2.0e-3, 3e-4),
        make_bundle([1, 0, 0.3], 1.4e-3, 5e-4),
        np.diag([1.1e-3, 1.0e-3, 0.8e-3]),
    ]
    along = [make_bundle(z, 1.9e-3, 2e-4), make_bundle(z, 1.0e-3, 7e-4)]
    sticks = [make_bundle(axis, 1.8e-3, 3e-4) for axis in (x, y, z)]
    nearly = [sticks[0], sticks[1] * 1.0001, sticks[2] * 0.9999]
    disc = [make_bundle(x, 1.8e-3, 3e-4), make_bundle(y, 1.8e-3, 3e-4)]
    balls = [0.5e-3 * np.eye(3), 1.5e-3 * np.eye(3)]
    return {
        "no two equal": Mixture([0.4, 0.35, 0.25], crooked),
        "smaller two equal": Mixture([0.6, 0.4], along),
        "larger two equal": Mixture([0.5, 0.5], disc),
        "all equal": Mixture([1 / 3] * 3, sticks),
        "all nearly equal": Mixture([1 / 3] * 3, nearly),
        "isotropic": Mixture([0.5, 0.5], balls),
    }


@pytest.fixture(scope="session")
def noisy_two_shells(two_shells):
    """A (6, 5, 4, 64) scan of two-compartment voxels in all directions, SNR 40."""
    bvals, bvecs = two_shells
    rng = np.random.default_rng(2)
    voxels = [
        Mixture(
            [part, 1 - part], [make_bundle(axis, 1.9e-3, 3e-4), make_bundle(axis, 1.2e-3, 7e-4)]
        )
        for axis, part in zip(
            spread_directions(120, seed=3), rng.uniform(0.2, 0.8, 120), strict=True
        )
    ]
    signal = np.array([voxel.signal(bvals, bvecs) for voxel in voxels])
    return 500 * add_rician_noise(signal, 40, seed=4).reshape(6, 5, 4, -1)


@pytest.fixture(scope="session")
def broken_scan(noisy_two_shells):
    """The noisy scan with zero, negative, missing and infinite samples, and dead voxels."""
    dwi = noisy_two_shells.copy()
    rng = np.random.default_rng(5)
    for value in (0, -20, np.nan, np.inf, -np.inf, 1e30):
        dwi[rng.random(dwi.shape) < 0.02] = value
    dwi[0, 0, 0] = 0
    dwi[0, 0, 1] = np.nan
    dwi[0, 0, 2, :4] = 0
    return dwi
