"""Outliers by hand, and by counting under the null."""

import numpy as np
import pytest

from bids_sexclf.stats.outliers import find_band, find_outliers


@pytest.mark.parametrize(("bad", "expected"), [("high", {5}), ("low", {0}), ("both", {0, 5})])
def test_only_the_bad_direction_is_flagged(bad, expected):
    values = [-60, 1, 2, 3, 4, 60]
    assert set(np.flatnonzero(find_outliers(values, bad)[0])) == expected


def test_the_band_ends_where_flags_begin():
    # median 3, deviations 2 1 0 1 2: their median is 1
    values = [1.0, 2, 3, 4, 5]
    low, high = find_band(values)
    assert (low, high) == pytest.approx((3 - 3.5 * 1.4826, 3 + 3.5 * 1.4826))
    assert find_outliers(values)[1] == pytest.approx((np.array(values) - 3) / 1.4826)


def test_few_or_equal_values_flag_nobody():
    assert not find_outliers([1, 2, 3, 900], "both")[0].any()
    assert not find_outliers([5.0] * 10, "both")[0].any()


def test_one_that_differs_from_equal_ones_is_flagged():
    assert find_outliers([0.0] * 20 + [3.0], "high")[0].tolist() == [False] * 20 + [True]


def test_unknown_values_are_neither_flagged_nor_counted():
    known = np.array([1.0, 2, 3, 4, 5, 80])
    with_gaps = np.insert(known, 3, np.nan)
    flags, distance = find_outliers(with_gaps, "high")
    assert np.delete(flags, 3).tolist() == find_outliers(known, "high")[0].tolist()
    assert not flags[3] and np.isnan(distance[3])


def test_normal_values_are_flagged_as_rarely_as_their_tail_says():
    draws = np.random.default_rng(0).normal(size=(300, 1000))
    count = sum(find_outliers(row)[0].sum() for row in draws)
    expected = draws.size * 4.653e-4  # both tails beyond 3.5 standard deviations
    assert abs(count - expected) < 5 * np.sqrt(expected)
