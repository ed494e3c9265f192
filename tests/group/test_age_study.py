"""A study of age: from maps to years, beside the median age."""

import json

import numpy as np
import pytest

from bids_sexclf.group import base


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
        models=["cnn3"],
        baselines=["median_age"],
        variants={"cnn3": {"dropout": 0.1}},
        bootstraps=300,
        permutations=300,
    )


def score(desk, model, name):
    rows = desk.read("scores").query("score == @name and model == @model")
    return rows.iloc[0]


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


def test_the_median_leans_fully_with_age_within_each_fold(aged):
    tested = aged.read("predictions").query("part == 'test' and model == 'median_age'")
    for _, rows in tested.groupby("fold"):
        assert rows["logit"].nunique() == 1
    assert score(aged, "median_age", "r2").estimate < 0.1
    assert score(aged, "cnn3", "age_bias").estimate > score(aged, "median_age", "age_bias").estimate


def test_predictions_are_years_and_their_dictionary_says_so(aged):
    told = aged.read("predictions").merge(aged.read("cohort"), on="participant_id")
    np.testing.assert_allclose(told["target"], told["age_years"])
    assert told["logit"].between(0, 120).all()
    words = json.loads((aged.folder / "predictions.json").read_text())["logit"]["Description"]
    assert "years" in words


def test_the_report_speaks_of_age_and_not_of_sex(aged):
    page = " ".join((aged.folder / "report.html").read_text().split())
    assert "How surely age can be told" in page and "Where the sexes differ" not in page
    assert "errs by" in page and "the median age of the training part" in page
    assert not any(
        (aged.folder / "figures" / f"{name}.svg").exists() for name in ("roc", "regions")
    )
    assert aged.read("attributions").empty
    assert [base.state(aged, stage) for stage in base.STAGES] == ["finished"] * 7


def test_what_was_found_is_said_in_years(aged):
    lines = base.findings(aged)
    assert any(line.startswith("cnn3 on T1w: error in years") for line in lines)
