"""The built-in atlas: complete, symmetric, and where its names say."""

import numpy as np
import pytest

from bids_sexclf.errors import GridError
from bids_sexclf.lobes import list_lobes, make_lobes, sample_tissues

SHAPE = (50, 60, 50)
AFFINE = np.array([[4.0, 0, 0, -98], [0, 4, 0, -134], [0, 0, 4, -90], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def lobes():
    return make_lobes(SHAPE, AFFINE)


def world(shape, affine):
    return np.einsum("ij,j...->i...", affine[:3, :3], np.indices(shape)) + affine[:3, 3].reshape(
        3, 1, 1, 1
    )


def test_every_index_has_a_name_and_voxels_and_vice_versa(lobes):
    labels, table = lobes
    assert labels.dtype == np.int16
    assert [row["index"] for row in table] == list(range(1, 25))
    assert len({row["name"] for row in table}) == 24
    assert set(np.unique(labels)) == set(range(25))
    assert table == list_lobes()


def test_left_and_right_are_alike_in_volume(lobes):
    labels, table = lobes
    counts = np.bincount(labels.ravel())
    for row in table:
        if row["hemisphere"] == "L":
            other = row["name"].replace("Left", "Right")
            twin = next(entry["index"] for entry in table if entry["name"] == other)
            assert abs(counts[row["index"]] / counts[twin] - 1) < 0.2


def test_no_lobe_is_a_sliver(lobes):
    volumes_ml = np.bincount(lobes[0].ravel())[1:] * 4**3 / 1000
    assert volumes_ml.min() > 100 * 4**3 / 1000  # a hundred voxels of a 4 mm study
    assert volumes_ml.max() < 150


def test_names_say_where_a_lobe_lies(lobes):
    labels, table = lobes
    x, y, z = world(SHAPE, AFFINE)
    centre = {
        row["name"]: [axis[labels == row["index"]].mean() for axis in (x, y, z)] for row in table
    }
    for row in table:
        assert (x[labels == row["index"]] < 0).all() == (row["hemisphere"] == "L")
        name = row["name"]
        if "anterior" in name:
            assert centre[name][1] > centre[name.replace("anterior", "middle")][1]
            assert centre[name][1] > centre[name.replace("anterior", "posterior")][1]
        if "superior" in name:
            assert centre[name][2] > centre[name.replace("superior", "inferior")][2]


def test_names_say_which_tissue_a_lobe_holds(lobes):
    labels, table = lobes
    grey, white, brain = sample_tissues(SHAPE, AFFINE)
    for row in table:
        inside = labels == row["index"]
        assert ((white > grey)[inside] == (row["tissue"] == "white")).all()
        assert (brain[inside] >= 0.5 - 1e-6).all()


def test_storage_order_of_the_voxels_changes_nothing(lobes):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = SHAPE[0] - 1
    flipped, _ = make_lobes(SHAPE, AFFINE @ flip)
    assert np.array_equal(flipped[::-1], lobes[0])


def test_grid_beside_the_brain_is_refused():
    far = AFFINE.copy()
    far[0, 3] = 500
    with pytest.raises(GridError, match="24 of 24 lobes"):
        make_lobes(SHAPE, far)
