"""Classifiers on columns: scikit-learn is the judge, and units do not matter."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bids_sexclf import models
from bids_sexclf.errors import InputError
from bids_sexclf.models import _table
from bids_sexclf.settings import Study
from bids_sexclf.targets import balance


@pytest.fixture
def brains():
    """Brain volumes in ml; men 120 ml larger, and rarer."""
    rng = np.random.default_rng(0)
    target = np.array([0] * 60 + [1] * 20)
    return rng.normal(1150 + 120 * target, 90)[:, None], target


def fit(name, inputs, target, kind="sex"):
    made = models.make(Study(target=kind), name)
    return made.fit(inputs, target, (inputs, target), seed=0)


def test_evidence_is_that_of_scikit_learns_balanced_regression(brains):
    inputs, target = brains
    judge = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    judge.fit(inputs, target)
    np.testing.assert_allclose(
        fit("brain_size", inputs, target).evidence(inputs),
        judge.decision_function(inputs),
        rtol=1e-10,
        atol=1e-12,
    )


def test_evidence_does_not_lean_to_the_commoner_sex(brains):
    inputs, target = brains
    middle = (inputs[target == 0].mean() + inputs[target == 1].mean()) / 2
    # Equal spread and equal weight: the evidence is zero half-way between the sexes.
    assert abs(fit("brain_size", inputs, target).evidence([[middle]])[0]) < 0.1


def test_swapped_sexes_flip_signs(brains):
    inputs, target = brains
    one, other = (fit("brain_size", inputs, sex).evidence(inputs) for sex in (target, 1 - target))
    np.testing.assert_allclose(one, -other, atol=1e-4)


def test_units_of_the_column_do_not_matter(brains):
    inputs, target = brains
    ml, litres = (fit("brain_size", part, target).evidence(part) for part in (inputs, inputs / 1e3))
    np.testing.assert_allclose(ml, litres, rtol=1e-9)


def test_same_ages_in_both_sexes_tell_nothing():
    ages = np.tile(np.arange(20.0, 60.0), 2)[:, None]
    target = np.repeat([0, 1], 40)
    np.testing.assert_allclose(fit("age_only", ages, target).evidence(ages), 0, atol=1e-8)


def test_unknown_values_are_named_and_counted_not_imputed(brains):
    inputs, target = brains
    classifier = fit("brain_size", inputs, target)
    inputs[[3, 7, 9]] = np.nan
    for call in (lambda: fit("brain_size", inputs, target), lambda: classifier.evidence(inputs)):
        with pytest.raises(InputError, match="among 80 participants .*brain_volume_ml of 3"):
            call()


def test_columns_that_are_missing_are_refused(brains):
    inputs, target = brains
    both = _table.classifier("somewhere.two", ("brain_volume_ml", "age_years"))
    with pytest.raises(InputError, match="brain_volume_ml, age_years"):
        both(Study()).fit(inputs, target, None, seed=0)


def test_column_that_never_varies_gives_no_evidence(brains):
    _, target = brains
    constant = np.full((80, 1), 40.0)
    assert not fit("age_only", constant, target).evidence(constant).round(9).any()


def test_weights_of_both_sexes_add_up_to_the_same():
    target = np.array([0] * 27 + [1] * 23)
    female, male = balance(target)
    assert 27 * female == pytest.approx(23 * male) == pytest.approx(25)


def test_ages_lie_on_the_line_of_least_squares():
    rng = np.random.default_rng(0)
    volumes = rng.normal(1150, 90, 40)
    ages = 50 - 0.1 * (volumes - 1150) + rng.normal(0, 5, 40)
    slope, start = np.polyfit(volumes, ages, 1)
    found = fit("brain_size", volumes[:, None], ages, "age").evidence(volumes[:, None])
    np.testing.assert_allclose(found, slope * volumes + start, rtol=1e-9)


def test_a_column_that_never_varies_tells_the_mean_age():
    ages = np.arange(20.0, 60.0)
    still = np.full((40, 1), 0.3)
    np.testing.assert_allclose(fit("motion_only", still, ages, "age").evidence(still), ages.mean())


def test_what_would_read_the_age_learns_sex_only():
    assert models.can_learn(models.find("age_only"), "sex")
    assert not models.can_learn(models.find("age_only"), "age")
