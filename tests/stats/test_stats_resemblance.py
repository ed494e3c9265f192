"""Close pairs: found where they were made, and nowhere else."""

import numpy as np
import pytest

from bids_sexclf.stats.resemblance import close_pairs


def strangers(n=60, voxels=800, seed=0, shared=0.3):
    """Give people who share a mean, and more with those of like age than with others."""
    rng = np.random.default_rng(seed)
    age = rng.standard_normal(n)
    values = rng.standard_normal((n, voxels)) + shared * np.outer(age, rng.standard_normal(voxels))
    return 100 + 10 * rng.standard_normal(voxels) + values


def relate(values, one, other, share):
    """Let two people share a part of what makes them different from the mean."""
    mean = values.mean(0)
    deviations = values[[one, other]] - mean
    values[other] = mean + share * deviations[0] + np.sqrt(1 - share**2) * deviations[1]


@pytest.mark.parametrize("share", [0.5, 0.99, 1.0])
def test_pairs_are_found(share):
    values = strangers()
    for one, other in ((3, 40), (8, 9)):
        relate(values, one, other, share)
    pairs, correlation, limit = close_pairs(values)
    assert pairs.tolist() == [[3, 40], [8, 9]]
    assert (correlation > limit).all() and limit < 0.5
    np.testing.assert_allclose(correlation, share, atol=0.12)


def test_three_of_a_kind_are_found():
    values = strangers()
    for other in (21, 22):
        relate(values, 20, other, 0.99)
    assert close_pairs(values)[0].tolist() == [[20, 21], [20, 22], [21, 22]]


def test_strangers_are_left_alone():
    """Among 100 cohorts, in which the old resemble the old, hardly one holds a close pair."""
    found = sum(len(close_pairs(strangers(seed=seed))[0]) > 0 for seed in range(100))
    assert found <= 4  # 1 expected; more than 4 in less than 1 of 100 such tests


def test_order_of_people_does_not_matter():
    values = strangers()
    relate(values, 3, 40, 0.6)
    pairs, correlation, _ = close_pairs(values[::-1])
    assert pairs.tolist() == [[59 - 40, 59 - 3]]
    np.testing.assert_allclose(correlation, close_pairs(values)[1], rtol=1e-4)


def test_of_a_handful_nobody_is_judged():
    values = np.repeat(np.arange(5.0)[:, None], 9, axis=1)
    pairs, _, limit = close_pairs(values)
    assert len(pairs) == 0 and np.isnan(limit)


def test_a_large_cohort_is_judged_by_a_part_of_its_pairs():
    values = strangers(2500, 100, shared=0)
    relate(values, 7, 2400, 0.95)
    assert close_pairs(values)[0].tolist() == [[7, 2400]]
