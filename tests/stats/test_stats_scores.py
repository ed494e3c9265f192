"""Promises of the scores: against scikit-learn, closed forms, counting, and symmetry."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.special import logit as log_odds
from sklearn import metrics
from statsmodels.api import Logit
from statsmodels.stats.proportion import proportion_confint

from bids_sexclf.errors import InputError
from bids_sexclf.stats import scores


@pytest.fixture
def evidence():
    """Give 200 participants in five folds whose logits tell something, some of them equal."""
    rng = np.random.default_rng(3)
    target = rng.integers(0, 2, 200)
    logit = np.round(rng.normal(size=200) + 1.5 * target - 0.6, 1) + 0.05
    return target, logit, rng.integers(0, 5, 200)


def every_score(target, logit, fold=None):
    """Compute all scores."""
    return {name: getattr(scores, name)(target, logit, fold) for name in scores.SCORES}


def test_every_name_is_a_score_that_gives_a_float(evidence):
    assert all(type(value) is float for value in every_score(*evidence).values())
    assert set(scores.LOWER_IS_BETTER + scores.WITHOUT_NULL + scores.WITHOUT_INTERVAL) <= set(
        scores.SCORES
    )


def test_scores_equal_those_of_scikit_learn(evidence):
    target, logit, _ = evidence
    found = every_score(target, logit)
    said = logit > 0
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(target, logit))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, said))
    expected = metrics.balanced_accuracy_score(target, said)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    assert found["precision"] == pytest.approx(metrics.precision_score(target, said))
    assert found["recall"] == pytest.approx(metrics.recall_score(target, said))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(target, expit(logit)))


def test_auc_counts_the_pairs_of_each_fold_and_no_others(evidence):
    target, logit, fold = evidence
    won = [
        (logit[i] > logit[j]) + 0.5 * (logit[i] == logit[j])
        for i in np.flatnonzero(target == 1)
        for j in np.flatnonzero(target == 0)
        if fold[i] == fold[j]
    ]
    assert scores.auc(target, logit, fold) == pytest.approx(np.mean(won))


def test_auc_does_not_see_the_scale_of_a_fold(evidence):
    target, logit, fold = evidence
    rescaled = logit * (1 + fold) + 100 * fold
    assert scores.auc(target, rescaled, fold) == pytest.approx(scores.auc(target, logit, fold))


@pytest.mark.parametrize(
    ("target", "logit", "fold", "expected"),
    [
        ([0, 1], [-1.0, 1.0], None, 1.0),
        ([0, 1], [1.0, -1.0], None, 0.0),
        ([0, 1], [2.0, 2.0], None, 0.5),
        ([0, 0, 1, 1], [1.0, 3.0, 2.0, 4.0], None, 0.75),
        ([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"], 1.0),
        ([0, 1, 1, 1], [1.0, 2.0, -5.0, -6.0], ["a", "a", "b", "b"], 1.0),
    ],
)
def test_auc_is_what_one_counts_on_fingers(target, logit, fold, expected):
    assert scores.auc(target, logit, fold) == expected


@pytest.mark.parametrize(
    ("name", "target", "logit", "fold"),
    [
        ("auc", [1, 1], [0.0, 1.0], None),
        ("auc", [1, 0], [0.0, 1.0], [0, 1]),
        ("balanced_accuracy", [1, 1], [1.0, 1.0], None),
        ("precision", [1, 0], [-1.0, -1.0], None),
        ("recall", [0, 0], [1.0, -1.0], None),
        ("calibration_slope", [1, 1], [1.0, -1.0], None),
        ("calibration_slope", [1, 0], [1.0, 1.0], None),
        ("calibration_intercept", [1, 0], [1.0, 1.0], None),
    ],
)
def test_what_the_data_cannot_tell_is_nan(name, target, logit, fold):
    assert np.isnan(getattr(scores, name)(target, logit, fold))


def test_shuffling_rows_changes_no_score(evidence):
    order = np.random.default_rng(0).permutation(200)
    shuffled = every_score(*(column[order] for column in evidence))
    assert shuffled == pytest.approx(every_score(*evidence), abs=1e-9)


def test_swapping_the_sexes_flips_the_sign_of_the_intercept_and_nothing_else():
    rng = np.random.default_rng(5)
    target = rng.integers(0, 2, 120)
    logit = rng.normal(size=120) + target
    found, swapped = every_score(target, logit), every_score(1 - target, -logit)
    # Precision and recall are those of the positive class, which is now the other.
    for name in ("precision", "recall"):
        del found[name], swapped[name]
    swapped["calibration_intercept"] *= -1
    assert swapped == pytest.approx(found, abs=1e-8)


def test_scores_of_labels_dealt_at_random_are_those_the_docstrings_promise():
    rng = np.random.default_rng(1)
    target = np.repeat([0, 1], [120, 80])
    logit = rng.normal(size=200) + 0.3
    draws = [every_score(rng.permutation(target), logit) for _ in range(300)]
    mean = {name: np.mean([draw[name] for draw in draws]) for name in scores.SCORES}
    said, rate, p = np.mean(logit > 0), 0.4, expit(logit)
    assert mean["auc"] == pytest.approx(0.5, abs=0.01)
    assert mean["balanced_accuracy"] == pytest.approx(0.5, abs=0.01)
    assert mean["accuracy"] == pytest.approx(said * rate + (1 - said) * (1 - rate), abs=0.01)
    assert mean["precision"] == pytest.approx(rate, abs=0.01)
    assert mean["recall"] == pytest.approx(said, abs=0.01)
    assert mean["brier"] == pytest.approx(rate * (1 - rate) + np.mean((p - rate) ** 2), abs=0.01)
    assert mean["calibration_slope"] == pytest.approx(0, abs=0.04)
    assert mean["calibration_intercept"] == pytest.approx(log_odds(rate), abs=0.04)
    assert scores.brier(target, np.full(200, log_odds(rate))) == pytest.approx(rate * (1 - rate))


@pytest.mark.parametrize("cells", [(7, 3, 2, 8), (10, 0, 0, 10), (5, 0, 3, 4)])
def test_slope_between_two_logits_is_the_log_odds_ratio_with_a_half_added(cells):
    # With one parameter per cell, Firth's regression is the correction of Haldane and Anscombe.
    target = np.repeat([0, 1, 0, 1], cells)
    logit = np.repeat([-1.0, -1.0, 3.0, 3.0], cells)
    low, high = (np.log((cells[k + 1] + 0.5) / (cells[k] + 0.5)) for k in (0, 2))
    slope = (high - low) / 4
    assert scores.calibration_slope(target, logit) == pytest.approx(slope)
    assert scores.calibration_intercept(target, logit) == pytest.approx(low + slope)


def test_slope_and_intercept_approach_ordinary_logistic_regression():
    rng = np.random.default_rng(2)
    logit = rng.normal(size=20000) * 2
    target = rng.random(20000) < expit(0.4 + 0.7 * logit)
    fit = Logit(target.astype(float), np.column_stack([np.ones(20000), logit])).fit(disp=0)
    found = scores.calibration_intercept(target, logit), scores.calibration_slope(target, logit)
    assert found == pytest.approx(fit.params, abs=1e-3)


def test_slope_is_inverse_to_the_scale_of_the_logits(evidence):
    target, logit, _ = evidence
    slope = scores.calibration_slope(target, logit)
    assert scores.calibration_slope(target, 8 * logit) == pytest.approx(slope / 8)


def test_slope_stays_finite_on_separated_classes_and_on_outliers():
    rng = np.random.default_rng(4)
    for scale in (1e-3, 1.0, 1e3):
        logit = scale * rng.normal(size=40)
        assert scores.calibration_slope(logit > 0, logit) > 0
        logit[0] *= 1e4
        assert np.isfinite(scores.calibration_slope(rng.integers(0, 2, 40), logit))


def test_calibration_error_of_two_bins_is_counted_by_hand():
    # Two bins of four: 0.2 predicted and 1/4 observed, 0.9 predicted and 2/4 observed.
    logit = log_odds(np.repeat([0.2, 0.9], 4))
    target = [0, 0, 0, 1, 0, 1, 0, 1]
    expected = (0.05 + 0.4) / 2
    assert scores.calibration_error(target, logit, bins=2) == pytest.approx(expected)


def test_calibration_error_of_an_honest_model_falls_with_the_root_of_n():
    rng = np.random.default_rng(6)
    mean = {}
    for n in (100, 1600):
        logit = rng.normal(size=(100, n))
        target = rng.random((100, n)) < expit(logit)
        pairs = zip(target, logit, strict=True)
        mean[n] = np.mean([scores.calibration_error(*pair) for pair in pairs])
    assert mean[100] / mean[1600] == pytest.approx(4, rel=0.15)


def test_calibration_curve_has_bins_of_equal_count_and_wilson_intervals(evidence):
    target, _, _ = evidence
    logit = np.random.default_rng(8).normal(size=200)
    curve = scores.calibration_curve(target, logit, bins=8)
    assert curve["n"].tolist() == [25] * 8
    assert np.all(np.diff(curve["predicted"]) > 0)
    order = np.argsort(logit).reshape(8, 25)
    assert curve["predicted"] == pytest.approx(expit(logit)[order].mean(axis=1))
    assert curve["observed"] == pytest.approx(target[order].mean(axis=1))
    wilson = proportion_confint(target[order].sum(axis=1), 25, method="wilson")
    assert np.allclose([curve["low"], curve["high"]], wilson)


def test_equal_logits_share_a_bin():
    curve = scores.calibration_curve([0, 1] * 10, np.repeat([-1.0, 1.0], 10), bins=7)
    assert curve["n"].tolist() == [10, 10]


def test_area_below_the_curve_is_the_auc(evidence):
    target, logit, fold = evidence
    for folds in (None, fold):
        fpr, tpr = scores.roc_curve(target, logit, folds)
        area = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)
        assert area == pytest.approx(scores.auc(target, logit, folds), abs=1e-12)
        assert np.all(np.diff(fpr) >= 0) and np.all(np.diff(tpr) >= -1e-12)
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == pytest.approx((0, 0, 1, 1))


def test_curve_of_one_fold_turns_only_where_that_of_scikit_learn_has_points(evidence):
    target, logit, _ = evidence
    expected = metrics.roc_curve(target, logit, drop_intermediate=False)[:2]
    found = zip(*np.round(scores.roc_curve(target, logit), 9), strict=True)
    assert set(found) <= set(zip(*np.round(expected, 9), strict=True))


def test_curve_without_any_pair_is_nan():
    assert np.isnan(scores.roc_curve([1, 0], [0.0, 1.0], [0, 1])[1]).all()


@pytest.mark.parametrize(
    ("target", "logit", "fold", "match"),
    [
        ([0, 1], [0.0, np.nan], None, "1 logits that are not finite"),
        ([0, 1], [0.0, np.inf], None, "not finite"),
        ([0, 2], [0.0, 1.0], None, "1 targets other than 0 and 1"),
        ([0, np.nan], [0.0, 1.0], None, "1 targets other"),
        (["female", "male"], [0.0, 1.0], None, "2 targets other"),
        ([0, 1], ["a", "b"], None, "not numbers"),
        ([0, 1, 1], [0.0, 1.0], None, r"shape \(3,\)"),
        ([], [], None, "n > 0"),
        ([0, 1], [0.0, 1.0], [1], "fold labels of shape"),
        ([0, 1], [0.0, 1.0], ["a", "n/a"], "1 rows without a fold"),
        ([0, 1], [0.0, 1.0], [1.0, np.nan], "1 rows without a fold"),
        ([0, 1], [0.0, 1.0], [None, "a"], "1 rows without a fold"),
    ],
)
@pytest.mark.parametrize("name", ["auc", "brier"])
def test_evidence_that_cannot_be_used_is_refused(name, target, logit, fold, match):
    with pytest.raises(InputError, match=match):
        getattr(scores, name)(target, logit, fold)


@pytest.mark.parametrize("choice", [{"bins": 0}, {"level": 1.0}])
def test_calibration_curve_refuses_impossible_choices(choice):
    with pytest.raises(InputError, match="bins="):
        scores.calibration_curve([0, 1], [0.0, 1.0], **choice)
