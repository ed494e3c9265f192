"""Tests of eigenvalues and Cholesky solutions over many voxels: LAPACK, and hard cases."""

import numpy as np
import pytest

from bids_sexclf.diffusion._frames import eigenframes
from bids_sexclf.diffusion._least_squares import solve_positive

ELEMENTS = ([0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2])


def turned(evals, seed=0):
    """Return matrices (n, 3, 3) with these eigenvalues (n, 3) in frames drawn at random."""
    frames, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(evals), 3, 3)))
    return np.einsum("nij,nj,nkj->nik", frames, evals, frames)


HARD = {
    "random": np.random.default_rng(1).normal(size=(5000, 3)),
    "small": np.random.default_rng(2).normal(size=(500, 3)) * 1e-12,
    "large": np.random.default_rng(3).normal(size=(500, 3)) * 1e9,
    "smaller two equal": np.tile([2.0, 1.0, 1.0], (200, 1)),
    "larger two equal": np.tile([2.0, 2.0, 1.0], (200, 1)),
    "all equal": np.tile([1.0, 1.0, 1.0], (200, 1)),
    "nearly equal": 1 + np.random.default_rng(4).normal(size=(500, 3)) * 1e-9,
    "two nearly equal": np.tile([1.0, 0.3, 0.3 + 1e-11], (200, 1)),
    "one axis": np.tile([1.0, 0.0, 0.0], (200, 1)),
    "zero": np.zeros((3, 3)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", HARD)
def test_frames_make_their_matrices_again(case):
    matrices = turned(HARD[case])
    evals, evecs = eigenframes(matrices[:, ELEMENTS[0], ELEMENTS[1]].T)
    scale = np.abs(HARD[case]).max() or 1
    again = np.einsum("iav,av,jav->vij", evecs, evals, evecs)
    np.testing.assert_allclose(again, matrices, atol=1e-13 * scale)
    np.testing.assert_allclose(
        np.einsum("iav,ibv->vab", evecs, evecs),
        np.tile(np.eye(3), (len(matrices), 1, 1)),
        atol=1e-13,
    )
    np.testing.assert_allclose(evals.T, np.linalg.eigvalsh(matrices)[:, ::-1], atol=1e-13 * scale)


def test_axes_of_diagonal_matrices_are_the_axes():
    evals, evecs = eigenframes(np.array([[1.0, 0, 0, 3, 0, 2]]).T)
    assert evals[:, 0].tolist() == [3, 2, 1]
    np.testing.assert_allclose(np.abs(evecs[..., 0]), np.eye(3)[:, [1, 2, 0]], atol=1e-15)


def test_positive_systems_are_solved_as_by_lapack():
    rng = np.random.default_rng(5)
    factors = rng.normal(size=(300, 9, 12))
    matrices = factors @ factors.transpose(0, 2, 1)
    right = rng.normal(size=(300, 9))
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    cells = np.arange(81).reshape(9, 9)
    found, _ = solve_positive(matrices.transpose(1, 2, 0).reshape(81, -1), cells, right.T)
    np.testing.assert_allclose(found.T, expected, rtol=1e-6, atol=1e-8)
