"""The heads of a phantom: as large as asked, never folded, brain inside skull inside skin."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from bids_sexclf.phantom import anatomy
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.phantom.population import draw_people
from bids_sexclf.phantom.signal import t1w_signal

OPTIONS = PhantomOptions(participants=6, twins=1, seed=2)
SPACING = 5.0


@pytest.fixture(scope="module")
def people():
    return draw_people(OPTIONS)


@pytest.fixture(scope="module")
def bodies(head, people):
    return [anatomy.draw_body(OPTIONS, person, head) for person in people]


def grid(body):
    return anatomy.scan_grid(SPACING, body.oblique)


@pytest.mark.parametrize("volume_ml", [850.0, 1200.0, 1600.0])
def test_brain_has_the_volume_that_was_asked(head, people, volume_ml):
    body = anatomy.draw_body(OPTIONS, replace(people[0], volume_ml=volume_ml), head)
    shape, _ = anatomy.scan_grid(3.0, body.oblique)
    tissues = anatomy.scan_tissues(head, body, shape, 3.0)
    mask_ml = (tissues.brain > 0.5).sum() * 3.0**3 / 1000
    assert mask_ml == pytest.approx(volume_ml, rel=0.01)


def test_warp_agrees_with_the_splines_of_scipy(bodies):
    body = bodies[0]
    shape, _ = grid(body)
    place = anatomy.template_coordinates(body, shape, SPACING)
    points = np.stack(np.meshgrid(*anatomy.gantry_axes(shape, SPACING), indexing="ij"))
    knots = points / anatomy.KNOT_MM + (np.array(body.knots.shape[1:]) - 1).reshape(3, 1, 1, 1) / 2
    bent = [map_coordinates(k, knots, order=3, prefilter=False) for k in body.knots]
    straight = np.tensordot(body.form, points - body.shift.reshape(3, 1, 1, 1), axes=1)
    expected = straight + np.reshape(anatomy.CENTRE_MM, (3, 1, 1, 1)) + bent
    assert np.allclose(place, expected, atol=1e-3)


def test_no_head_is_folded(bodies):
    for body in bodies:
        place = anatomy.template_coordinates(body, grid(body)[0], SPACING)
        jacobian = np.stack([np.stack(np.gradient(axis, SPACING)) for axis in place])
        assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0.05


def test_heads_bend_by_a_few_millimetres(bodies):
    for body in bodies:
        place = anatomy.template_coordinates(body, grid(body)[0], SPACING)
        still = replace(body, knots=np.zeros_like(body.knots))
        moved = np.linalg.norm(
            place - anatomy.template_coordinates(still, grid(body)[0], SPACING), axis=0
        )
        assert 1 < np.median(moved) < 6
        assert moved.max() < 20


def test_twins_are_more_alike_than_strangers(bodies):
    twins = np.corrcoef(bodies[0].knots.ravel(), bodies[1].knots.ravel())[0, 1]
    strangers = np.corrcoef(bodies[0].knots.ravel(), bodies[3].knots.ravel())[0, 1]
    assert twins > 0.8
    assert abs(strangers) < 0.15


def test_whole_head_lies_in_the_field_of_view(head, bodies):
    for body in bodies:
        tissues = anatomy.scan_tissues(head, body, grid(body)[0], SPACING)
        brain = tissues.brain > 0.1
        signal = t1w_signal(tissues, np.ones(24))
        for axis in range(3):
            edges = np.take(brain, [0, -1], axis=axis)
            assert not edges.any()
        # Above, in front, behind and beside, air; below, the neck goes on.
        assert signal[[0, -1]][:, :, signal.shape[2] // 2 :].max() < 0.05
        assert signal[:, :, -1].max() < 0.05
        assert (signal[:, :, 0] > 0.3).any()


def test_brain_lies_in_fluid_in_dark_bone_in_bright_scalp(head):
    tissues = anatomy.unwarped(head, np.zeros(head.brain.shape, np.int16))
    signal = t1w_signal(tissues, np.ones(24))
    x, y, _ = (int(round((0 - origin) / 2)) for origin in head.affine[:3, 3])
    ray = signal[x + 12, y - 10]
    top = np.flatnonzero(tissues.brain[x + 12, y - 10] > 0.5).max()
    outer = ray[top:]
    assert outer[1:7].min() < 0.2
    assert outer[1:].max() > 0.9
    assert np.argmax(outer[1:] > 0.9) > np.argmin(outer[1:7])
    assert outer[-1] < 1e-6


def test_ageing_turns_grey_matter_into_fluid(head, bodies):
    shape, _ = grid(bodies[0])
    young, old = (anatomy.scan_tissues(head, bodies[0], shape, SPACING, loss) for loss in (0, 0.1))
    assert np.allclose(old.grey, 0.9 * young.grey)
    assert np.allclose(old.grey + old.fluid, young.grey + young.fluid, atol=1e-6)
    assert np.array_equal(old.labels, young.labels)


def test_scans_are_slightly_oblique_and_centred(bodies):
    for body in bodies:
        shape, affine = grid(body)
        axes = affine[:3, :3] / SPACING
        assert np.allclose(axes @ axes.T, np.eye(3))
        assert np.diag(axes).min() > np.cos(np.deg2rad(8))
        assert np.allclose(affine @ [*(np.array(shape) - 1) / 2, 1], [0, 0, 0, 1])
