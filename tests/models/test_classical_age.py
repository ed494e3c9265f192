"""Ages told by models that are no networks: held to scikit-learn, formulas and invariances."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from bids_sexclf import models
from bids_sexclf.settings import Study
from bids_sexclf.training import search

GRID = (5, 6, 4)
TABULAR = ("ridge", "knn", "xgboost")
ALL = (*TABULAR, "svm_rbf")


@pytest.fixture
def table():
    """Give 80 people with five numbers, the third of which falls by 0.5 SD in ten years."""
    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 80, 80).round(1)
    values = rng.normal(100, [1, 5, 20, 1, 1], (80, 5))
    values[:, 2] -= 3 * (ages - 50)
    return values, ages


def fit(name, inputs, ages, **options):
    study = Study(target="age", variants={"one": {"design": name} | options})
    made = models.make(study, "one")
    return made.fit(inputs, ages, (inputs[-20:], ages[-20:]), seed=0)


def shape(name, values):
    """Give features as they are, or as small volumes."""
    if name != "svm_rbf":
        return values
    return (values / values.std(0))[:, :, None, None].astype(np.float32)


def test_ridge_is_scikit_learns_and_its_importances_are_years(table):
    values, ages = table
    judge = make_pipeline(StandardScaler(), Ridge(alpha=0.1 * len(ages)))
    judge.fit(values, ages)
    found = fit("ridge", values, ages, penalty=0.1)
    np.testing.assert_allclose(found.evidence(values), judge.predict(values), rtol=1e-9)
    weights = [row["importance"] for row in found.importances]
    np.testing.assert_allclose(weights, judge[-1].coef_, rtol=1e-9)
    assert weights[2] < -10 and {row["kind"] for row in found.importances} == {"coefficient"}


def test_neighbours_are_averaged_by_hand():
    values = np.array([[0.0], [1], [2], [10], [11], [12]])
    found = fit("knn", values, np.array([20.0, 25, 33, 60, 70, 80]), neighbours=3)
    np.testing.assert_allclose(found.evidence([[0.9], [11.2]]), [26, 70])


def test_the_machine_is_scikit_learns_regression_of_standardised_ages():
    rng = np.random.default_rng(1)
    ages = rng.uniform(20, 80, 40)
    volumes = rng.standard_normal((40, *GRID)).astype(np.float32)
    volumes[:, :2] += ages[:, None, None, None] / 20
    found = fit("svm_rbf", volumes, ages, C=10, gamma=1.0)
    centre, scale = (np.float64(one) for one in found.scale)
    flat = ((volumes - centre) / scale).reshape(40, -1)
    squared = ((flat[:, None] - flat) ** 2).sum(2)
    kernel = np.exp(-squared / np.median(squared[np.triu_indices(40, 1)]))
    judge = SVR(C=10, epsilon=0.1, kernel="precomputed")
    judge.fit(kernel, (ages - ages.mean()) / ages.std())
    expected = judge.predict(kernel) * ages.std() + ages.mean()
    np.testing.assert_allclose(found.evidence(volumes), expected, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_ages_are_told_better_than_by_their_median(name, table):
    values, ages = table
    inputs = shape(name, values)
    made = models.make(Study(target="age"), name)
    made.fit(inputs[::2], ages[::2], (inputs[1::2], ages[1::2]), seed=0)
    error = np.abs(made.evidence(inputs[1::2]) - ages[1::2]).mean()
    assert error < 0.7 * np.abs(np.median(ages[::2]) - ages[1::2]).mean()
    weights = [abs(row["importance"]) for row in getattr(made, "importances", [])]
    assert name == "svm_rbf" or max(weights) == weights[2]


@pytest.mark.parametrize("name", ALL)
def test_later_births_and_other_units_move_the_answers_and_nothing_else(name, table):
    values, ages = table
    inputs, close = shape(name, values), {"atol": 0.05}  # the machine stops 1/1000 SD from the best
    plain = fit(name, inputs, ages).evidence(inputs)
    later = fit(name, inputs, ages + 16).evidence(inputs)
    np.testing.assert_allclose(later, plain + 16, **close)
    doubled = fit(name, inputs, 2 * ages).evidence(inputs)
    np.testing.assert_allclose(doubled, 2 * plain, **close)


def test_trees_that_cannot_split_answer_with_the_mean_age():
    ages = np.arange(20.0, 60.0)
    told = fit("xgboost", np.ones((40, 2)), ages).evidence(np.ones((1, 2)))
    np.testing.assert_allclose(told, ages.mean())


def test_neighbours_weigh_a_feature_by_the_rise_of_the_error(table):
    values, ages = table
    weights = [row["importance"] for row in fit("knn", values, ages, neighbours=5).importances]
    assert max(weights) == weights[2] > 5 and abs(weights[0]) < 3


@pytest.mark.parametrize("name", ALL)
def test_a_saved_model_answers_in_years_whatever_study_loads_it(name, table, tmp_path):
    values, ages = table
    inputs = shape(name, values)
    found = fit(name, inputs, ages)
    found.save(tmp_path)
    loaded = models.find(name).Classifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.evidence(inputs), found.evidence(inputs))


def test_inner_folds_keep_families_whole_and_ages_alike():
    ages = np.random.default_rng(0).uniform(20, 80, 60)
    family = np.repeat(np.arange(30), 2)
    dealt = search.deal(ages, family, 0, kind="age")
    assert len(dealt) == 5
    for learn, judge in dealt:
        assert not set(family[learn]) & set(family[judge])
        assert abs(ages[learn].mean() - ages[judge].mean()) < 10
    assert sorted(np.concatenate([judge for _, judge in dealt])) == list(range(60))


def test_no_inner_fold_learns_from_one_age():
    ages = np.array([40.0, 40, 40, 70])
    dealt = search.deal(ages, None, 0, kind="age")
    assert dealt and all(len(set(ages[learn])) == 2 for learn, _ in dealt)
    assert search.deal(ages, np.zeros(4), 0, kind="age") == []


def test_the_search_takes_the_smaller_error_and_the_simpler_of_equals():
    ages = np.linspace(20, 80, 20)
    folds = search.deal(ages, None, 0, kind="age")

    def answer(setting, learn, judge):
        return ages[judge] + setting["off"]

    grid = [{"off": 9}, {"off": -2}, {"off": 2}]
    setting, error = search.choose(grid, answer, ages, folds, "age")
    assert setting == {"off": -2} and error == pytest.approx(2)


def test_age_of_a_site_is_its_mean():
    sites = np.array(["a"] * 3 + ["b"], dtype=object)[:, None]
    made = models.make(Study(target="age"), "site_only")
    found = made.fit(sites, np.array([20.0, 30, 40, 70]), None, seed=0)
    asked = np.array(["a", "b", "never seen"], dtype=object)[:, None]
    np.testing.assert_allclose(found.evidence(asked), [30, 70, 40])
