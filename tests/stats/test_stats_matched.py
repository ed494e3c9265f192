"""Accuracy among pairs: evidence that is size alone falls to chance, other evidence does not."""

import numpy as np
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.stats.matched import matched_auc
from bids_sexclf.stats.scores import auc


def _people(seed, effect, n=200):
    rng = np.random.default_rng(seed)
    sex = np.arange(n) % 2
    size = 1200 + 100 * (rng.standard_normal(n) + 1.5 * sex)
    return sex, size, size / 100 + 0.3 * rng.standard_normal(n) + effect * sex


def _curve(sex, size, evidence, **more):
    about = {"fold": np.zeros(sex.size), "participant": np.arange(sex.size), "n": 200} | more
    return matched_auc(sex, evidence, size, [np.inf, 50, 5], **about)


def test_evidence_of_size_alone_falls_to_chance():
    whole, _, close = _curve(*_people(0, 0.0))
    assert whole["pairs"] == 100 and whole["auc"] == pytest.approx(auc(*_people(0, 0.0)[::2]))
    assert close["pairs"] < 100 and abs(close["difference"]) < 5
    assert close["low"] < 0.5 < close["high"]
    assert whole["low"] > 0.7


def test_evidence_of_more_than_size_stays():
    assert _curve(*_people(1, 2.0))[-1]["low"] > 0.7


def test_repeats_and_scales_of_folds_change_nothing():
    sex, size, evidence = _people(2, 1.0)
    fold = np.arange(200) // 2 % 4
    one = _curve(sex, size, evidence, fold=fold)
    stretched = np.r_[evidence, evidence] * np.r_[fold + 1, fold + 9]
    twice = [np.tile(column, 2) for column in (sex, size)]
    more = {"fold": np.r_[fold, fold + 4], "participant": np.tile(np.arange(200), 2)}
    for a, b in zip(one, _curve(*twice, stretched, **more), strict=True):
        assert a == pytest.approx(b)


def test_few_pairs_have_no_score():
    sex, size, evidence = _people(3, 1.0, n=6)
    made = _curve(sex, size, evidence)[0]
    assert made["pairs"] == 3 and np.isnan([made["auc"], made["low"], made["high"]]).all()
    with pytest.raises(InputError, match="one number per row"):
        _curve(sex, size[:3], evidence)
