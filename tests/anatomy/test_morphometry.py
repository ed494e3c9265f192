"""Promises of tissue and region measures."""

import numpy as np
import pandas as pd
import pytest

from bids_sexclf.anatomy.morphometry import (
    KEYS,
    fill_skull,
    measure_regions,
    measure_tissues,
    widen,
)
from bids_sexclf.errors import GridError, InputError
from bids_sexclf.tables import check_table

LABELS = pd.DataFrame({"index": [2, 5, 7], "name": ["a", "b", "c"], "hemisphere": ["L", "R", "B"]})


@pytest.fixture
def scan():
    """Two regions of known size and signal; the third has no voxel."""
    parcellation = np.zeros((10, 10, 10), int)
    parcellation[:5], parcellation[5:] = 2, 5
    mask = np.zeros((10, 10, 10), bool)
    mask[1:9, 1:9, 1:9] = True
    white = (parcellation == 5).astype(np.float32)
    grey = np.where(parcellation == 2, 0.75, 0).astype(np.float32)
    tissues = {"CSF": 1 - grey - white, "GM": grey, "WM": white}
    t1w = np.where(parcellation == 5, 200, 120).astype(np.float32)
    return parcellation, t1w, mask, tissues


def test_volumes_count_voxels_by_probability(scan):
    volumes = measure_tissues(scan[3], np.diag([2, 2, 2.5, 1]))
    assert volumes["grey_volume_ml"] == pytest.approx(500 * 0.75 * 10 / 1000)
    assert volumes["white_volume_ml"] == pytest.approx(5)
    assert sum(volumes.values()) == pytest.approx(10)


def test_regions_are_measured_inside_the_mask(scan):
    parcellation, t1w, mask, tissues = scan
    table = measure_regions(parcellation, LABELS, t1w, mask, tissues, np.diag([1, 1, 2, 1]))
    assert table["region"].tolist() == [2, 5, 7]
    assert table["volume_mm3"].tolist() == [4 * 8 * 8 * 2, 4 * 8 * 8 * 2, 0]
    assert table["grey_volume_mm3"].tolist() == pytest.approx([4 * 8 * 8 * 2 * 0.75, 0, 0])
    assert table["mean_intensity"].tolist()[:2] == pytest.approx([0.6, 1])
    assert np.isnan(table["mean_intensity"].iloc[2])


def test_intensities_do_not_hang_on_the_scanners_gain(scan):
    parcellation, t1w, mask, tissues = scan
    one, other = (
        measure_regions(parcellation, LABELS, gain * t1w, mask, tissues, np.eye(4))
        for gain in (1, 7.5)
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-5)


def test_an_atlas_on_another_grid_is_refused(scan):
    parcellation, t1w, mask, tissues = scan
    with pytest.raises(GridError, match="carried atlas"):
        measure_regions(parcellation[:-1], LABELS, t1w, mask, tissues, np.eye(4))


def test_a_brain_without_white_matter_is_refused(scan):
    parcellation, t1w, mask, tissues = scan
    with pytest.raises(InputError, match="white matter"):
        measure_regions(
            parcellation, LABELS, t1w, mask, tissues | {"WM": 0 * tissues["WM"]}, np.eye(4)
        )


def test_clefts_are_filled_and_a_ball_keeps_its_size():
    steps = np.indices((40, 40, 40)) - 19.5
    ball = (steps**2).sum(0) <= 15**2
    cleft = ball & ~((np.abs(steps[0]) < 1) & (steps[2] > 0))
    whole, filled = (
        fill_skull(ball, np.diag([2, 2, 2, 1])),
        fill_skull(cleft, np.diag([2, 2, 2, 1])),
    )
    # Closing a convex body gives it back, and a cleft narrower than the ball is closed.
    assert whole.sum() == pytest.approx(ball.sum(), rel=0.01)
    assert cleft.sum() < filled.sum() <= whole.sum()
    assert filled.sum() > cleft.sum() + 0.8 * (ball.sum() - cleft.sum())


def test_a_wide_table_holds_every_number_once():
    rows = [
        ("sub-1", None, "A", 1, "x", "L", 5.0, np.nan),
        ("sub-1", None, "aparc", None, "insula", "R", 6.0, 2.5),
        ("sub-2", "ses-1", "A", 1, "x", "L", 7.0, np.nan),
    ]
    table = pd.DataFrame(rows, columns=[*KEYS, "volume_mm3", "thickness_mm"])
    check_table(table, "morphometry")
    wide = widen(table)
    assert wide.loc[("sub-1", "n/a"), "A 1 volume_mm3"] == 5
    assert wide.loc[("sub-1", "n/a"), "aparc R insula thickness_mm"] == 2.5
    assert wide.loc[("sub-2", "ses-1"), "A 1 volume_mm3"] == 7
    assert wide.shape == (2, 3) and wide.notna().to_numpy().sum() == 4
