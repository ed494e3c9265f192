"""Cohen's d and its interval against textbooks, and how often the interval misses the truth."""

import numpy as np
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.stats.design import spline_columns
from bids_sexclf.stats.effects import cohens_d


def test_without_confounds_it_is_the_textbooks():
    rng = np.random.default_rng(0)
    sex = np.arange(41) % 2
    values = rng.standard_normal((41, 3)) * 5 + 100 + 4 * sex[:, None]
    men, women = values[sex == 1], values[sex == 0]
    pooled = ((len(men) - 1) * men.var(0, ddof=1) + (len(women) - 1) * women.var(0, ddof=1)) / 39
    expected = (men.mean(axis=0) - women.mean(axis=0)) / np.sqrt(pooled)
    np.testing.assert_allclose(cohens_d(values, sex)[0], expected, rtol=1e-9)


def test_with_confounds_it_is_a_linear_models():
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    n = 60
    sex, site, age = np.arange(n) % 2, np.arange(n) % 3, rng.standard_normal(n)
    values = rng.standard_normal(n) + age + 0.5 * sex + site
    design = np.column_stack([sex, site == 0, site == 1, site == 2, age]).astype(float)
    fit = sm.OLS(values, design).fit()
    d, _, _ = cohens_d(values[:, None], sex, age[:, None], site)
    assert d[0] == pytest.approx(fit.params[0] / np.sqrt(fit.scale), rel=1e-9)


@pytest.mark.parametrize("families", [False, True])
def test_interval_is_the_jackknifes(families):
    from scipy.stats import t

    rng = np.random.default_rng(2)
    n = 30
    sex, age = rng.permutation(np.arange(n) % 2), rng.standard_normal(n)
    family = np.arange(n) // 3 if families else np.arange(n)
    values = rng.standard_normal((n, 2)) + age[:, None]
    d, low, high = cohens_d(values, sex, age[:, None], None, family)
    rest = np.array(
        [
            cohens_d(values[family != f], sex[family != f], age[family != f, None])[0]
            for f in np.unique(family)
        ]
    )
    count = len(rest)
    error = np.sqrt((count - 1) / count * np.sum((rest - rest.mean(axis=0)) ** 2, axis=0))
    np.testing.assert_allclose((high - low) / 2, error * t.ppf(0.975, count - 3), rtol=1e-8)
    np.testing.assert_allclose((high + low) / 2, d, rtol=1e-9)


def test_what_cannot_be_measured_has_no_number():
    sex = np.arange(12) % 2
    values = np.random.default_rng(3).standard_normal((12, 3))
    values[:, 0], values[4, 1] = 7.1, np.nan
    d, low, high = cohens_d(values, sex)
    assert np.isnan([d[:2], low[:2], high[:2]]).all() and low[2] < d[2] < high[2]
    assert np.isnan(cohens_d(values, sex, stratum=sex)).all()
    with pytest.raises(InputError, match="12 people"):
        cohens_d(values[:, 0], sex)


@pytest.mark.parametrize("case", ["few", "twins", "adjusted", "unequal"])
def test_interval_misses_the_truth_in_one_of_twenty(case, within):
    n = {"few": 16}.get(case, 60)
    missed = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 7])
        sex = rng.permutation(np.arange(n) % (5 if case == "unequal" else 2) == 0).astype(int)
        family, size = np.arange(n), rng.standard_normal(n)
        if case == "twins":
            family, sex = np.arange(n) // 2, np.repeat(rng.permutation(np.arange(n // 2) % 2), 2)
        own, shared = rng.standard_normal((2, n))
        noise = np.sqrt(0.2) * own + np.sqrt(0.8) * shared[family] if case == "twins" else own
        size = size + sex
        values = 0.6 * sex + noise + (size if case == "adjusted" else 0)
        columns = spline_columns(size) if case == "adjusted" else None
        _, low, high = cohens_d(values[:, None], sex, columns, None, family)
        missed += not low[0] <= 0.6 <= high[0]
    assert within(missed, 200, 0.05)
