"""Rows: a view of participants that reads what it is asked for, when it is asked."""

import numpy as np
import pytest

from bids_sexclf.volumes import Rows, new_cohort, open_cohort


class Counting:
    """An array that tells which participants were read."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, index):
        self.read.append(np.atleast_1d(index).tolist())
        return self.array[index]


@pytest.fixture
def array():
    return np.arange(5 * 2 * 3 * 4, dtype=np.float32).reshape(5, 2, 3, 4)


def test_rows_are_the_participants_asked_for_in_their_order(array):
    rows = Rows(array, [4, 0, 2])
    assert len(rows) == 3
    assert rows.shape == (3, 2, 3, 4)
    np.testing.assert_array_equal(rows[0], array[4])
    np.testing.assert_array_equal(rows[[2, 0]], array[[2, 4]])
    np.testing.assert_array_equal(rows[1:], array[[0, 2]])


def test_mask_chooses_the_same_rows_as_their_numbers(array):
    chosen = np.array([False, True, False, True, True])
    np.testing.assert_array_equal(Rows(array, chosen)[:], Rows(array, [1, 3, 4])[:])


def test_nothing_is_read_before_it_is_asked_for(array):
    counting = Counting(array)
    rows = Rows(counting, [3, 1])
    assert (len(rows), rows.shape, counting.read) == (2, (2, 2, 3, 4), [])
    rows[[1]]
    assert counting.read == [[1]]


def test_rows_of_a_mapped_array_are_copies_in_single_precision(array, tmp_path):
    with new_cohort(tmp_path / "cohort.npy", array.shape) as mapped:
        mapped[:] = array
    batch = Rows(open_cohort(tmp_path / "cohort.npy"), [2, 2])[[0, 1]]
    batch += 1
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(open_cohort(tmp_path / "cohort.npy"), array)
