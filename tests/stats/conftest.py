"""How often is rarely enough: bounds that a right test breaks once in ten thousand runs."""

import pytest
from scipy.stats import binom


@pytest.fixture(scope="session")
def within():
    """Tell whether a count is what a binomial law of this rate gives."""

    def within(count, n, rate):
        low, high = binom.ppf([5e-5, 1 - 5e-5], n, rate)
        return low <= count <= high

    return within


@pytest.fixture(scope="session")
def above():
    """Tell whether a count is too large for a binomial law of this rate."""
    return lambda count, n, rate: count > binom.ppf(1 - 1e-4, n, rate)
