"""Colours of directions follow the body, whichever way the scan was stored."""

import numpy as np
import pytest

from bids_sexclf.diffusion import by_dipy, fit_tensor
from bids_sexclf.diffusion.colours import colour_directions


def frame_of(direction, affine):
    """Return a direction of the body in the frame of FSL's b-vectors of an image."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    along = np.linalg.solve(axes, direction)
    return along * ([-1, 1, 1] if np.linalg.det(axes) > 0 else [1, 1, 1])


def turned(degrees):
    """Return an affine whose slices are tilted about the left-right axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = 2 * np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return affine


STORED = {
    "RAS": np.diag([2.0, 2, 2, 1]),
    "LAS": np.diag([-2.0, 2, 2, 1]),
    "sagittal": np.array([[0, 0, 2.0, 0], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]),
    "oblique": turned(20),
}


@pytest.mark.parametrize("stored", sorted(STORED))
@pytest.mark.parametrize("axis", range(3))
def test_an_axis_of_the_body_has_one_colour_however_it_was_stored(stored, axis):
    affine = STORED[stored]
    vector = frame_of(np.eye(3)[axis], affine).reshape(1, 1, 1, 3)
    colours = colour_directions(vector, np.full((1, 1, 1), 0.8), affine)[0, 0, 0]
    assert colours.tolist() == (204 * np.eye(3, dtype=int)[axis]).tolist()


def test_an_oblique_direction_mixes_in_the_body_and_not_along_the_slices():
    affine = turned(20)
    vector = frame_of(np.array([0, 1, 1]) / np.sqrt(2), affine).reshape(1, 1, 1, 3)
    red, green, blue = colour_directions(vector, np.ones((1, 1, 1)), affine)[0, 0, 0]
    assert red == 0 and abs(int(green) - int(blue)) <= 1


@pytest.mark.parametrize("fit", [fit_tensor, by_dipy.fit_tensor])
def test_both_engines_hand_out_the_principal_direction(fit):
    rng = np.random.default_rng(0)
    bvecs = rng.normal(size=(31, 3))
    bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
    bvals = np.r_[0.0, np.full(30, 1000.0)]
    axis = np.array([0.6, 0.0, 0.8])
    tensor = 3e-4 * np.eye(3) + 1.4e-3 * np.outer(axis, axis)
    signal = 1000 * np.exp(-bvals * np.einsum("ni,ij,nj->n", bvecs, tensor, bvecs))
    maps = fit(signal.reshape(1, 1, 1, -1), bvals, bvecs, counts=True, directions=True)
    assert maps["V1"].shape == (1, 1, 1, 3)
    assert abs(maps["V1"][0, 0, 0] @ axis) > 0.999
    assert "V1" not in fit(signal.reshape(1, 1, 1, -1), bvals, bvecs)
