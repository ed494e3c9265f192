"""What cross-validation does to variance: by hand, and by many cohorts without an effect."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from bids_sexclf.cohort import dependence
from bids_sexclf.errors import InputError
from bids_sexclf.stats import _bca, regional, scores
from bids_sexclf.stats.folds import variance_factor
from bids_sexclf.stats.multiplicity import holm
from bids_sexclf.stats.resampling import bootstrap, permutation

PEOPLE, FOLDS, FEATURES = 100, 5, 30


def deal(n=PEOPLE, folds=FOLDS, repeats=1, seed=0):
    """Deal people into test parts; the others teach."""
    rng = np.random.default_rng(seed)
    tested = [
        rows == fold
        for rows in (rng.permutation(np.arange(n) % folds) for _ in range(repeats))
        for fold in range(folds)
    ]
    return ~np.array(tested), np.array(tested)


def cross_validate(rng, effect=0.0):
    """Let the difference of the means of both classes be the model of each fold."""
    target = np.arange(PEOPLE) // FOLDS % 2
    data = rng.normal(size=(PEOPLE, FEATURES))
    data[:, 0] += effect * target
    fold = np.arange(PEOPLE) % FOLDS
    evidence = np.empty((PEOPLE, FEATURES))
    for f in range(FOLDS):
        there, here = fold != f, fold == f
        means = [data[there & (target == k)].mean(axis=0) for k in (0, 1)]
        evidence[here] = (data[here] - np.mean(means, axis=0)) * (means[1] - means[0])
    return target, evidence, fold


@pytest.mark.parametrize(("folds", "repeats"), [(2, 1), (5, 1), (10, 1), (5, 4), (PEOPLE, 1)])
def test_complete_cross_validation_doubles_the_variance(folds, repeats):
    # Participants of a test part never teach each other in either direction.
    assert variance_factor(*deal(folds=folds, repeats=repeats)) == pytest.approx(2)


def test_one_split_and_folds_that_share_no_pair_leave_the_variance():
    learnt, tested = deal()
    assert variance_factor(learnt[:1], tested[:1]) == 1
    assert variance_factor([[1, 0, 0, 0], [0, 0, 1, 0]], [[0, 1, 0, 0], [0, 0, 0, 1]]) == 1


def test_some_folds_lie_between():
    learnt, tested = deal()
    some = [variance_factor(learnt[:k], tested[:k]) for k in range(1, FOLDS + 1)]
    assert some == sorted(some) and some[0] == 1 and some[-1] == 2
    # In two folds of five the two test parts teach each other: of eight ordered pairs of parts,
    # two have their reverse.
    assert some[1] == pytest.approx(1 + 2 / 8)


def test_it_is_the_variance_of_sums_over_pairs():
    learnt, tested = deal(n=10, folds=5, repeats=2)
    rng = np.random.default_rng(1)
    weight = (tested[:3, :, None] & learnt[:3, None]).sum(axis=0)
    pairs = rng.normal(size=(20000, 10, 10))
    both = (pairs + pairs.transpose(0, 2, 1)) / np.sqrt(2)
    ratio = np.einsum("nij,ij->n", both, weight).var() / np.einsum("nij,ij->n", pairs, weight).var()
    assert ratio == pytest.approx(variance_factor(learnt[:3], tested[:3]), rel=0.05)


@pytest.mark.parametrize(
    ("learnt", "tested"),
    [([[1, 0]], [[0, 1, 0]]), ([[0, 0]], [[0, 1]]), ([[1, 0], [1, 0]], [[0, 1], [0, 0]])],
)
def test_folds_without_teachers_or_tested_are_refused(learnt, tested):
    with pytest.raises(InputError, match="somebody of either in each fold"):
        variance_factor(learnt, tested)


def test_tables_say_who_taught_whom():
    parts = ["train", "validation", "test", "unused"]
    splits = pd.DataFrame(
        {
            "repeat": 1,
            "fold": np.repeat([1, 2], 4),
            "participant_id": ["a", "b", "c", "d"] * 2,
            "part": [*parts, *reversed(parts)],
        }
    )
    run = pd.DataFrame({"repeat": 1, "fold": [1, 1]})
    assert dependence.variance_factor(splits, run) == 1
    # c is tested by the model of a and b, and b by that of c and d: one pair of four both ways.
    both = pd.concat([run, run.assign(fold=2)])
    assert dependence.variance_factor(splits, both) == pytest.approx(1 + 2 / 4)


def test_without_an_effect_scores_are_found_as_rarely_as_promised():
    rng, missed, found, cohorts = np.random.default_rng(3), 0, {1: 0, 2: 0}, 200
    for seed in range(cohorts):
        target, evidence, fold = cross_validate(rng)
        given = (scores.auc, target, evidence.sum(axis=1), fold)
        low, high = bootstrap(*given, n=200, seed=seed, factor=2)
        missed += not low <= 0.5 <= high
        for factor in (1, 2):
            found[factor] += permutation(*given, n=99, seed=seed, factor=factor)[1] <= 0.05
    assert binomtest(found[1], cohorts, 0.05, "greater").pvalue < 0.01
    assert binomtest(found[2], cohorts, 0.05, "greater").pvalue > 0.01
    assert binomtest(missed, cohorts, 0.05, "greater").pvalue > 0.01


def test_without_an_effect_regions_are_found_as_rarely_as_promised():
    rng, wilcoxon, flipped = np.random.default_rng(4), {1: 0, 2: 0}, {1: 0, 2: 0}
    cohorts = 200
    for seed in range(cohorts):
        target, evidence, _ = cross_validate(rng)
        drop = ((2 * target - 1)[:, None] * evidence).reshape(PEOPLE, 3, -1).sum(axis=2)
        for factor in (1, 2):
            p = regional.wilcoxon_drop(drop, factor)["p"]
            wilcoxon[factor] += (holm(p) < 0.05).any()
            flipped[factor] += (
                regional.signflip_max(drop, n=199, seed=seed, factor=factor) < 0.05
            ).any()
    for found in (wilcoxon, flipped):
        assert found[1] / cohorts > 0.1
        assert binomtest(found[2], cohorts, 0.05, "greater").pvalue > 0.01


def test_an_interval_reaches_out_by_the_root_of_the_factor():
    draws = np.random.default_rng(0).normal(2, 1, 200_000)
    low, high = _bca.interval(draws, 2.0, 0.0, 0.95, factor=2)
    assert (low, high) == pytest.approx((2 - 1.96 * 2**0.5, 2 + 1.96 * 2**0.5), abs=0.05)
    edge = _bca.interval(draws, low, 0.0, 0.95, factor=2)
    assert edge[0] < low
    # The p-value and the interval agree about zero.
    p = _bca.p_of_zero(draws, 2.0, 0.0, factor=2)
    assert p == pytest.approx(2 * (1 - 0.9213), abs=0.01)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("speed", [-0.05, 0.0, 0.05])
def test_intervals_and_p_values_agree_about_zero(factor, speed):
    rng = np.random.default_rng(0)
    shapes = [rng.normal(size=2000), rng.gamma(4, size=2000) - 4, 4 - rng.gamma(4, size=2000)]
    for shape, level in [(shape, level) for shape in shapes for level in (0.95, 0.99)]:
        shape = shape / shape.std()
        for middle in np.linspace(1.5, 5, 200):
            draws = shape + middle
            low, _ = _bca.interval(draws, middle, speed, level, factor)
            p = _bca.p_of_zero(draws, middle, speed, factor)
            if abs(p - (1 - level)) > 2 / 2000:  # a share counts draws, one by one
                assert (low > 0) == (p < 1 - level)


def test_a_tail_goes_on_where_the_draws_end():
    draws = np.sort(np.random.default_rng(0).normal(size=500))
    low, high = _bca.interval(draws, 0.0, 0.25, 0.999, factor=2)
    assert low < 0 and draws[-1] < high < 100
    p = [_bca.p_of_zero(draws + shift, shift, 0.0, factor=2) for shift in np.linspace(0, 8, 81)]
    assert np.all(np.diff(p) <= 0) and np.max(np.abs(np.diff(p))) < 0.08


def test_a_difference_that_no_draw_contradicts_has_a_small_p_with_a_factor_too():
    draws = np.random.default_rng(0).normal(-7, 1, 2000)
    for speed in (-0.1, 0.0, 0.05):
        assert _bca.p_of_zero(draws, -7.0, speed, factor=2) == 1 / 2001
    near = np.random.default_rng(0).normal(-3, 1, 2000)
    assert _bca.p_of_zero(near, -3.0, 0.0, factor=2) == pytest.approx(0.034, abs=0.01)
