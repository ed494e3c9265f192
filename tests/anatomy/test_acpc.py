"""Promises of the rigid alignment by AC, PC and midline."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_sexclf.anatomy.acpc import LANDMARKS, fit_affine, native_grid, rigid_from_affine
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import Grid


def moved(matrix, points):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def random_affine(rng, scale=(1, 1, 1), shear=0.0):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=rng).as_matrix() @ (
        np.diag(scale) + np.triu(np.full((3, 3), shear), 1)
    )
    affine[:3, 3] = rng.normal(0, 20, 3)
    return affine


@pytest.mark.parametrize("seed", range(3))
def test_an_affine_map_is_recovered_from_where_its_points_went(seed):
    rng = np.random.default_rng(seed)
    truth, points = random_affine(rng, (0.9, 1.1, 1.2), 0.1), rng.normal(0, 50, (40, 3))
    np.testing.assert_allclose(fit_affine(points, moved(truth, points)), truth, atol=1e-8)


def test_points_in_one_plane_are_refused():
    with pytest.raises(InputError, match="span space"):
        fit_affine(
            np.c_[np.random.default_rng(0).normal(size=(9, 2)), np.zeros(9)], np.zeros((9, 3))
        )


@pytest.mark.parametrize("seed", range(3))
def test_a_head_that_was_only_turned_and_scaled_is_turned_back(seed):
    """Similarity transforms have a closed form: the rotation is undone, the scale is kept."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.8, 1.2)
    affine = random_affine(rng, (size,) * 3)
    rigid = rigid_from_affine(affine)
    upright = moved(rigid @ affine, LANDMARKS)
    np.testing.assert_allclose(upright - upright[0], size * (LANDMARKS - LANDMARKS[0]), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_commissures_and_midline_agree_with_the_template_and_no_length_changes(seed):
    rng = np.random.default_rng(seed)
    affine = random_affine(rng, (0.9, 1.05, 1.1), 0.08)
    rigid = rigid_from_affine(affine)
    np.testing.assert_allclose(rigid[:3, :3] @ rigid[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rigid[:3, :3]) == pytest.approx(1)
    ac, pc, above = moved(rigid @ affine, LANDMARKS)
    np.testing.assert_allclose(ac, LANDMARKS[0], atol=1e-9)
    line, wanted = pc - ac, LANDMARKS[1] - LANDMARKS[0]
    np.testing.assert_allclose(
        line / np.linalg.norm(line), wanted / np.linalg.norm(wanted), atol=1e-12
    )
    assert above[0] == pytest.approx(0, abs=1e-9)  # the midline plane is x = 0


@pytest.mark.parametrize("size", [1.0, 2.0, 3.14, 4.0])
def test_the_field_of_view_and_its_centre_are_the_templates(size):
    affine = np.diag([-2.0, 2, 2, 1])
    affine[:3, 3] = (90, -126, -72)
    template = Grid((91, 109, 91), affine)
    grid = native_grid(template, size)
    for held in (template, grid):
        middle = (np.asarray(held.shape) - 1) / 2
        np.testing.assert_allclose(moved(held.affine, middle), (0, -18, 18))
    extra = np.asarray(grid.shape) * size - (182, 218, 182)
    assert (extra > -1e-6).all() and (extra < size).all()


def test_the_default_gives_the_shape_of_kan_2020():
    from bids_sexclf.settings import Preparation

    affine = np.diag([1.0, 1, 1, 1])
    grid = native_grid(Grid((182, 218, 182), affine), Preparation().native_resolution)
    assert grid.shape == (58, 70, 58)
