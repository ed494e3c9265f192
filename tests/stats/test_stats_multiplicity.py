"""Promises of the corrections: against statsmodels, and under the null."""

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from bids_sexclf.errors import InputError
from bids_sexclf.stats.multiplicity import benjamini_hochberg, holm

CORRECTIONS = {"holm": holm, "fdr_bh": benjamini_hochberg}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_correction_equals_that_of_statsmodels(name):
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 48, 246):
        for p in (rng.random(size), np.round(rng.random(size) ** 3, 2), np.ones(size)):
            assert np.allclose(CORRECTIONS[name](p), multipletests(p, method=name)[1])


@pytest.mark.parametrize("name", CORRECTIONS)
def test_order_of_tests_changes_nothing(name):
    rng = np.random.default_rng(1)
    p, order = rng.random(30) ** 2, rng.permutation(30)
    assert np.allclose(CORRECTIONS[name](p[order]), CORRECTIONS[name](p)[order])


@pytest.mark.parametrize("correct", CORRECTIONS.values())
def test_correction_never_makes_a_p_smaller_and_leaves_its_argument_alone(correct):
    p = np.random.default_rng(2).random(50) ** 2
    before = p.copy()
    adjusted = correct(p)
    assert np.all(adjusted >= p - 1e-15) and np.all(adjusted <= 1)
    assert np.array_equal(p, before)


def test_no_tests_need_no_correction():
    assert holm([]).size == benjamini_hochberg([]).size == 0


@pytest.mark.parametrize("correct", CORRECTIONS.values())
def test_any_false_finding_among_true_nulls_is_as_rare_as_promised(correct):
    p = np.random.default_rng(3).random((2000, 48))
    false = sum(correct(row).min() <= 0.05 for row in p)
    low, high = binom.ppf([5e-5, 1 - 5e-5], 2000, 0.05)
    assert low <= false <= high


@pytest.mark.parametrize("correct", CORRECTIONS.values())
@pytest.mark.parametrize("p", [[0.1, np.nan], [-0.1], [1.1], [[0.1, 0.2]]])
def test_p_that_is_none_is_refused(correct, p):
    with pytest.raises(InputError):
        correct(p)
