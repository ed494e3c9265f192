"""Scores of ages: closed forms, coverage, and nulls."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from bids_sexclf.errors import InputError
from bids_sexclf.stats import regression


@pytest.fixture
def ages():
    rng = np.random.default_rng(0)
    target = rng.uniform(20, 80, 60)
    return target, 50 + 0.6 * (target - 50) + rng.normal(0, 5, 60)


def test_scores_are_those_of_independent_libraries(ages):
    target, prediction = ages
    assert regression.mae(*ages) == pytest.approx(metrics.mean_absolute_error(*ages))
    assert regression.r2(*ages) == pytest.approx(metrics.r2_score(*ages))
    slope = stats.linregress(target, prediction - target).slope
    assert regression.age_bias(*ages) == pytest.approx(slope)


def test_order_of_rows_changes_no_interval_and_no_p(ages):
    target, prediction = ages
    order = np.random.default_rng(1).permutation(60)
    people = np.array([f"s{i}" for i in range(60)])
    made = []
    for rows in (np.arange(60), order):
        pair = target[rows], prediction[rows]
        made.append(
            regression.bootstrap(regression.mae, *pair, n=200)
            + regression.permutation(
                regression.r2, *pair, np.zeros(60), people[rows], people[rows], n=200
            )
        )
    assert made[0] == pytest.approx(made[1], rel=1e-12)


def test_intervals_cover_the_true_error():
    rng, hits = np.random.default_rng(2), 0
    for seed in range(200):
        target = rng.uniform(20, 80, 40)
        prediction = target + rng.normal(0, 5, 40)
        low, high = regression.bootstrap(regression.mae, target, prediction, n=300, seed=seed)
        hits += low <= 5 * np.sqrt(2 / np.pi) <= high  # the mean absolute value of a normal
    assert 176 <= hits <= 200  # 190 expected, four standard deviations of a binomial


def test_p_is_uniform_without_knowledge_and_smallest_with_it(ages):
    rng, people = np.random.default_rng(3), np.arange(20)
    values = []
    for seed in range(200):
        pair = rng.uniform(20, 80, (2, 20))
        values.append(
            regression.permutation(
                regression.mae, *pair, np.zeros(20), people, people, n=99, seed=seed
            )[1]
        )
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    everyone = np.arange(60)
    found = regression.permutation(regression.r2, *ages, np.zeros(60), everyone, everyone, n=99)
    assert found[1] == 0.01


def test_a_comparison_is_the_difference_and_changes_sign_with_the_order(ages):
    target, prediction = ages
    median = np.full(60, np.median(target))
    forth = regression.compare(target, prediction, median, n=300)
    back = regression.compare(target, median, prediction, n=300)
    assert forth["difference"] == pytest.approx(-back["difference"])
    assert forth["high"] < 0 < back["low"] and forth["p"] < 0.01


def test_unknown_ages_are_refused(ages):
    with pytest.raises(InputError, match="not finite"):
        regression.bootstrap(regression.mae, [np.nan, 1.0], [1.0, 2.0])
