"""Promises of intervals and permutations: by hand, by simulation, and by invariance."""

import time

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binomtest, norm, t

from bids_sexclf.errors import InputError
from bids_sexclf.stats import scores
from bids_sexclf.stats.means import mean_interval
from bids_sexclf.stats.resampling import bootstrap, permutation

NULL = np.array([5, 3, -2, 7, 1, 0, -4, 9, 2, -1, 6, -3, 4, 8, -5, 10, 2, -6, 1, 0])
"""Twenty integers, from -6 to 10; 0, 1 and 2 occur twice."""


def score_that_says(values):
    """Make a score that ignores its input and says these values one after the other."""
    said = iter(values)
    return lambda target, logit, fold: float(next(said))


def twins(rng, pairs, effect=0.0):
    """Draw twins who share their sex, and most of their logit."""
    target = np.repeat(rng.permutation(np.arange(pairs) % 2), 2)
    logit = np.repeat(rng.normal(size=pairs), 2) + 0.3 * rng.normal(size=2 * pairs)
    return target, logit + effect * target, np.repeat(np.arange(pairs), 2)


@pytest.mark.parametrize(
    ("observed", "higher_is_better", "expected"),
    [
        (11, True, 1 / 21),
        (10, True, 2 / 21),
        (9.5, True, 2 / 21),
        (8, True, 4 / 21),
        (2, True, 11 / 21),
        (-6, True, 21 / 21),
        (-7, True, 21 / 21),
        (-7, False, 1 / 21),
        (-6, False, 2 / 21),
        (-5, False, 3 / 21),
        (0, False, 9 / 21),
        (10, False, 21 / 21),
    ],
)
def test_p_is_what_one_counts_on_fingers(observed, higher_is_better, expected):
    score = score_that_says([observed, *NULL])
    mean, p = permutation(
        score, [0, 1, 0, 1], np.arange(4.0), n=20, higher_is_better=higher_is_better
    )
    assert p == pytest.approx(expected)
    assert mean == pytest.approx(NULL.mean())


def test_p_is_never_below_one_in_n_plus_one():
    logit = np.arange(40.0) - 19.5
    mean, p = permutation(scores.auc, logit > 0, logit, n=99)
    assert p == 1 / 100
    assert mean == pytest.approx(0.5, abs=0.04)
    worst = permutation(scores.auc, logit < 0, logit, n=99)
    assert worst[1] == 1


def test_score_of_which_less_is_better_is_judged_by_the_lower_tail():
    logit = np.linspace(-3, 3, 60)
    p = [permutation(scores.brier, logit > 0, logit, n=199, higher_is_better=b)[1] for b in (0, 1)]
    assert p == [1 / 200, 1]


@pytest.mark.parametrize("folds", [1, 4])
def test_permutation_finds_an_effect_in_noise_as_rarely_as_promised(folds, within):
    rng = np.random.default_rng(0)
    p = []
    for k in range(400):
        fold = np.arange(40) % folds
        logit = rng.normal(size=40) * (1 + fold) + 5 * fold
        target = rng.permutation(np.arange(40) // folds % 2)
        p.append(permutation(scores.auc, target, logit, fold, n=19, seed=k)[1])
    assert within(np.sum(np.array(p) <= 0.05), 400, 0.05)
    assert within(np.sum(np.array(p) <= 0.5), 400, 0.5)


def test_families_must_be_known_for_the_promise_to_hold(within, above):
    rng = np.random.default_rng(1)
    found = {"known": 0, "unknown": 0}
    for k in range(600):
        target, logit, family = twins(rng, 16)
        found["known"] += (
            permutation(scores.auc, target, logit, group=family, n=19, seed=k)[1] < 0.06
        )
        found["unknown"] += permutation(scores.auc, target, logit, n=19, seed=k)[1] < 0.06
    assert within(found["known"], 600, 0.05)
    assert above(found["unknown"], 600, 0.05)


def test_labels_stay_in_their_fold_and_families_stay_together():
    rng = np.random.default_rng(2)
    target, logit, family = twins(rng, 20)
    fold = family % 4
    seen = []

    def record(labels, logits, folds):
        seen.append((labels, logits, folds))
        return 0.0

    permutation(record, target, logit, fold, family, n=25)
    home = dict(zip(logit, family, strict=True))
    for labels, logits, folds in seen:
        families = np.array([home[value] for value in logits])
        assert all(np.ptp(labels[families == f].astype(int)) == 0 for f in range(20))
        for f in range(4):
            assert labels[folds == f].sum() == target[fold == f].sum()
    assert len({labels.tobytes() for labels, _, _ in seen}) > 20


def test_brother_and_sister_may_change_places_with_other_families():
    seen = set()

    def record(labels, logits, folds):
        seen.add(tuple(labels.astype(int)))
        return 0.0

    permutation(record, [0, 1, 1, 1], np.arange(4.0), group=[7, 7, 9, 9], n=200)
    # The brother may be any of the four.
    assert len(seen) == 4


def test_participant_keeps_one_label_through_sessions_and_repeats():
    rng = np.random.default_rng(3)
    participant = np.tile(np.arange(12), 2)
    family = participant // 2
    target = np.tile(rng.integers(0, 2, 12), 2)
    logit, fold = rng.normal(size=24), np.r_[np.arange(12) // 2 % 3, 3 + np.arange(12) // 2 % 2]
    home = dict(zip(logit, participant, strict=True))

    def record(labels, logits, folds):
        who = np.array([home[value] for value in logits])
        assert all(np.ptp(labels[who == w].astype(int)) == 0 for w in range(12))
        return labels.sum()

    mean, _ = permutation(record, target, logit, fold, family, n=30, participant=participant)
    assert mean == target.sum()


def test_participant_with_two_labels_is_refused():
    with pytest.raises(InputError, match="1 whose participant has another target"):
        permutation(scores.auc, [0, 1, 1], [0.0, 1.0, 2.0], participant=["a", "a", "b"])


def test_nothing_to_exchange_gives_p_of_one():
    alone = permutation(scores.accuracy, [0, 1], [-1.0, 1.0], fold=["a", "b"], n=9)
    assert alone == (1.0, 1.0)


@pytest.mark.parametrize("kind", ["alone", "families"])
def test_shuffling_rows_changes_no_interval_and_no_p(kind):
    rng = np.random.default_rng(4)
    target, logit, family = twins(rng, 30, 0.5)
    group = family if kind == "families" else None
    order = rng.permutation(60)
    shuffled = group if group is None else group[order]
    for test in (bootstrap, permutation):
        found = test(scores.auc, target, logit, family % 3, group, n=100)
        again = test(scores.auc, target[order], logit[order], family[order] % 3, shuffled, n=100)
        assert again == pytest.approx(found, abs=1e-12)


def test_seed_alone_decides_the_draws():
    target, logit, _ = twins(np.random.default_rng(5), 30, 1.0)
    first, same, other = (bootstrap(scores.auc, target, logit, n=200, seed=s) for s in (1, 1, 2))
    assert first == same != other


def test_resamples_keep_both_classes_and_whole_families():
    rng = np.random.default_rng(6)
    target = np.r_[np.zeros(30, int), 1, 1, rng.integers(0, 2, 8)]
    family = np.r_[np.arange(30) // 3, 10, 10, 11 + np.arange(8) // 2]
    logit = rng.normal(size=40)
    home = dict(zip(logit, family, strict=True))

    def record(labels, logits, folds):
        copies = np.array([home[value] for value in logits])
        assert labels.any() and not labels.all()
        for f in np.unique(copies):
            assert np.sum(copies == f) % np.sum(family == f) == 0
        return float(rng.random())

    bootstrap(record, target, logit, group=family, n=200)


@pytest.mark.parametrize("separation", [1.2, 2.2])
def test_interval_covers_the_true_auc(separation, within):
    rng = np.random.default_rng(7)
    truth, hits, sets = norm.cdf(separation / np.sqrt(2)), 0, 120
    target = np.arange(60) % 2
    for k in range(sets):
        logit = rng.normal(size=60) + separation * target
        low, high = bootstrap(scores.auc, target, logit, n=200, seed=k)
        hits += low <= truth <= high
    assert within(hits, sets, 0.95)


def test_interval_of_accuracy_covers_and_families_make_it_wider(within):
    rng = np.random.default_rng(8)
    truth, hits, width = norm.cdf(1 / np.sqrt(1.09)), 0, []
    for k in range(100):
        target, noise, family = twins(rng, 30)
        logit = noise + np.where(target, 1.0, -1.0)
        low, high = bootstrap(scores.accuracy, target, logit, group=family, n=200, seed=k)
        naive = bootstrap(scores.accuracy, target, logit, n=200, seed=k)
        hits += low <= truth <= high
        width.append((high - low) / (naive[1] - naive[0]))
    assert within(hits, 100, 0.95)
    # Twins of one mind are half as many: the square root of two at most.
    assert 1.1 < np.mean(width) < 1.5


def test_interval_holds_the_estimate():
    rng = np.random.default_rng(9)
    target = rng.integers(0, 2, 80)
    logit = rng.normal(size=80) + target
    for name in ("auc", "accuracy", "balanced_accuracy", "precision", "brier", "calibration_slope"):
        score = getattr(scores, name)
        low, high = bootstrap(score, target, logit, n=200)
        assert low < score(target, logit) < high, name


def test_model_without_an_error_does_not_get_certainty():
    logit = np.arange(20.0) - 9.5
    low, high = bootstrap(scores.auc, logit > 0, logit, n=50)
    # Ten successes of ten trials: the exact lower bound is 0.025 ** (1 / 10).
    assert low == pytest.approx(binomtest(10, 10).proportion_ci(0.95, "exact").low) and high == 1
    assert bootstrap(scores.auc, logit < 0, logit, n=50) == pytest.approx((0, 1 - low))
    assert np.isnan(bootstrap(scores.calibration_slope, logit * 0 > 1, logit, n=50)).all()


def test_undefined_score_has_no_interval_and_no_p():
    target, logit = [1, 1, 1, 1], np.arange(4.0)
    assert np.isnan(bootstrap(scores.auc, target, logit, n=50)).all()
    assert np.isnan(permutation(scores.auc, target, logit, n=9)).all()


def test_two_thousand_resamples_of_the_auc_take_no_time_to_speak_of():
    target, logit, family = twins(np.random.default_rng(10), 75, 1.0)
    start = time.process_time()
    bootstrap(scores.auc, target, logit, family % 5, n=2000)
    assert time.process_time() - start < 2


def test_intervals_are_the_bca_intervals_of_scipy():
    rng = np.random.default_rng(16)
    values = rng.exponential(size=25)
    expected = stats.bootstrap((values,), np.mean, n_resamples=200000, random_state=1)
    found = mean_interval(values, n=200000)
    assert found == pytest.approx(expected.confidence_interval, abs=0.012)
    female, male = rng.normal(1.8, 1, size=22), rng.normal(0, 1, size=18)
    expected = stats.bootstrap(
        (female, male),
        lambda f, m, axis: np.mean(f[..., :, None] > m[..., None, :], axis=(-2, -1)),
        n_resamples=20000,
        random_state=1,
        batch=1000,
    )
    target = np.repeat([1, 0], [22, 18])
    found = bootstrap(scores.auc, target, np.r_[female, male], n=20000)
    assert found == pytest.approx(expected.confidence_interval, abs=0.008)


def test_interval_of_a_mean_approaches_that_of_student():
    values = np.random.default_rng(11).normal(3, 2, size=400)
    low, high = mean_interval(values, n=20000)
    half = t.ppf(0.975, 399) * values.std(ddof=1) / np.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_interval_of_a_mean_covers_and_needs_the_families(within, above):
    rng = np.random.default_rng(12)
    hits = {"known": 0, "unknown": 0}
    for k in range(300):
        _, values, family = twins(rng, 40)
        for name, group in (("known", family), ("unknown", None)):
            low, high = mean_interval(values, group, n=500, seed=k)
            hits[name] += low <= 0 <= high
    assert within(hits["known"], 300, 0.94)
    assert above(300 - hits["unknown"], 300, 0.05)


def test_interval_of_a_mean_covers_skewed_values():
    rng = np.random.default_rng(13)
    low, high = np.array(
        [mean_interval(rng.exponential(size=(40, 1)), n=500, seed=k) for k in range(300)]
    ).T[0]
    # With 40 skewed values no bootstrap keeps quite what it promises: at least .90 here.
    assert np.mean((low <= 1) & (high >= 1)) > 0.9 - 3 * np.sqrt(0.9 * 0.1 / 300)


def test_each_column_gets_the_interval_it_gets_alone_with_the_same_rows():
    table = np.random.default_rng(14).normal(size=(25, 3)) + [0, 1, 2]
    low, high = mean_interval(table, n=4000)
    for k in range(3):
        alone = mean_interval(table[:, k], n=4000)
        assert (low[k], high[k]) == pytest.approx(alone, abs=0.05)


def test_classes_that_weigh_alike_have_the_interval_of_scipy():
    rng = np.random.default_rng(17)
    female, male = rng.normal(1, 1, size=30), rng.exponential(2, size=12)
    expected = stats.bootstrap(
        (female, male),
        lambda f, m, axis: (np.mean(f, axis=axis) + np.mean(m, axis=axis)) / 2,
        n_resamples=50000,
        random_state=1,
    )
    values, target = np.r_[female, male], np.repeat([0, 1], [30, 12])
    found = mean_interval(values, target=target, n=50000)
    assert found == pytest.approx(expected.confidence_interval, abs=0.02)
    order = rng.permutation(42)
    again = mean_interval(values[order], target=target[order], n=50000)
    assert again == pytest.approx(found)
    families = np.arange(42) // 2  # one of them holds a woman and a man
    assert np.isfinite(mean_interval(values, families, target=target)).all()


def test_mean_without_spread_is_its_own_interval_and_one_participant_has_none():
    assert mean_interval(np.zeros(12)) == (0.0, 0.0)
    assert np.isnan(mean_interval([1.0])).all()
    assert np.isnan(mean_interval([1.0, 2.0], group=["a", "a"])).all()


def test_shuffling_rows_changes_no_interval_of_a_mean():
    rng = np.random.default_rng(15)
    values, group, order = rng.normal(size=(30, 2)), np.arange(30) // 3, rng.permutation(30)
    for g in (None, group):
        again = mean_interval(values[order], None if g is None else g[order])
        assert np.allclose(again, mean_interval(values, g))


@pytest.mark.parametrize("choice", [{"n": 0}, {"n": 2.5}, {"level": 0.0}, {"level": 95}])
def test_impossible_choices_are_refused(choice):
    with pytest.raises(InputError, match="needed a whole n"):
        bootstrap(scores.auc, [0, 1], [0.0, 1.0], **choice)


def test_values_and_families_that_are_missing_are_refused():
    with pytest.raises(InputError, match="1 of 2 values"):
        mean_interval([1.0, np.nan])
    with pytest.raises(InputError, match="rows without a group"):
        bootstrap(scores.auc, [0, 1], [0.0, 1.0], group=["n/a", "f1"])
