"""Classifiers that are no networks: held to scikit-learn, XGBoost and formulas of their own."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from bids_sexclf import models
from bids_sexclf.errors import InputError
from bids_sexclf.features import Features
from bids_sexclf.models import _features, svm_rbf
from bids_sexclf.settings import Study
from bids_sexclf.training import search

GRID = (5, 6, 4)
TABULAR = ("logistic", "knn", "xgboost")


@pytest.fixture
def table():
    """Give 70 people with five numbers, one of which tells the sexes apart."""
    rng = np.random.default_rng(0)
    target = np.array([0] * 40 + [1] * 30)
    values = rng.normal(100, [1, 5, 20, 1, 1], (70, 5))
    values[:, 2] += 50 * target
    return values, target


@pytest.fixture
def brains():
    """Give 40 volumes in which a corner tells the sexes apart, and 20 more."""
    rng = np.random.default_rng(1)
    target = np.tile([0, 1], 30)
    volumes = 50 + rng.standard_normal((60, *GRID)).astype(np.float32)
    volumes[target == 1, :3, :3] += 1.5
    volumes[:, 4] = 0
    return (volumes[:40], target[:40]), (volumes[40:], target[40:])


def fit(name, inputs, target, seed=0, groups=None, **options):
    made = models.find(name).Classifier(Study(), **options)
    more = {} if groups is None else {"groups": groups}
    # Importances of knn are taken from a few of them, for speed.
    return made.fit(inputs, target, (inputs[-20:], target[-20:]), seed=seed, **more)


def test_logistic_is_scikit_learns(table):
    values, target = table
    judge = make_pipeline(
        StandardScaler(), LogisticRegression(C=1.3, class_weight="balanced", max_iter=10000)
    )
    judge.fit(values, target)
    found = fit("logistic", values, target)
    expected = judge.decision_function(values)
    np.testing.assert_allclose(found.evidence(values), expected, rtol=1e-6)


def test_neighbours_are_counted_by_hand():
    values = np.array([[0.0], [1], [2], [10], [11], [12], [13]])
    target = np.array([0, 0, 1, 1, 1, 1, 0])
    found = fit("knn", values, target, neighbours=3)
    # Of 3 women and 4 men: two women and a man are near 0.4; two men and a woman near 12.6.
    by_hand = [np.log(1.5 / 2.5 * 3 / 4), np.log(2.5 / 1.5 * 3 / 4)]
    np.testing.assert_allclose(found.evidence([[0.4], [12.6]]), by_hand)


@pytest.mark.parametrize("name", TABULAR)
def test_the_number_that_tells_is_found_and_named(name, table):
    values, target = table
    names = tuple("abcde")
    found = fit(name, Features(values[::2], names), target[::2])
    weight = {row["feature"]: abs(row["importance"]) for row in found.importances}
    assert max(weight, key=weight.get) == "c"
    assert roc_auc_score(target[1::2], found.evidence(Features(values[1::2], names))) > 0.9


@pytest.mark.parametrize("name", TABULAR)
def test_unknown_numbers_become_the_training_median(name, table):
    values, target = table
    values[3, 2] = np.nan
    found = fit(name, values, target)
    asked = np.full((1, 5), np.nan)
    filled = np.nanmedian(values, axis=0)[None]
    np.testing.assert_array_equal(found.evidence(asked), found.evidence(filled))
    assert [row["n_imputed"] for row in found.importances] == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("name", TABULAR)
def test_units_of_features_do_not_matter(name, table):
    values, target = table
    one = fit(name, values, target).evidence(values)
    other = fit(name, values * 2.0**10, target).evidence(values * 2.0**10)
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("name", TABULAR)
def test_other_features_are_refused_by_name(name, table):
    values, target = table
    found = fit(name, Features(values, tuple("abcde")), target)
    with pytest.raises(InputError, match="a, b, c"):
        found.evidence(Features(values, tuple("vwxyz")))
    with pytest.raises(InputError, match="infinite"):
        fit(name, np.full((70, 5), np.inf), target)


@pytest.mark.parametrize("name", TABULAR)
def test_a_feature_that_nobody_has_or_that_never_varies_tells_nothing(name, table):
    values, target = table
    values[:, 0], values[:, 1] = np.nan, 7
    found = fit(name, values, target)
    assert [abs(row["importance"]) for row in found.importances[:2]] == [0, 0]
    assert np.isfinite(found.evidence(values)).all()


@pytest.mark.parametrize("name", [*TABULAR, "svm_rbf"])
def test_evidence_does_not_lean_to_the_commoner_sex(name):
    rng = np.random.default_rng(2)
    target = np.array([0] * 150 + [1] * 50)
    values = rng.standard_normal((200, 3))
    values[:, 0] += target
    inputs = values[:, :, None, None].astype(np.float32) if name == "svm_rbf" else values
    women, men = (fit(name, inputs, target).evidence(inputs)[target == sex] for sex in (0, 1))
    assert np.median(women) < 0 < np.median(men)


def test_distances_and_boundary_are_scikit_learns_whatever_the_blocks(brains, monkeypatch):
    (volumes, target), (others, _) = brains
    judge = SVC(C=10, gamma=1.0, class_weight="balanced", kernel="precomputed")
    found = fit("svm_rbf", volumes, target, C=10, gamma=1.0)
    centre, scale = (np.float64(one) for one in found.scale)
    flat, asked = (((some - centre) / scale).reshape(len(some), -1) for some in (volumes, others))

    def squared(left, right):
        return ((left[:, None] - right) ** 2).sum(2)

    train = squared(flat, flat)
    unit = np.median(train[np.triu_indices(40, 1)])
    judge.fit(np.exp(-train / unit), target)
    expected = judge.decision_function(np.exp(-squared(asked, flat) / unit))
    held = (found.evidence(others) - found.card["offset"]) / found.card["slope"]
    np.testing.assert_allclose(held, expected, atol=1e-4)
    monkeypatch.setattr(svm_rbf, "MEMORY", 8 * 100 * 3)
    again = fit("svm_rbf", volumes, target, C=10, gamma=1.0)
    np.testing.assert_allclose(again.evidence(others), found.evidence(others), rtol=1e-6)


def test_machine_separates_and_its_logits_are_calibrated(brains):
    (volumes, target), (others, truth) = brains
    found = fit("svm_rbf", volumes, target)
    logits = found.evidence(others)
    assert roc_auc_score(truth, logits) > 0.9
    likelihood = -np.mean(np.log1p(np.exp(-np.where(truth == 1, logits, -logits))))
    assert likelihood > np.log(0.5)  # better than knowing nothing


def test_evidence_of_one_does_not_depend_on_the_others(brains, monkeypatch):
    (volumes, target), (others, _) = brains
    monkeypatch.setattr(svm_rbf, "MEMORY", 8 * 100 * 7)
    found = fit("svm_rbf", volumes, target)
    alone = [found.evidence(one[None])[0] for one in others]
    np.testing.assert_array_equal(found.evidence(others), alone)


def test_saved_machine_is_read_by_the_safetensors_library(brains, tmp_path):
    from safetensors.numpy import load_file

    (volumes, target), (others, _) = brains
    found = fit("svm_rbf", volumes, target)
    found.save(tmp_path)
    held = load_file(tmp_path / svm_rbf.FILE)
    assert held["support"].shape == (len(found.card["weights"]), 5 * 6 * 4 - 6 * 4)
    (tmp_path / svm_rbf.FILE).write_bytes(b"no such thing")
    with pytest.raises(InputError, match="fit stage"):
        svm_rbf.Classifier.load(tmp_path)


def test_volumes_are_never_all_in_memory(brains, monkeypatch):
    """Count the volumes that are held in double precision at a time."""
    (volumes, target), _ = brains
    most, read = [], svm_rbf._Volumes.single

    def counted(self, places):
        most.append(len(places))
        return read(self, places)

    monkeypatch.setattr(svm_rbf, "MEMORY", 8 * 100 * 4)
    monkeypatch.setattr(svm_rbf._Volumes, "single", counted)
    fit("svm_rbf", volumes, target)
    assert max(most) == 4


def test_inner_folds_keep_families_whole_and_both_sexes_in_each():
    target = np.tile([0, 1], 20)
    family = np.repeat(np.arange(20), 2)
    dealt = search.deal(target, family, 0)
    assert len(dealt) == 5
    for learn, judge in dealt:
        assert not set(family[learn]) & set(family[judge])
        assert set(target[judge]) == {0, 1}
    assert sorted(np.concatenate([judge for _, judge in dealt])) == list(range(40))


def test_nothing_is_searched_where_a_sex_is_alone():
    assert search.deal(np.array([0, 0, 0, 1]), None, 0) == []
    assert search.choose([{"a": 1}, {"a": 2}], None, None, []) == ({"a": 1}, None)


def test_the_search_takes_the_better_setting_and_the_simpler_of_equals():
    target = np.tile([0, 1], 10)
    truth = target.astype(float)
    folds = search.deal(target, None, 0)

    def answer(setting, learn, judge):
        return truth[judge] * setting["sign"]

    grid = [{"sign": -1}, {"sign": 1}, {"sign": 2}]
    assert search.choose(grid, answer, target, folds) == ({"sign": 1}, 1.0)


def test_twins_do_not_choose_the_settings():
    """Everybody's twin is of the same sex; where families are told, no fold can lean on that."""
    rng = np.random.default_rng(0)
    one = rng.standard_normal((150, 20))
    target = np.repeat(rng.permutation([0, 1] * 75), 2)
    pairs = np.repeat(one, 2, axis=0) + 0.05 * rng.standard_normal((300, 20))
    blind = fit("knn", pairs, target)
    told = fit("knn", pairs, target, groups=np.repeat(np.arange(150), 2))
    assert blind.inner_score > 0.7 > 0.62 > told.inner_score


def test_evidence_of_a_site_is_the_ratio_of_its_shares():
    sites = np.array(["a"] * 6 + ["b"] * 4, dtype=object)[:, None]
    target = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0])
    found = models.make(Study(), "site_only").fit(sites, target, None, seed=0)
    by_hand = [np.log(4.5 / 6 / (2.5 / 6)), np.log(1.5 / 6 / (3.5 / 6)), 0]
    asked = np.array(["a", "b", "never seen"], dtype=object)[:, None]
    np.testing.assert_allclose(found.evidence(asked), by_hand)
    with pytest.raises(InputError, match="1 of 3 participants without a site"):
        found.evidence(np.array(["a", None, "b"], dtype=object)[:, None])


def test_scales_are_learnt_from_known_numbers():
    values = np.array([[1.0, np.nan], [2, np.nan], [6, np.nan], [np.nan, np.nan]])
    median, centre, scale = _features.learn_scale(values)
    assert median.tolist() == [2, 0] and scale[1] == 1
    np.testing.assert_allclose([centre[0], scale[0]], [2.75, np.std([1, 2, 6, 2])])
