"""Displacement fields against fields whose displacements and inverses are known."""

import ants
import numpy as np
import pytest
import SimpleITK

from bids_sexclf.interfaces.fields import crop_to_brain, invert, sample_field, spread_field

DIRECTION = np.diag([-1.0, 1, 1])
ORIGIN = (20.0, -30.0, 10.0)


def make_image(array, spacing=2.0):
    return ants.from_numpy(array.astype("f4"), ORIGIN, (spacing,) * 3, direction=DIRECTION)


def make_field(shape, spacing, displace):
    """Return a field (X, Y, Z) whose displacement at each point is `displace` of the point."""
    field = SimpleITK.Image(list(shape), SimpleITK.sitkVectorFloat64, 3)
    field.SetOrigin(ORIGIN)
    field.SetSpacing([spacing] * 3)
    field.SetDirection(DIRECTION.ravel().tolist())
    points = np.indices(shape).transpose(3, 2, 1, 0) * spacing @ DIRECTION + ORIGIN
    filled = SimpleITK.GetImageFromArray(displace(points), isVector=True)
    filled.CopyInformation(field)
    return filled


def wave(points):
    return 2 * np.sin(points[..., [1, 2, 0]] / 9)


def test_the_box_of_a_brain_has_a_margin_and_ends_at_the_image():
    inside = np.zeros((30, 20, 20))
    inside[10:14, 1:5, 8:12] = 1
    box = crop_to_brain(make_image(inside), margin_mm=10)
    assert box.shape == (14, 10, 14) and box.numpy().sum() == inside.sum()
    np.testing.assert_allclose(box.origin, np.add(ORIGIN, (-10, 0, 6)))
    empty = make_image(np.zeros((5, 5, 5)))
    assert crop_to_brain(empty).shape == (5, 5, 5)


def test_a_linear_field_keeps_its_displacements_on_a_coarser_grid():
    fine = make_field((24, 24, 24), 1.0, lambda points: 0.02 * points + 1)
    coarse = make_field((12, 12, 12), 2.0, lambda points: 0.02 * points + 1)
    sampled = SimpleITK.GetArrayFromImage(sample_field(fine, coarse))
    np.testing.assert_allclose(sampled, SimpleITK.GetArrayFromImage(coarse), atol=1e-9)


def test_a_field_and_its_inverse_lead_back():
    warp = make_field((30, 30, 30), 2.0, wave)
    back = SimpleITK.GetArrayFromImage(invert(warp))
    points = np.indices((30, 30, 30)).transpose(3, 2, 1, 0) * 2.0 @ DIRECTION + ORIGIN
    there = points + back
    error = np.linalg.norm(back + wave(there), axis=-1)[4:-4, 4:-4, 4:-4]
    assert np.linalg.norm(back, axis=-1).mean() > 1.5
    assert error.mean() < 0.05 and error.max() < 0.2


@pytest.mark.parametrize("low", [0, 5])
def test_displacements_fall_to_zero_from_the_box_to_the_sides(tmp_path, low):
    grid = make_image(np.zeros((25, 20, 20)))
    parts = [np.full((10, 20, 12), value) for value in (3.0, -2.0, 1.0)]
    box = ants.crop_indices(grid, [low, 0, 4], [low + 10, 20, 16])
    field = ants.merge_channels([box.new_image_like(part.astype("f4")) for part in parts])
    field.to_filename(str(tmp_path / "field.nii.gz"))
    transform = spread_field(tmp_path / "field.nii.gz", grid)

    def displacement(*index):
        point = np.array(ORIGIN) + DIRECTION @ (2.0 * np.array(index))
        return np.array(transform.apply_to_point(tuple(point))) - point

    np.testing.assert_allclose(displacement(low + 3, 7, 10), (3, -2, 1), atol=1e-5)
    np.testing.assert_allclose(displacement(24, 7, 10), 0, atol=1e-5)
    # Halfway from the last point of the box to the side.
    last = low + 9
    share = 1 - (round((last + 24) / 2) - last) / (24 - last)
    np.testing.assert_allclose(
        displacement(round((last + 24) / 2), 7, 10), share * np.array([3, -2, 1]), atol=1e-4
    )
