import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_sexclf.motion import geometry


@pytest.mark.parametrize("flip", [1, -1])
def test_a_turned_head_has_its_gradients_turned_back(flip):
    affine = np.diag([2.0 * flip, 2, 2, 1])
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    gradient = np.array([[1.0, 0, 0]])
    turned = geometry.turn_gradients(gradient, turn[None], affine)
    # In FSL's frame the first axis is mirrored where the determinant is positive.
    axes = np.diag([-1.0 if flip > 0 else 1.0, 1, 1]) @ np.diag([flip, 1, 1])
    world = axes @ turned[0]
    np.testing.assert_allclose(world, turn.T @ (axes @ gradient[0]), atol=1e-12)


def test_no_rotation_changes_no_gradient():
    bvecs = Rotation.random(7, random_state=0).as_matrix()[:, 0]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=1).as_matrix() * 2.5
    same = geometry.turn_gradients(bvecs, np.repeat(np.eye(3)[None], 7, 0), affine)
    np.testing.assert_allclose(same, bvecs, atol=1e-12)


def test_displacement_of_a_shift_is_its_length():
    moved = np.eye(4)
    moved[:3, 3] = (3, 4, 0)
    assert geometry.displacement(np.eye(4), moved, np.zeros(3)) == pytest.approx(5)


def test_displacement_of_a_turn_is_the_mean_over_the_sphere():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 2, degrees=True).as_matrix()
    points = np.random.default_rng(0).normal(size=(200_000, 3))
    radius = 50 * np.random.default_rng(1).random((200_000, 1)) ** (1 / 3)
    points = points / np.linalg.norm(points, axis=1, keepdims=True) * radius
    moved = points @ turn[:3, :3].T - points
    truth = np.sqrt((moved**2).sum(1).mean())
    assert geometry.displacement(np.eye(4), turn, np.zeros(3)) == pytest.approx(truth, rel=0.01)


def test_stretch_is_no_displacement_of_the_head():
    stretched = np.diag([1, 1.02, 1, 1.0])
    assert geometry.displacement(np.eye(4), stretched, np.zeros(3)) == pytest.approx(0, abs=1e-9)
