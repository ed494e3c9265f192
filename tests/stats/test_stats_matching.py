"""Pairs by a number: held to every matching there is, for groups small enough to try them all."""

from itertools import permutations

import numpy as np
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.stats.matching import match_pairs


def best_of_all(first, second, caliper):
    """Give the most pairs, and the least sum of differences with so many, by trying everything."""
    found = []
    for order in permutations(range(len(second)), len(first)):
        apart = [abs(first[i] - second[j]) for i, j in enumerate(order)]
        kept = [difference for difference in apart if difference <= caliper]
        found.append((-len(kept), sum(kept)))
    return min(found)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_pairs_as_there_can_be_and_the_closest_of_those(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.uniform(0, 10, 4), rng.uniform(0, 10, 6)
    pairs = match_pairs(first, second, 1.0)
    apart = np.abs(first[pairs[:, 0]] - second[pairs[:, 1]])
    count, total = best_of_all(first, second, 1.0)
    assert len(pairs) == -count and apart.sum() == pytest.approx(total)
    assert (apart <= 1).all()
    assert all(len(set(side)) == len(pairs) for side in pairs.T)


def test_groups_far_apart_have_no_pair():
    assert match_pairs([0.0, 1], [100.0], 5).shape == (0, 2)


def test_unknown_numbers_and_empty_calipers_are_refused():
    with pytest.raises(InputError, match="1 unknown"):
        match_pairs([1.0, np.nan], [1.0], 1)
    with pytest.raises(InputError, match="caliper of 0"):
        match_pairs([1.0], [1.0], 0)
