"""Pictures show what they are given: left on the left, one window, the same bytes twice."""

from xml.etree import ElementTree

import numpy as np
import pytest

from bids_sexclf.diffusion import find_shells
from bids_sexclf.pictures import save_svg, series, slices
from bids_sexclf.pictures.slices import Mosaic

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
BOX = np.zeros((20, 24, 18), bool)
BOX[4:16, 4:20, 4:14] = True


@pytest.fixture
def head():
    volume = np.random.default_rng(0).random(BOX.shape).astype(np.float32)
    return np.where(BOX, volume + 1, 0)


def test_left_is_left_whatever_the_storage_order(head):
    marked = head.copy()
    marked[4:8, 10:14, 8:11] = 50  # low x: the participant's left
    straight = Mosaic(AFFINE, BOX, 1, "z").lay(marked)[0]
    flipped_affine = AFFINE @ np.diag([-1.0, 1, 1, 1])
    flipped_affine[0, 3] = 2.0 * (BOX.shape[0] - 1)
    flipped = Mosaic(flipped_affine, BOX[::-1], 1, "z").lay(marked[::-1])[0]
    np.testing.assert_allclose(straight, flipped, equal_nan=True)
    columns = np.nonzero(straight > 25)[1]
    assert columns.size and columns.mean() < straight.shape[1] / 2


def test_front_is_up_and_tiles_say_where_they_are(head):
    marked = head.copy()
    marked[8:12, 16:20, 8:11] = 50  # high y: front
    picture, corners = Mosaic(AFFINE, BOX, 3, "z").lay(marked)
    rows = np.nonzero(np.nan_to_num(picture) > 25)[0]
    assert rows.size and rows.mean() < picture.shape[0] / 2
    assert [text for text, _, _ in corners] == ["z 12", "z 16", "z 22"]


def test_an_oblong_voxel_is_drawn_square():
    volume = np.ones((10, 10, 5))
    mosaic = Mosaic(np.diag([2.0, 2.0, 4.0, 1.0]), volume > 0, 1, "y")
    height, width = mosaic.lay(volume)[0].shape
    assert abs(height - width) <= 1


def draw(tmp_path, name, function, *arguments):
    path = save_svg(function, tmp_path / f"{name}.svg", *arguments)
    text = (tmp_path / f"{name}.svg").read_text()
    ElementTree.fromstring(text)
    return path, text


@pytest.fixture
def scheme():
    directions = np.random.default_rng(1).normal(size=(12, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    bvals = np.array([0] + [1000] * 6 + [2000] * 6)
    return bvals, np.vstack([np.zeros(3), directions])


def test_every_picture_is_light_sound_and_the_same_twice(tmp_path, head, scheme):
    bvals, bvecs = scheme
    residuals = np.random.default_rng(0).normal(0, 0.02, (18, 13))
    maps = [("FA", "anisotropy", "1", head / 2), ("MD", "diffusivity", "mm²/s", head * 1e-3)]
    drawings = {
        "maps": (slices.draw_maps, maps, AFFINE, BOX),
        "residual": (slices.draw_residual, np.stack([head] * 3, -1) - 1, AFFINE, BOX),
        "gradients": (series.draw_gradients, bvals, bvecs, find_shells(bvals)),
        "series": (series.draw_series, bvals, find_shells(bvals), np.ones(13), residuals,
                   residuals > 0.05),
        "volume": (slices.draw_volume, head, AFFINE, BOX),
        "colours": (slices.draw_colours, np.stack([head * 90] * 3, -1), AFFINE, BOX),
    }  # fmt: skip
    for name, parts in drawings.items():
        once, again = (draw(tmp_path, name, *parts)[1] for _ in range(2))
        assert once == again, name
        assert 3_000 < len(once) < 600_000, name


def test_what_is_unknown_of_a_series_has_no_panel(scheme):
    bvals, _ = scheme
    known, unknown = np.ones(13), np.full(13, np.nan)
    residuals, none = np.zeros((18, 13)), np.full((18, 13), np.nan)

    def titles(moved, judged):
        figure = series.draw_series(
            bvals, find_shells(bvals), moved, judged, np.zeros(judged.shape, bool)
        )
        return " ".join(ax.get_title() for ax in figure.axes).strip()

    assert "Displacement" in titles(known, residuals) and "tensor" in titles(known, residuals)
    assert "Displacement" not in titles(unknown, residuals)
    assert "tensor" not in titles(known, none)
    assert titles(unknown, none) == "b-value (s/mm²)"


def test_directions_are_drawn_in_their_own_colour_and_left_is_left():
    colours = np.zeros((*BOX.shape, 3), np.uint8)
    colours[4:10, ..., 0] = 255  # the participant's left is red
    colours[10:16, ..., 2] = 255
    figure = slices.draw_colours(colours, AFFINE, BOX, 1)
    picture = figure.axes[0].images[0].get_array()
    first = picture[: picture.shape[0] // 3]
    half = first.shape[1] // 2
    assert first[:, :half, 0].sum() > 0 and first[:, half:, 0].sum() < first[:, :half, 0].sum() / 9
    assert first[:, half:, 2].sum() > 0 and first[..., 1].sum() == 0


def test_nothing_taken_away_and_no_map_of_a_model_leave_an_empty_file(tmp_path, monkeypatch):
    from bids_sexclf.interfaces.pictures import DrawMaps, DrawResidual
    from bids_sexclf.volumes import save

    monkeypatch.chdir(tmp_path)
    save(np.zeros(BOX.shape, np.float32), AFFINE, "residual.nii")
    save(BOX, AFFINE, "mask.nii")
    save(BOX.astype(np.float32), AFFINE, "tensor_FA.nii")
    nothing = DrawResidual(residual="residual.nii", mask="mask.nii").run().outputs.out_file
    assert (tmp_path / nothing).stat().st_size == 0
    drawing = DrawMaps(in_files=["tensor_FA.nii"], mask="mask.nii", model="dki")
    assert (tmp_path / drawing.run().outputs.out_file).stat().st_size == 0
    drawing.inputs.model = "tensor"
    assert (tmp_path / drawing.run().outputs.out_file).stat().st_size > 1000


def test_each_axis_shows_once_on_the_half_sphere(scheme):
    bvals, bvecs = scheme
    figure = series.draw_gradients(bvals, bvecs, find_shells(bvals))
    for ax, (_, members) in zip(figure.axes[1:], find_shells(bvals), strict=True):
        points = [cloud.get_offsets() for cloud in ax.collections]
        assert sum(len(cloud) for cloud in points) == len(members)
        assert all((np.linalg.norm(cloud, axis=1) <= 1 + 1e-9).all() for cloud in points)


def test_the_nearest_two_axes_of_an_octahedron_are_at_right_angles():
    assert series.nearest_axes(np.eye(3)) == pytest.approx(90)
    assert series.nearest_axes(np.array([[1.0, 0, 0], [0.5, np.sqrt(0.75), 0]])) == pytest.approx(
        60
    )


def test_borders_of_tissues_are_drawn_on_no_finer_voxels_than_a_millimetre(tmp_path, monkeypatch):
    from bids_sexclf.interfaces.pictures import DrawTissues, _images
    from bids_sexclf.volumes import save

    monkeypatch.chdir(tmp_path)
    affine = np.diag([0.5, 0.5, 1.0, 1.0])
    radius = np.sqrt(((np.indices((80, 80, 40)).T - (40, 40, 20)) ** 2 * (0.25, 0.25, 1)).sum(-1)).T
    save(np.select([radius < 10, radius < 14], [100, 70], 20).astype(np.float32), affine, "t1w.nii")
    save(radius < 17, affine, "mask.nii")
    shares = {"CSF": (radius >= 14) & (radius < 17), "GM": (radius >= 10) & (radius < 14)}
    for name, share in (shares | {"WM": radius < 10}).items():
        save(share.astype(np.float32), affine, f"{name}.nii")
    assert _images("t1w.nii", "mask.nii")[0].shape == (40, 40, 40)
    given = {"in_file": "t1w.nii", "mask": "mask.nii"}
    files = [f"{name}.nii" for name in ("CSF", "GM", "WM")]
    picture = DrawTissues(**given, probabilities=files, cuts=3).run().outputs.out_file
    drawn = open(picture, encoding="utf-8").read()
    # One line for each border, in its colour, and the words that explain both.
    assert "#56b4e9" in drawn.lower() and "#e69f00" in drawn.lower()
    assert "White and grey matter" in drawn
