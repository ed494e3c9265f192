"""What the border of white matter tells about pose and distortion."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from testing.distorted import distort
from testing.folded import AFFINE, B0, SHAPE, T1W, image, motion, move

from bids_sexclf import boundary

RINGS = ((30, 40), (45, 40), (55, 20))
"""Outer radius, mm, of each tissue, and how much brighter it is than what lies around it."""


@pytest.fixture(scope="module")
def border():
    return boundary.find_border(image(T1W), AFFINE)


def off(found, truth, points):
    """Give the mean distance, mm, by which two motions take points apart."""
    apart = (found - truth)[:3] @ np.c_[points, np.ones(len(points))].T
    return np.linalg.norm(apart, axis=0).mean()


def test_the_border_of_a_ball_lies_on_it_and_points_outwards():
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (20, -30, 10), degrees=True).as_matrix()
    affine[:3, :3], affine[:3, 3] = turn * [2.0, -2.5, 3.0], (5, -7, 3)
    shape = (60, 48, 40)
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    middle = places.reshape(-1, 3).mean(0)
    radius = np.linalg.norm(places - middle, axis=-1)
    # Voxels that the border crosses hold both tissues.
    t1w = sum(gain * np.clip((r - radius) / 2.5 + 0.5, 0, 1) for r, gain in RINGS)
    noise = np.random.default_rng(0).normal(0, 2, shape)
    found = boundary.find_border(np.where(t1w > 0, t1w + noise, 0), affine, count=500)
    outwards = found.points - middle
    length = np.linalg.norm(outwards, axis=1)
    assert abs(length.mean() - 30) < 1 and length.std() < 1
    cosine = (found.normals * outwards).sum(1) / length
    assert cosine.mean() > 0.98 and cosine.min() > 0.7
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1)


def test_a_brain_without_three_tissues_has_no_border():
    assert boundary.find_border(np.where(image(T1W) > 0, 7.0, 0), AFFINE) is None


def test_grey_over_white_costs_less_than_white_over_grey(border):
    good = boundary.border_cost(image(B0), AFFINE, border, np.eye(4))
    bad = boundary.border_cost(image(T1W), AFFINE, border, np.eye(4))
    none = boundary.border_cost(np.full(SHAPE, 5.0), AFFINE, border, np.eye(4))
    away = motion((0, 0, 0), (1000, 0, 0))
    assert good < 0.9 < none < bad
    assert none == pytest.approx(1)
    assert boundary.border_cost(image(B0), AFFINE, border, away) == pytest.approx(1)


@pytest.mark.parametrize("cut", [False, True])
def test_the_pose_of_a_head_that_moved_is_found(border, cut):
    truth, b0 = motion(), move(image(B0), motion())
    if cut:  # a field of view that ends inside the head, a pole without signal
        b0[..., 40:] = 0
        b0[:, 55:] = 0
    matrix, cost = boundary.find_pose(b0, AFFINE, border, [np.eye(4)])
    assert cost < boundary.SILENT
    assert off(matrix, truth, border.points) < (1.0 if cut else 0.5)
    assert off(np.eye(4), truth, border.points) > 3


def test_of_several_starts_the_best_counts(border):
    b0, far = image(B0), motion((0, 0, 40), (0, 0, 0))
    matrix, _ = boundary.find_pose(b0, AFFINE, border, [far, np.eye(4)])
    assert off(matrix, np.eye(4), border.points) < 0.5


def test_a_b0_that_shows_no_border_is_silent(border):
    noise = np.random.default_rng(5).normal(100, 20, SHAPE)
    assert boundary.find_pose(noise, AFFINE, border, [np.eye(4)])[1] > boundary.SILENT


def test_what_moved_the_middle_along_one_axis_is_taken_back():
    along, centre = np.array([0.6, 0.8, 0]), np.array([3.0, -20, 30])
    start, matrix = motion(), motion((4, 1, -2), (7, 5, -3))
    held = boundary.hold_axis(matrix, start, centre, along)
    moved, begun, was = (m[:3, :3] @ centre + m[:3, 3] for m in (held, start, matrix))
    assert moved @ along == pytest.approx(begun @ along)
    np.testing.assert_allclose(np.cross(moved - was, along), 0, atol=1e-12)


def wave():
    """Make a field, in voxels, that rises and falls once over the whole box."""
    x, y, z = np.indices(SHAPE) + 0.5
    return np.cos(np.pi * y / SHAPE[1]) * np.cos(np.pi * x / SHAPE[0]) + 0.5


@pytest.mark.parametrize("axis", [0, 1])
def test_a_smooth_shift_is_found_for_the_most_part(border, axis):
    shift, b0 = wave(), image(B0)
    found = boundary.find_shift(distort(b0, shift, axis), AFFINE, border, np.eye(4), axis)
    inside = b0 > 0
    left = np.sqrt(((found - shift)[inside] ** 2).mean())
    assert left < 0.5 * np.sqrt((shift[inside] ** 2).mean())


def test_an_undistorted_b0_is_left_where_it_is(border):
    found = boundary.find_shift(image(B0), AFFINE, border, np.eye(4), 1)
    assert np.abs(found[image(B0) > 0]).mean() < 0.1
