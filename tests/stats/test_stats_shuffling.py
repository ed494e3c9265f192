"""Dealt labels: balanced, whole families, and a control that sees copies."""

import numpy as np
import pytest

from bids_sexclf.stats.scores import auc
from bids_sexclf.stats.shuffling import shuffle_ages, shuffle_sexes


def test_half_of_each_sex_is_exchanged_in_each_fold():
    rng = np.random.default_rng(0)
    n = 80
    sex, fold = rng.permutation(np.arange(n) % 2), np.arange(n) // 16
    for f in range(5):  # eight of each in each fold
        sex[fold == f] = rng.permutation(np.arange(16) % 2)
    dealt = shuffle_sexes(sex, fold, np.arange(n).astype(str), seed=3)
    for f in range(5):
        for one in (0, 1):
            own = (fold == f) & (sex == one)
            assert np.sum(dealt[own] != sex[own]) == 4


def test_families_are_exchanged_whole_and_order_does_not_matter():
    rng = np.random.default_rng(1)
    n = 60
    family = rng.integers(25, size=n).astype(str)
    fold = np.array([int(f) % 3 for f in family])
    sex = rng.permutation(np.arange(n) % 2)
    dealt = shuffle_sexes(sex, fold, family, seed=4)
    for f in np.unique(family):
        assert len(set((dealt != sex)[family == f])) == 1
    order = rng.permutation(n)
    again = shuffle_sexes(sex[order], fold[order], family[order], seed=4)
    np.testing.assert_array_equal(again, dealt[order])
    assert abs(np.mean(dealt != sex) - 0.5) < 0.1


def test_ages_go_with_the_true_ones_no_more():
    rng = np.random.default_rng(2)
    age, fold = rng.uniform(20, 80, 60), np.arange(60) % 3
    dealt = shuffle_ages(age, fold, np.arange(60).astype(str), seed=5)
    for f in range(3):
        np.testing.assert_allclose(np.sort(dealt[fold == f]), np.sort(age[fold == f]))
    assert abs(np.corrcoef(age, dealt)[0, 1]) < 0.05


@pytest.mark.parametrize(("copies", "effect"), [(False, 0.0), (False, 3.0), (True, 0.0)])
def test_control_is_at_chance_but_for_copies(copies, effect):
    """Nearest neighbours of people of whom each may have a copy in another fold."""
    scores = []
    for seed in range(30):
        rng = np.random.default_rng([seed, 9])
        n = 80
        sex = np.tile(rng.permutation(np.arange(n // 2) % 2), 2)
        data = rng.standard_normal((n, 10)) + effect * sex[:, None] / 3
        family = np.arange(n).astype(str)
        if copies:
            data[n // 2 :] = data[: n // 2]
            # The cohort stage finds them alike, so that labels are dealt to both at once.
            family = np.tile(np.arange(n // 2), 2).astype(str)
        fold = (np.arange(n) // (n // 4)) % 4
        target = shuffle_sexes(sex, fold, family, seed)
        evidence = np.empty(n)
        for f in range(4):
            learn, test = fold != f, fold == f
            apart = ((data[test, None] - data[None, learn]) ** 2).sum(axis=2)
            near = np.argsort(apart, axis=1)[:, :1]
            evidence[test] = target[learn][near].mean(axis=1) - 0.5
        scores.append(auc(target, evidence, fold))
    if copies:
        assert np.mean(scores) > 0.95
    else:
        assert abs(np.mean(scores) - 0.5) < 0.04
