"""Small pictures: where the outline lies, and that left is left."""

import numpy as np

from bids_sexclf.pictures.thumbnails import OUTLINE, PIXEL_MM, draw_thumbnail, save_png


def make_head(axes=(1, 1, 1)):
    """A head of 60 x 80 x 70 mm, bright on its left side, and a box as its mask."""
    affine = np.diag([2.0 * axes[0], 2.0 * axes[1], 2.0 * axes[2], 1])
    volume, mask = np.full((30, 40, 35), 10.0), np.zeros((30, 40, 35), bool)
    volume[:15] = 100
    mask[5:25, 10:30, 10:25] = True
    turn = tuple(slice(None, None, step) for step in axes)
    affine[:3, 3] = [0 if step > 0 else 2 * (n - 1) for step, n in zip(axes, volume.shape)]  # noqa: B905
    return volume[turn], affine, mask[turn]


def test_the_outline_runs_along_the_edge_of_the_mask():
    picture = draw_thumbnail(*make_head())
    axial = picture[:, : round(60 / PIXEL_MM)]
    rows, columns = np.nonzero((axial == OUTLINE).all(axis=2))
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    assert abs(width - 40 / PIXEL_MM) <= 1 and abs(height - 40 / PIXEL_MM) <= 1
    inner = axial[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1]
    assert not (inner == OUTLINE).all(axis=2).any()


def test_left_is_left_however_the_axes_are_stored():
    pictures = [draw_thumbnail(*make_head(axes)) for axes in ((1, 1, 1), (-1, 1, 1), (-1, -1, -1))]
    assert pictures[0][2, 2, 0] > pictures[0][2, round(60 / PIXEL_MM) - 2, 0]
    for other in pictures[1:]:
        assert np.array_equal(pictures[0], other)


def test_an_empty_mask_and_unknown_values_still_give_a_picture(tmp_path):
    volume, affine, mask = make_head()
    volume[0] = np.nan
    picture = draw_thumbnail(volume, affine, np.zeros_like(mask))
    assert not (picture == OUTLINE).all(axis=2).any() and picture.dtype == np.uint8
    first, second = (save_png(picture, tmp_path / name) for name in ("a.png", "b.png"))
    assert open(first, "rb").read() == open(second, "rb").read()
