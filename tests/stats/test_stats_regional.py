"""Promises of the regional tests: against scipy, by enumeration, and under the null."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from bids_sexclf.errors import InputError
from bids_sexclf.stats.regional import (
    find_strongest,
    signflip,
    signflip_max,
    weigh_alike,
    wilcoxon_drop,
)


@pytest.mark.parametrize(
    ("drops", "p", "effect_size"),
    [
        ([1, 2, 3, 4, 5], 1 / 32, 1.0),
        ([-1, 2, 3, 4, 5], 2 / 32, (14 - 1) / 15),
        ([1, -2, 3, 4, 5], 3 / 32, (13 - 2) / 15),
        ([-1, -2, -3, -4, -5], 1.0, -1.0),
        ([1, 2, -3], 5 / 8, 0.0),
    ],
)
def test_p_is_what_one_gets_by_writing_out_all_signs(drops, p, effect_size):
    found = wilcoxon_drop(np.array(drops, dtype=float)[:, None])
    assert found["p"] == pytest.approx(p)
    assert found["effect_size"] == pytest.approx(effect_size)
    assert found["mean"] == pytest.approx(np.mean(drops))


def test_regions_get_the_p_of_scipy_whatever_their_neighbours_hold():
    drop = np.random.default_rng(0).normal(0.2, 1, size=(30, 6))
    drop[:8, 2] = 0
    drop[:, 4] = 0
    found = wilcoxon_drop(drop)["p"]
    for r in (0, 1, 3, 5):
        assert found[r] == pytest.approx(wilcoxon(drop[:, r], alternative="greater").pvalue)
    expected = wilcoxon(drop[:, 2], alternative="greater", zero_method="pratt").pvalue
    assert found[2] == pytest.approx(expected)


def test_region_the_model_ignores_gets_nothing():
    drop = np.zeros((12, 2))
    drop[:, 1] = np.arange(12) + 1
    found = wilcoxon_drop(drop)
    assert (found["mean"][0], found["effect_size"][0], found["p"][0]) == (0, 0, 1)
    assert signflip_max(drop, n=99)[0] == 1
    assert signflip_max(np.zeros((12, 2)), n=99).tolist() == [1, 1]


def test_swapping_the_sexes_flips_effects_and_nothing_else():
    drop = np.random.default_rng(1).normal(0.3, 1, size=(25, 4))
    found, swapped = wilcoxon_drop(drop), wilcoxon_drop(-drop)
    assert np.allclose(swapped["mean"], -found["mean"])
    assert np.allclose(swapped["effect_size"], -found["effect_size"])
    # One-sided and discrete: both tails hold the observed rank sum.
    assert np.all((found["p"] + swapped["p"] >= 1) & (found["p"] + swapped["p"] < 1.1))


def test_shuffling_participants_changes_nothing():
    rng = np.random.default_rng(2)
    drop, family, order = rng.normal(0.2, 1, size=(40, 5)), np.arange(40) // 2, rng.permutation(40)
    assert np.allclose(wilcoxon_drop(drop[order])["p"], wilcoxon_drop(drop)["p"])
    assert np.array_equal(signflip_max(drop[order], n=300), signflip_max(drop, n=300))
    again = signflip_max(drop[order], family[order], n=300)
    assert np.array_equal(again, signflip_max(drop, family, n=300))


def test_flips_of_three_participants_are_the_eight_one_can_write_down(within):
    # All positive and equal: only the one flip that changes nothing reaches the observed mean.
    count = signflip_max(np.ones((3, 1)), n=20000).item() * 20001 - 1
    assert within(count, 20000, 1 / 8)
    # A family of three has one coin: half of the flips reach it.
    count = signflip_max(np.ones((3, 1)), group=["a", "a", "a"], n=20000).item() * 20001 - 1
    assert within(count, 20000, 1 / 2)


def test_p_is_never_below_one_in_n_plus_one():
    drop = np.random.default_rng(3).normal(5, 1, size=(40, 3))
    assert signflip_max(drop, n=99).tolist() == [1 / 100] * 3


def test_one_region_is_judged_as_by_the_wilcoxon_test_and_more_regions_cost():
    drop = np.random.default_rng(4).normal(0.35, 1, size=(40, 1))
    alone = signflip_max(drop, n=20000).item()
    assert alone == pytest.approx(wilcoxon_drop(drop)["p"].item(), abs=0.02)
    noise = np.random.default_rng(5).normal(size=(40, 20))
    assert signflip_max(np.hstack([drop, noise]), n=5000)[0] > 3 * alone


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_any_false_finding_is_as_rare_as_promised_however_regions_correlate(shared, within):
    rng = np.random.default_rng(6)
    false = single = 0
    for k in range(400):
        common = rng.normal(size=(25, 1))
        drop = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=(25, 15))
        p = signflip_max(drop * np.linspace(0.1, 10, 15), n=99, seed=k)
        false += p.min() <= 0.05
        single += p[0] <= 0.05
    assert within(false, 400, 0.05)
    assert single <= false


def test_families_must_be_known_for_the_promise_to_hold(within, above):
    rng = np.random.default_rng(7)
    found = {"known": 0, "unknown": 0}
    for k in range(300):
        drop = np.repeat(rng.normal(size=(14, 8)), 2, axis=0) + 0.3 * rng.normal(size=(28, 8))
        found["known"] += signflip_max(drop, np.arange(28) // 2, n=99, seed=k).min() <= 0.05
        found["unknown"] += signflip_max(drop, n=99, seed=k).min() <= 0.05
    assert within(found["known"], 300, 0.05)
    assert above(found["unknown"], 300, 0.05)


def test_wilcoxon_finds_drops_in_noise_as_rarely_as_promised(within):
    p = wilcoxon_drop(np.random.default_rng(8).normal(size=(30, 800)))["p"]
    assert within(np.sum(p <= 0.05), 800, 0.05)
    assert within(np.sum(p <= 0.5), 800, 0.5)


def test_a_planted_region_is_found_among_many():
    drop = np.random.default_rng(9).normal(size=(40, 48))
    drop[:, 17] += 1
    p = signflip_max(drop, n=999)
    assert p[17] < 0.01
    assert np.argmin(p) == 17


@pytest.mark.parametrize("test", [wilcoxon_drop, signflip_max])
@pytest.mark.parametrize(
    ("drop", "match"),
    [
        ([[1.0, np.nan]], "1 of 2 values that are not finite"),
        ([1.0, 2.0], r"needed \(participants, regions\)"),
        (np.empty((0, 3)), "not empty"),
        ([["a"]], "not numbers"),
    ],
)
def test_drops_that_cannot_be_used_are_refused(test, drop, match):
    with pytest.raises(InputError, match=match):
        test(drop)


def test_weighed_means_are_the_average_of_both_sexes():
    sex = np.array([0] * 9 + [1] * 3)
    values = np.random.default_rng(10).normal(size=12)
    means = [values[sex == k].mean() for k in (0, 1)]
    assert np.mean(values * weigh_alike(sex)) == pytest.approx(np.mean(means))
    with pytest.raises(InputError, match="1 class"):
        weigh_alike([1, 1])


def test_p_of_one_region_alone_is_that_of_a_study_of_it_alone():
    drop = np.random.default_rng(11).normal(0.2, 1, size=(30, 5))
    p, p_fwe = signflip(drop, n=9999)
    assert np.all(p <= p_fwe)
    for k in range(5):
        assert p[k] == pytest.approx(signflip_max(drop[:, [k]], n=9999)[0], abs=0.02)


def test_unequal_sexes_before_a_distant_fill_find_nothing_where_both_weigh_alike():
    # Without an effect a model drifts to one side; a fill far off then costs one sex what it
    # gives the other.
    rng, sex = np.random.default_rng(12), np.array([0] * 150 + [1] * 100)
    named = {"alike": 0, "each": 0}
    for k in range(200):
        slope = rng.normal(size=8)
        drop = np.where(sex, 1, -1)[:, None] * slope * (rng.normal(size=(250, 8)) - 4)
        weight = weigh_alike(sex)
        named["alike"] += signflip_max(drop, n=99, seed=k, weight=weight).min() <= 0.05
        named["each"] += signflip_max(drop, n=99, seed=k).min() <= 0.05
    assert named["alike"] <= 0.05 * 200
    assert named["each"] > 0.5 * 200


@pytest.mark.parametrize(
    ("weight", "match"), [([1.0, 2.0], r"shape \(2,\)"), ([-1.0] * 5, "5 of them negative")]
)
def test_weights_that_do_not_fit_are_refused(weight, match):
    with pytest.raises(InputError, match=match):
        signflip(np.ones((5, 2)), weight=weight)


def test_the_strongest_region_is_the_largest_fall_among_those_shown_to_matter():
    import pandas as pd

    rows = pd.DataFrame(
        {
            "name": ["a", "b", "c"],
            "mean": [0.3, 0.1, 0.2],
            "effect_size": [0.1, 0.9, 0.5],
            "p_fwe": [0.2, 0.01, 0.05],
        }
    )
    assert find_strongest(rows)["name"] == "c"
    assert find_strongest(rows.assign(p_fwe=[0.3, 0.2, 0.2]))["name"] == "c"
    assert find_strongest(rows.assign(p_fwe=[0.1, 0.2, 0.2]))["name"] == "a"
