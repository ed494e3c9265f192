"""Conditional permutation of features: what others tell is not exchanged."""

import numpy as np
import pytest

from bids_sexclf import attribution
from bids_sexclf.attribution import Table, View
from bids_sexclf.fills import Replacement

TAUGHT, TESTED = 400, 60
GROUPS = ("copy", "own", "pair", "pair", "spare")


def draw(n, seed):
    """Draw people whose second feature is nearly the first."""
    values = np.random.default_rng(seed).standard_normal((n, len(GROUPS)))
    values[:, 1] = values[:, 0] + 0.1 * values[:, 1]
    return 10 + 3 * values


def ask(weights, rows, groups=GROUPS):
    """Ask about a linear model; the next person is the donor."""

    def fill(row, number):
        return [Replacement(rows[(number + 1) % len(rows)], "next")]

    table = Table(draw(TAUGHT, 0), groups)
    view = View(lambda values: values @ weights, None, fill=fill, reference=table)
    answers = list(attribution.attribute("permutation_importance", rows, view))
    return np.array([one.values[0] for one in answers]), answers[0].names


def test_what_a_copy_tells_is_not_lost_and_what_is_alone_is():
    rows = draw(TESTED, 1)
    weights = np.array([1.0, 0, 1, 0, 0])
    values, names = ask(weights, rows)
    assert names == ("copy", "own", "pair", "spare")
    assert not values[:, [1, 3]].any()  # the model ignores them
    exchanged = rows[:, 2] - np.roll(rows[:, 2], -1)
    assert np.corrcoef(values[:, 2], exchanged)[0, 1] > 0.99
    assert values[:, 2].std() == pytest.approx(exchanged.std(), rel=0.1)
    # One tenth of the spread is left of a feature whose copy is there.
    assert 0.05 < values[:, 0].std() / values[:, 2].std() < 0.2


def test_copies_that_belong_together_are_lost_together():
    rows = draw(TESTED, 1)
    values, names = ask(np.array([1.0, 0, 1, 0, 0]), rows, ("a", "a", "b", "b", "c"))
    assert names == ("a", "b", "c")
    assert values[:, 0].std() == pytest.approx(values[:, 1].std(), rel=0.3)


def test_unknown_numbers_are_the_median_and_one_group_is_exchanged_whole():
    rows = draw(TESTED, 1)
    weights = np.array([1.0, 0, 1, 0, 0])
    values, _ = ask(weights, rows, ("all",) * 5)
    np.testing.assert_allclose(values[:, 0], (rows - np.roll(rows, -1, 0)) @ weights)
    unknown = rows.copy()
    unknown[0, 2] = np.nan
    filled = rows.copy()
    filled[0, 2] = np.median(draw(TAUGHT, 0)[:, 2])
    np.testing.assert_allclose(ask(weights, unknown)[0], ask(weights, filled)[0])
