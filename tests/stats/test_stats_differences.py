"""Regional differences against brute force, other people's tests, and cohorts without any."""

import numpy as np
import pytest
from scipy import stats

from bids_sexclf.errors import InputError
from bids_sexclf.stats.design import spline_columns
from bids_sexclf.stats.differences import CONSTANT, NO_VALUE, NO_VOXEL, Regions, step_down
from bids_sexclf.stats.exchangeable import deal_sexes, exchange_classes, find_obstacle


def _test(deals, *regions):
    tests = Regions(deals)
    for values in regions:
        tests.add(values)
    return tests.finish()


def _by_pairs(standard, labels, family, leverage):
    """Sum over pairs, one by one, as the statistic is defined."""
    own = 1 / (1 - np.array([leverage[family == f].mean() for f in family]))
    total = squares = 0.0
    for i in range(len(labels)):
        for j in range(len(labels)):
            alike = standard[i] @ standard[j]
            weight = 1.0 if family[i] != family[j] else 1 - own[i]
            total += weight * labels[i] * labels[j] * alike
            squares += alike**2 if family[i] != family[j] else 0
    return total, np.sqrt(squares)


@pytest.mark.parametrize("voxels", [4, 60])
@pytest.mark.parametrize("families", [False, True])
def test_statistic_equals_sum_over_pairs(voxels, families):
    rng = np.random.default_rng(1)
    n = 24
    sex = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    family = np.arange(n) // 2 if families else np.arange(n)
    site = np.repeat([0, 1], n // 2)
    values = rng.standard_normal((n, voxels)) * 3 + 5
    deals = deal_sexes(sex, None, site, family, n=20)
    made = _test(deals, values)
    classes, codes = exchange_classes(sex, site, family)
    centred = np.array([values[i] - values[classes == classes[i]].mean(axis=0) for i in range(n)])
    standard = centred / centred.std(axis=0)
    labels = np.array([sex[i] - sex[classes == classes[i]].mean() for i in range(n)])
    leverage = 1 / np.bincount(classes)[classes]
    total, norm = _by_pairs(standard, labels, codes, leverage)
    assert made["statistic"][0] == pytest.approx(total / norm, rel=1e-9)
    chance = [_by_pairs(standard, one, codes, leverage)[0] / norm for one in deals.dealt]
    assert made["p"][0] == (1 + np.sum(np.array(chance) >= total / norm - 1e-9)) / 21


def test_adjusted_statistic_equals_sum_over_pairs():
    rng = np.random.default_rng(2)
    n = 20
    size = rng.standard_normal(n)
    sex = rng.permutation(np.arange(n) % 2)
    values = rng.standard_normal((n, 50)) + size[:, None]
    deals = deal_sexes(sex, size[:, None], n=15)
    made = _test(deals, values)
    design = np.column_stack([np.ones(n), size])
    hat = design @ np.linalg.pinv(design)
    rest = values - hat @ values
    standard = rest / rest.std(axis=0)
    family, leverage = np.arange(n), np.diag(hat)
    total, norm = _by_pairs(standard, sex - hat @ sex, family, leverage)
    assert made["statistic"][0] == pytest.approx(total / norm, rel=1e-9)
    wide = standard * np.sqrt((1 - 1 / n) / (1 - leverage))[:, None]
    wide -= wide.mean(axis=0)
    even = np.full(n, 1 / n)
    chance = np.array([_by_pairs(wide, one, family, even)[0] / norm for one in deals.dealt])
    assert made["p"][0] == (1 + np.sum(chance >= total / norm - 1e-9)) / 16


def test_many_voxels_and_few_agree():
    """Whether sums run over voxels or over people changes nothing."""
    rng = np.random.default_rng(3)
    sex = np.arange(30) % 2
    values = rng.standard_normal((30, 20))
    deals = deal_sexes(sex, rng.standard_normal((30, 2)), group=np.arange(30) // 3, n=99)
    few, many = _test(deals, values), _test(deals, np.tile(values, (1, 5)))
    assert many["statistic"][0] == pytest.approx(few["statistic"][0], rel=1e-9)
    assert many["p"][0] == few["p"][0]


def test_single_precision_says_the_same():
    rng = np.random.default_rng(4)
    sex = np.arange(300) % 2
    values = rng.standard_normal((300, 12)) + 0.12 * sex[:, None] + 1000
    deals = deal_sexes(sex, n=499)
    tests = Regions(deals)
    assert tests.dtype == np.float32
    tests.add(values)
    exact = Regions(deals)
    exact.dtype = np.float64
    for form in ("observed", "null"):
        one = getattr(exact, form)
        for name in ("labels", "squares", "own"):
            setattr(one, name, getattr(one, name).astype(np.float64))
    exact.add(values)
    assert tests.statistic[0] == pytest.approx(exact.statistic[0], abs=1e-4)
    assert tests.finish()["p"][0] == pytest.approx(exact.finish()["p"][0], abs=0.005)


def test_one_voxel_is_the_permutation_test_of_scipy():
    """With as many women as men the statistic of one voxel grows with the difference of means."""
    rng = np.random.default_rng(5)
    sex = np.arange(10) % 2
    values = rng.standard_normal(10) + 1.2 * sex
    made = _test(deal_sexes(sex, n=4999), values[:, None])
    exact = stats.permutation_test(
        (values[sex == 1], values[sex == 0]),
        lambda men, women, axis=-1: np.mean(men, axis=axis) - np.mean(women, axis=axis),
        n_resamples=np.inf,
        vectorized=True,
    )
    assert made["p"][0] == pytest.approx(exact.pvalue, abs=3 * np.sqrt(0.25 / 4999))


def test_many_voxels_are_the_permanova_of_distances():
    """With as many women as men the order of deals is that of Anderson's pseudo-F."""
    from scipy.spatial.distance import pdist, squareform

    rng = np.random.default_rng(6)
    n = 16
    sex = np.arange(n) % 2
    values = rng.standard_normal((n, 7)) + 0.5 * sex[:, None]
    deals = deal_sexes(sex, n=199)
    squares = squareform(pdist((values - values.mean(axis=0)) / values.std(axis=0))) ** 2

    def pseudo_f(labels):
        of_one = labels > 0
        within = sum(squares[np.ix_(own, own)].sum() / own.sum() / 2 for own in (of_one, ~of_one))
        return (squares.sum() / n / 2 - within) / (within / (n - 2))

    observed = pseudo_f(deals.sex)
    chance = np.array([pseudo_f(one) for one in deals.dealt])
    expected = (1 + np.sum(chance >= observed - 1e-9)) / 200
    assert _test(deals, values)["p"][0] == expected


def test_step_down_equals_its_definition():
    rng = np.random.default_rng(7)
    statistic = np.array([2.5, 0.1, 1.8, 2.4])
    chance = rng.standard_normal((4, 99))
    p, p_fwe = step_down(statistic, chance)
    order = [0, 3, 2, 1]
    running = 0.0
    for place, test in enumerate(order):
        largest = chance[order[place:]].max(axis=0)
        running = max(running, (1 + np.sum(largest >= statistic[test])) / 100)
        assert p_fwe[test] == running
        assert p[test] == (1 + np.sum(chance[test] >= statistic[test])) / 100


def test_deals_keep_sites_and_families():
    rng = np.random.default_rng(8)
    n = 60
    site, family = np.arange(n) % 3, np.arange(n)
    family[6:12], family[12:18] = [0, 1, 2, 0, 1, 2], [12, 13, 14, 12, 13, 14]
    sex = rng.permutation(np.arange(n) % 2)
    sex[9:12], sex[6:9] = sex[0:3], sex[0:3]  # one sex within these families
    deals = deal_sexes(sex, None, site, family, n=50)
    for one in deals.dealt:
        for c in np.unique(deals.classes):
            own = deals.classes == c
            np.testing.assert_allclose(np.sort(one[own]), np.sort(deals.sex[own]))
        for f in np.unique(family):
            values = deals.sex[family == f]
            if np.ptp(values) < 1e-9:  # a family of one sex gets the sex of one
                assert np.ptp(one[family == f]) < 1e-9


def test_renumbered_people_and_swapped_sexes():
    """Neither which sex is called 1, nor units of voxels, changes anything."""
    rng = np.random.default_rng(9)
    sex = rng.permutation(np.arange(40) % 3 == 0).astype(int)
    values = rng.standard_normal((40, 6)) + 0.4 * sex[:, None]
    one = _test(deal_sexes(sex, n=199), values)
    other = _test(deal_sexes(1 - sex, n=199), 7 - 300 * values)
    assert other["statistic"][0] == pytest.approx(one["statistic"][0], rel=1e-9)
    assert other["p"][0] == one["p"][0]


def test_regions_without_numbers_say_why():
    rng = np.random.default_rng(10)
    sex = np.arange(20) % 2
    good = rng.standard_normal((20, 5)) + 3 * sex[:, None]
    broken = np.full((20, 2), 3.0)
    broken[3, 0] = np.nan
    partly = np.column_stack([good, np.full(20, 4.0), np.full(20, np.inf)])
    made = _test(
        deal_sexes(sex, n=99),
        np.empty((20, 0)),
        np.full((20, 3), 0.1),
        np.full((20, 3), np.nan),
        partly,
        broken,
    )
    assert made["reason"] == [NO_VOXEL, CONSTANT, NO_VALUE, None, CONSTANT]
    assert made["n_voxels"].tolist() == [0, 0, 0, 5, 0]
    assert np.isnan(made["statistic"]).tolist() == [True, True, True, False, True]
    assert made["p_fwe"][3] == made["p"][3] == 0.01
    with pytest.raises(InputError, match="20 people"):
        Regions(deal_sexes(sex, n=9)).add(good[:7])


def test_obstacles():
    half = np.arange(12) % 2
    assert find_obstacle(half) is None
    assert "needed at least 6" in find_obstacle([0, 1, 0, 1])
    assert "of one sex" in find_obstacle(np.zeros(12, int))
    assert "of one sex" in find_obstacle(np.arange(12) == 3)
    assert "exchanged" in find_obstacle(half, stratum=half)  # a site for each sex
    assert "tell the sex" in find_obstacle(half, confounds=half[:, None] * 2.0)
    assert "too few" in find_obstacle(half, np.random.default_rng(0).standard_normal((12, 9)))


@pytest.mark.parametrize("case", ["nothing", "size", "twins", "unequal"])
def test_family_wise_error_is_kept(case, above):
    """In 200 cohorts without a difference hardly more than 5 % name a region."""
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 5])
        n = 30
        sex = rng.permutation(np.arange(n) % 2)
        family, columns, size = np.arange(n), None, np.zeros(n)
        if case == "unequal":
            sex = rng.permutation(np.arange(n) < 9).astype(int)
        if case == "twins":
            family, sex = np.arange(n) // 2, np.repeat(rng.permutation(np.arange(n // 2) % 2), 2)
        if case == "size":
            size = rng.standard_normal(n) + 1.5 * sex
            columns = spline_columns(size)
        deals = deal_sexes(sex, columns, None, family, n=99, seed=seed)
        tests = Regions(deals)
        for _ in range(5):
            own, shared = rng.standard_normal((2, n, 8))
            values = own + (2 * shared[family] if case == "twins" else 0) + size[:, None]
            tests.add(values)
        wrong += np.any(tests.finish()["p_fwe"] <= 0.05)
    assert not above(wrong, 200, 0.05)


def test_planted_region_is_found_and_no_other(above):
    found, wrong = 0, 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 6])
        sex = rng.permutation(np.arange(60) % 2)
        tests = Regions(deal_sexes(sex, n=99, seed=seed))
        for region in range(6):
            tests.add(rng.standard_normal((60, 10)) + (region == 2) * 0.6 * sex[:, None])
        p = tests.finish()["p_fwe"]
        found += p[2] <= 0.05
        wrong += np.any(np.delete(p, 2) <= 0.05)
    assert found >= 38 and not above(wrong, 40, 0.05)
