"""Studies with classifiers that are no networks: what they find, what they read, what they keep."""

import numpy as np
import pandas as pd
import pytest
from testing.studies import score

from bids_sexclf.errors import InputError
from bids_sexclf.group import _jobs
from bids_sexclf.settings import Run, Study

MODELS = ["svm_rbf", "logistic", "knn", "xgboost"]
CHOICES = {
    "models": MODELS,
    "baselines": ["brain_size"],
    "features": "region_means",
    "attributions": [],
    "bootstraps": 300,
    "permutations": 300,
}
STAGES = ("cohort", "splits", "fit", "evaluate")


@pytest.fixture(scope="module")
def planted(write_derivatives, run_study, tmp_path_factory):
    root = write_derivatives(tmp_path_factory.mktemp("planted"), n=60, effect=8.0)
    return run_study(root, STAGES, **CHOICES)


@pytest.mark.parametrize("model", MODELS)
def test_a_planted_effect_is_found_by_each(planted, model):
    assert score(planted, model).estimate >= 0.9


def test_importances_name_the_planted_region(planted):
    table = planted.read("importances")
    assert set(table["model"]) == {"logistic", "knn", "xgboost"}
    # Six people to validate on are too few to rank what the neighbours were chosen by.
    for _, rows in table.query("model != 'knn'").groupby(["model", "fold"]):
        best = rows.loc[rows["importance"].abs().idxmax()]
        assert best["region"] == "8" and best["name"] and best["atlas"] == "Lobes"
    shares = table.query("model == 'xgboost'").groupby("fold")["importance"].sum()
    np.testing.assert_allclose(shares, 1)


def test_models_without_features_leave_no_importances(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    choices = CHOICES | {"n_folds": 2, "models": ["age_only"]}
    desk = run_study(root, ("cohort", "splits", "fit"), **(choices | {"models": ["logistic"]}))
    assert (desk.folder / "importances.tsv").exists()
    run_study(root, ("cohort", "splits", "fit"), run=Run(nprocs=1, first="fit"), **choices)
    assert not (desk.folder / "importances.tsv").exists()


@pytest.fixture
def strangers(write_derivatives, run_study, tmp_path):
    """Give a small dataset and a function that fits features of a table to it."""
    root = write_derivatives(tmp_path, n=16)

    def fitted(table):
        path = tmp_path / "mine.tsv"
        table.to_csv(path, sep="\t", index=False, na_rep="n/a")
        choices = CHOICES | {"n_folds": 2, "models": ["logistic"], "features": str(path)}
        return run_study(
            root, ("cohort", "splits", "fit"), run=Run(nprocs=1, first="fit"), **choices
        )

    run_study(root, ("cohort", "splits"), **(CHOICES | {"n_folds": 2}))
    return fitted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("./gone.tsv", r"no table \./gone.tsv, needed .*participant_id"),
        ("morphometri", "Did you mean 'morphometry'"),
        ("region_means", "no .*region_means.tsv, needed .*--first cohort"),
    ],
)
def test_features_that_are_not_there_are_told_once_before_the_first_fit(
    write_derivatives, run_study, tmp_path, given, words
):
    root = write_derivatives(tmp_path, n=12)
    choices = CHOICES | {"n_folds": 2, "models": ["logistic", "knn"], "features": given}
    choices["region_means"] = False
    with pytest.raises(InputError, match=words) as told:
        run_study(root, ("cohort", "splits", "fit"), **choices)
    assert str(told.value).count("Found no") == 1 and "logistic and knn: " in str(told.value)
    assert not list(root.rglob("job.json"))


def table_of(n=16, **columns):
    rng = np.random.default_rng(0)
    table = {"participant_id": [f"sub-{i:03d}" for i in range(n)], "left": rng.normal(size=n)}
    return pd.DataFrame(table | columns)


def test_a_table_of_the_users_is_read_in_any_order_and_gaps_are_counted(strangers):
    table = table_of(right=np.r_[[np.nan] * 3, np.arange(13.0)])
    first = strangers(table)
    whole = first.read("predictions").query("model == 'logistic'")["evidence"].to_numpy()
    held = first.read("importances").query("feature == 'right'")
    unknown = ["sub-000", "sub-001", "sub-002"]
    taught = first.read("splits").query(f"participant_id in {unknown} and part == 'train'")
    assert held["n_imputed"].sum() == len(taught) > 0
    assert (held["name"] == "right").all() and (held["hemisphere"] == "R").all()
    again = strangers(table.iloc[::-1])
    same = again.read("predictions").query("model == 'logistic'")["evidence"].to_numpy()
    np.testing.assert_array_equal(whole, same)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (table_of(sex=[0, 1] * 8), "tell the answer .sex."),
        (table_of(scanner=["a", "b"] * 8), "hold text .scanner."),
        (pd.concat([table_of(), table_of().tail(1)]), "1 rows under an id that has one .sub-015."),
        (table_of(15), "no number .* of 1 of 16 participants .sub-015."),
        (table_of().drop(columns="left"), "no column of numbers"),
    ],
    ids=["sex", "text", "twice", "lacking", "empty"],
)
def test_tables_of_no_use_are_refused_before_the_first_fit(strangers, table, words):
    with pytest.raises(InputError, match=words):
        strangers(table)


def test_a_study_without_morphometry_says_so(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    with pytest.raises(InputError, match="morphometry.tsv without a row"):
        run_study(root, ("cohort", "splits", "fit"), n_folds=2, models=["knn"], baselines=[])


def people(**columns):
    table = {"participant_id": ["sub-1", "sub-2"], "site": ["a", "b"], "motion_mm": [0.1, 0.2]}
    table["age_years"], table["brain_volume_ml"] = [30.0, 40.0], [1200.0, 1300.0]
    return pd.DataFrame(table | columns)


def test_site_motion_and_age_are_baselines_where_the_cohort_can_answer():
    both = {"site_only", "motion_only"}
    assert {*both, "age_only"} <= set(_jobs.answerable(Study(), people()))
    assert not both & set(_jobs.answerable(Study(), people(site="a", motion_mm=[0.1, None])))
    assert "site_only" not in _jobs.answerable(Study(), people(site=["a", None]))
    assert "age_only" not in _jobs.answerable(Study(), people(age_years=[30, None]))
    # A size that is unknown of one is told; one that is unknown of all cannot be answered.
    assert "brain_size" in _jobs.answerable(Study(), people(brain_volume_ml=[1200, None]))
    assert "brain_size" not in _jobs.answerable(Study(), people(brain_volume_ml=float("nan")))


def test_a_baseline_that_was_asked_for_is_never_left_out():
    study = Study(baselines=["site_only"])
    assert _jobs.answerable(study, people(site="a")) == ["site_only"]


def test_an_unknown_site_or_motion_is_named(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    run_study(root, ("cohort", "splits"), n_folds=2)
    for name, column in (("site_only", "site"), ("motion_only", "motion_mm")):
        with pytest.raises(InputError, match=f"12 participants without {column} .sub-000.*Leave"):
            run_study(root, ("fit",), n_folds=2, baselines=[name])
