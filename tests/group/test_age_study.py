"""A study of age: from maps and features to years, beside the median age and brain size."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from testing.studies import score

from bids_sexclf import targets
from bids_sexclf.group import base
from bids_sexclf.report import gathering

pytestmark = pytest.mark.slow
CLASSICAL = ["svm_rbf", "knn", "ridge", "xgboost"]


@pytest.fixture(scope="module")
def aged(write_derivatives, run_study, tmp_path_factory):
    """Run a study in which one region rises with age."""
    root = write_derivatives(tmp_path_factory.mktemp("aged"), n=36, age_effect=8.0)
    return run_study(
        root,
        target="age",
        n_folds=2,
        epochs=15,
        patience=15,
        models=["cnn3", *CLASSICAL],
        baselines=["median_age", "brain_size"],
        features="region_means",
        variants={"cnn3": {"dropout": 0.1}},
        bootstraps=300,
        permutations=300,
    )


def test_a_planted_age_is_told_in_years_and_better_than_by_the_median(aged):
    error = score(aged, "cnn3", "mae")
    assert error.ci_low < error.estimate < error.ci_high
    assert error.p < 0.01
    assert score(aged, "cnn3", "r2").estimate > 0.3
    row = aged.read("comparisons").iloc[0]
    assert (row.baseline, row.score, row.verdict) == ("median_age", "mae", "above")
    assert row.difference == pytest.approx(
        error.estimate - score(aged, "median_age", "mae").estimate
    )


@pytest.mark.parametrize("model", CLASSICAL)
def test_models_that_are_no_networks_tell_it_too(aged, model):
    error = score(aged, model, "mae")
    assert error.ci_low < error.estimate < error.ci_high and error.p < 0.01
    held = aged.read("comparisons").query("model == @model").set_index("baseline")
    assert held["verdict"].to_dict() == {"median_age": "above", "brain_size": "above"}
    assert (held["ci_high"] < 0).all()


def test_importances_name_the_region_that_ages(aged):
    table = aged.read("importances")
    assert set(table["model"]) == {"knn", "ridge", "xgboost"}
    for _, rows in table.query("model != 'knn'").groupby(["model", "fold"]):
        best = rows.loc[rows["importance"].abs().idxmax()]
        assert best["region"] == "8" and best["name"] and best["importance"] > 0
    # What validated are three people to a fold: one of them decides about the neighbours.
    assert np.isfinite(table["importance"]).all()


def test_the_median_leans_fully_with_age_within_each_fold(aged):
    tested = aged.read("predictions").query("part == 'test' and model == 'median_age'")
    for _, rows in tested.groupby("fold"):
        assert rows["evidence"].nunique() == 1
    assert score(aged, "median_age", "r2").estimate < 0.1
    assert score(aged, "cnn3", "age_bias").estimate > score(aged, "median_age", "age_bias").estimate


def test_predictions_are_years_and_their_dictionary_says_so(aged):
    told = aged.read("predictions").merge(aged.read("cohort"), on="participant_id")
    np.testing.assert_allclose(told["target"], told["age_years"])
    assert told["evidence"].between(0, 120).all()
    words = json.loads((aged.folder / "predictions.json").read_text())["evidence"]["Description"]
    assert "years" in words


def test_the_report_speaks_of_age_and_not_of_sex(aged):
    page = " ".join((aged.folder / "report.html").read_text().split())
    assert "How surely age can be told" in page and "Age as recorded" in page
    for words in (
        "Where the sexes differ",
        "AUC: how",
        "female and male brains",
        "Sex as recorded",
    ):
        assert words not in page
    assert "errs by" in page and "the median age of the training part" in page
    assert "5 of 5 models tell age better" in page and "better than brain size alone" in page
    assert "It errs less than brain size alone" in page
    assert "people of one sex and like age" in page and "[@" not in page
    assert "Association of the error with other things" in page
    assert "ridge regression" in page and "logistic" not in page
    assert not any(
        (aged.folder / "figures" / f"{name}.svg").exists() for name in ("roc", "calibration")
    )
    assert (aged.folder / "figures" / "ages.svg").exists()
    assert [base.state(aged, stage) for stage in base.STAGES] == ["finished"] * len(base.STAGES)


def test_hiding_a_region_is_tested_by_the_rise_of_the_error_in_years(aged):
    asked = aged.read("attributions").query("model == 'cnn3' and index == 8")
    hidden = asked["evidence"] - asked["value"]
    rise = (hidden - asked["target"]).abs() - (asked["evidence"] - asked["target"]).abs()
    rise = (rise * asked["weight"]).groupby(asked["participant_id"]).sum()
    row = aged.read("regions").query("model == 'cnn3' and region == 8").iloc[0]
    assert row["mean"] == pytest.approx(rise.mean())
    page = (aged.folder / "report.html").read_text()
    # Explanations of columns speak of every target.
    page = re.sub(r'title="[^"]*"|<dd>.*?</dd>', "", page)
    assert "the absolute error by" in page and "probability of the correct" not in page


def test_what_was_found_is_said_in_years(aged):
    lines = base.findings(aged)
    assert any(line.startswith("cnn3 on T1w: error in years") for line in lines)


@pytest.mark.parametrize(
    ("sized", "tone", "words"),
    [
        (["above", "above"], "good", "does, and better than brain size alone"),
        (["above", "not above"], "plain", "1 of them better than brain size"),
        (["below", "not above"], "caution", "not shown to be better than brain size"),
        ([], "caution", "whether brain size alone tells as much was not asked"),
    ],
)
def test_the_headline_never_forgets_brain_size(sized, tone, words):
    rows = [(model, "T1w", "median_age", "above") for model in "ab"]
    rows += [(model, "T1w", "brain_size", told) for model, told in zip("ab", sized, strict=False)]
    table = pd.DataFrame(rows, columns=["model", "map", "baseline", "verdict"])
    told = gathering.say_headline(
        dict.fromkeys([("a", "T1w"), ("b", "T1w")], True),
        {"comparisons": table},
        targets.find("age"),
    )
    assert told.tone == tone and words in told.text
