"""Promises of the confound checks: against scipy and DeLong, and under the null."""

import numpy as np
import pytest
from scipy.stats import norm, spearmanr, t

from bids_sexclf.errors import InputError
from bids_sexclf.stats.confounds import explained_by, partial_association
from bids_sexclf.stats.scores import auc


def delong(target, first, second):
    """Give the p-value of equal AUCs after DeLong, DeLong & Clarke-Pearson (1988)."""
    psi = [
        (column[target == 1][:, None] > column[target == 0]).astype(float)
        for column in (first, second)
    ]
    difference = psi[0] - psi[1]
    positive, negative = difference.mean(axis=1), difference.mean(axis=0)
    variance = positive.var(ddof=1) / positive.size + negative.var(ddof=1) / negative.size
    return 2 * norm.sf(abs(difference.mean()) / np.sqrt(variance))


@pytest.fixture
def heads():
    """Give 90 participants whose logits follow head size a little, within either sex."""
    rng = np.random.default_rng(0)
    target = np.arange(90) % 2
    volume = rng.normal(size=90) + 2 * target
    return 0.4 * volume + rng.normal(size=90), target, volume


def test_association_within_each_sex_is_that_of_spearman(heads):
    logit, target, volume = heads
    found = partial_association(logit, target, volume, n=20000)
    for sex, name in enumerate(("negative", "positive")):
        expected = spearmanr(logit[target == sex], volume[target == sex])
        assert found[name]["rho"] == pytest.approx(expected.statistic)
        assert found[name]["p"] == pytest.approx(expected.pvalue, abs=0.02)
        assert found[name]["n"] == 45
    pair = [found[name]["rho"] for name in ("negative", "positive")]
    assert found["pooled"]["rho"] == pytest.approx(np.mean(pair))


def test_difference_between_the_sexes_alone_is_no_association(within):
    rng = np.random.default_rng(1)
    target, p = np.arange(40) % 2, []
    for k in range(400):
        logit, volume = rng.normal(size=(2, 40)) + 4 * target
        found = partial_association(logit, target, volume, n=99, seed=k)
        p.append([found[name]["p"] for name in ("negative", "positive", "pooled")])
    for column in np.array(p).T:
        assert within(np.sum(column <= 0.05), 400, 0.05)
        assert within(np.sum(column <= 0.5), 400, 0.5)


def test_association_needs_the_families(within, above):
    rng = np.random.default_rng(2)
    target, family = np.repeat(np.arange(24) % 2, 2), np.arange(48) // 2
    false = {"known": 0, "unknown": 0}
    for k in range(300):
        logit, volume = np.repeat(rng.normal(size=(2, 24)), 2, axis=1)
        logit = logit + 0.1 * rng.normal(size=48)
        for name, group in (("known", family), ("unknown", None)):
            found = partial_association(logit, target, volume, group, n=99, seed=k)
            false[name] += found["pooled"]["p"] <= 0.05
    assert within(false["known"], 300, 0.05)
    assert above(false["unknown"], 300, 0.05)


def test_association_does_not_see_the_scale_of_a_fold(heads):
    logit, target, volume = heads
    fold = np.arange(90) // 2 % 3
    found = partial_association(logit, target, volume, fold=fold)
    rescaled = partial_association(logit * (1 + fold) + 50 * fold, target, volume, fold=fold)
    assert found == rescaled


def test_swapping_the_sexes_flips_the_sign_of_the_association_and_nothing_else(heads):
    logit, target, volume = heads
    found = partial_association(logit, target, volume, n=4000)
    swapped = partial_association(-logit, 1 - target, volume, n=4000)
    for name, other in (("negative", "positive"), ("positive", "negative"), ("pooled", "pooled")):
        assert swapped[other]["rho"] == pytest.approx(-found[name]["rho"])
        assert swapped[other]["p"] == pytest.approx(found[name]["p"], abs=0.02)


def test_shuffling_rows_changes_no_answer(heads):
    logit, target, volume = heads
    rng = np.random.default_rng(3)
    order, family, fold = rng.permutation(90), np.arange(90) // 3, np.arange(90) // 3 % 3
    for group in (None, family):
        g = None if group is None else group[order]
        found = partial_association(logit, target, volume, group, fold)
        again = partial_association(logit[order], target[order], volume[order], g, fold[order])
        assert again["pooled"] == pytest.approx(found["pooled"])
        found = explained_by(target, logit, volume, fold, group, n=200)
        again = explained_by(target[order], logit[order], volume[order], fold[order], g, n=200)
        assert again == pytest.approx(found)


def test_association_without_spread_or_company_is_nan():
    found = partial_association([0.0, 1.0, 2.0, 3.0], [0, 1, 1, 1], [1.0, 2.0, 2.0, 2.0])
    assert all(
        np.isnan(found[name][key])
        for name in ("negative", "positive")
        for key in found[name]
        if key != "n"
    )


def make_ages(rng, n, folds, effect=0.0, bend=0.0):
    """Simulate errors of models that shrink to the mean, and brains that shrink with age."""
    sex, fold = np.arange(n) % 2, np.arange(n) // 2 % folds
    age = rng.uniform(20, 80, n)
    own = 60 * rng.normal(size=n)
    volume = 1350 + 100 * sex - 2 * age - bend * np.maximum(age - 50, 0) ** 2 + own
    lean = np.tanh((age - 50) / 20) * 12 if bend else 0.5 * (age - 50)
    told = 50 + rng.normal(0, 3, folds)[fold] + lean + 6 * rng.normal(size=n) + effect * own
    return {"logit": told - age, "target": sex, "covariate": volume, "fold": fold}, age


@pytest.mark.parametrize(("n", "folds", "bend"), [(60, 5, 0), (120, 3, 0), (120, 5, 0.1)])
def test_error_that_leans_with_age_goes_with_nothing_but_age(n, folds, bend, within):
    rng, p, blind = np.random.default_rng(n + folds), [], []
    for k in range(150):
        columns, age = make_ages(rng, n, folds, bend=bend)
        found = partial_association(**columns, n=99, seed=k, beside=age)
        p.append([found[name]["p"] for name in ("negative", "positive", "pooled")])
        blind.append(partial_association(**columns, n=99, seed=k)["pooled"]["p"])
    for column in np.array(p).T:
        assert within(np.sum(column <= 0.05), 150, 0.05)
        assert within(np.sum(column <= 0.5), 150, 0.5)
    assert np.mean(np.array(blind) <= 0.05) > 0.6


def test_association_beside_age_is_found():
    rng = np.random.default_rng(10)
    columns, age = make_ages(rng, 120, 5, effect=-0.08)
    found = partial_association(**columns, beside=age)["pooled"]
    assert found["rho"] < -0.3 and found["p"] < 0.01
    # What both share with age hides it.
    assert partial_association(**columns)["pooled"]["p"] > 0.2


def test_association_beside_a_column_is_the_partial_one_of_spearman(heads):
    logit, target, volume = heads
    age = volume + np.random.default_rng(11).normal(size=90)
    found = partial_association(logit, target, volume, n=20000, beside=age)
    for sex, name in enumerate(("negative", "positive")):
        table = np.column_stack([logit, volume, age])[target == sex]
        inverse = np.linalg.inv(spearmanr(table).statistic)
        rho = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
        assert found[name]["rho"] == pytest.approx(rho)
        free = len(table) - 3
        p = 2 * t.sf(abs(rho) * np.sqrt(free / (1 - rho**2)), free)
        assert found[name]["p"] == pytest.approx(p, abs=0.03)


def test_association_beside_a_column_knows_neither_its_scale_nor_the_order_of_rows(heads):
    logit, target, volume = heads
    rng = np.random.default_rng(12)
    order, fold, age = rng.permutation(90), np.arange(90) // 2 % 3, rng.normal(size=90)
    rows = {"logit": logit, "target": target, "covariate": volume, "fold": fold, "beside": age}
    found = partial_association(**rows)
    assert partial_association(**rows | {"beside": np.exp(age)}) == found
    assert partial_association(**{name: one[order] for name, one in rows.items()}) == found


def test_nothing_is_left_beside_the_column_itself(heads):
    logit, target, volume = heads
    for found in partial_association(logit, target, volume, beside=volume).values():
        assert np.isnan(found["rho"]) and np.isnan(found["p"])
    few = partial_association(logit[:8], target[:8], volume[:8], [*"abcdefgh"], beside=logit[:8])
    assert all(np.isnan(one["p"]) for one in few.values())


def test_network_that_is_the_baseline_is_explained_by_it(heads):
    logit, target, _ = heads
    found = explained_by(target, logit, 3 * logit + 1, n=200)
    assert (found["difference"], found["p"], found["explained"]) == (0, 1, True)


def test_network_that_sees_more_than_head_size_is_not_explained_by_it():
    rng = np.random.default_rng(4)
    target, fold = np.arange(200) % 2, np.arange(200) // 2 % 5
    network, size = rng.normal(size=(2, 200)) + np.array([[3.0], [0.8]]) * target
    found = explained_by(target, network, size, fold, n=999)
    assert not found["explained"] and found["low"] > 0
    assert found["p"] < 0.01
    assert found["network"] == auc(target, network, fold)
    assert found["baseline"] == auc(target, size, fold)
    # And the other way round: a network worse than head size is explained by it.
    turned = explained_by(target, size, network, fold, n=999)
    assert turned["explained"] and turned["high"] < 0
    assert turned["difference"] == -found["difference"]


def test_difference_between_equals_is_found_as_rarely_as_promised_and_agrees_with_its_interval(
    within,
):
    rng = np.random.default_rng(5)
    target, p, covered = np.arange(80) % 2, [], 0
    for k in range(100):
        network, size = rng.normal(size=(2, 80)) + target
        found = explained_by(target, network, size, n=150, seed=k)
        outside = not found["low"] <= 0 <= found["high"]
        if abs(found["p"] - 0.05) > 0.02:
            assert outside == (found["p"] < 0.05)
        p.append(found["p"])
        covered += not outside
    assert within(covered, 100, 0.95)
    assert within(np.sum(np.array(p) <= 0.5), 100, 0.5)


def test_p_of_a_difference_is_close_to_that_of_delong():
    rng = np.random.default_rng(6)
    target = np.arange(300) % 2
    for effect in (1.0, 1.2, 1.4):
        shared = rng.normal(size=300)
        network, size = 0.7 * shared + 0.7 * rng.normal(size=(2, 300)) + [[effect], [1.0]] * target
        found = explained_by(target, network, size, n=3000)["p"]
        assert found == pytest.approx(delong(target, network, size), abs=0.04)


def test_columns_that_do_not_belong_together_are_refused(heads):
    logit, target, volume = heads
    with pytest.raises(InputError, match="covariate of shape"):
        partial_association(logit, target, volume[:5])
    with pytest.raises(InputError, match="not finite"):
        partial_association(logit, target, np.where(volume > 0, volume, np.nan))
    with pytest.raises(InputError, match="beside of shape"):
        partial_association(logit, target, volume, beside=volume[:5])
    with pytest.raises(InputError, match="covariate_logit of shape"):
        explained_by(target, logit, volume[:5])
