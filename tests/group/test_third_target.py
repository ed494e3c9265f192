"""A target is one file: another one, in a folder of a user, runs through a whole study."""

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import targets
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study

ENTRY = """
from bids_sexclf.targets import TwoClasses

TARGET = TwoClasses(
    name="hand",
    column="handedness",
    title="How surely brains tell the hand",
    topic="how brains differ by the hand",
    noun="handedness",
    classes=("right", "left"),
    plurals=("right-handers", "left-handers"),
    both="both hands",
    apart="the hands",
    pair="left from right hands",
    correct="the correct hand",
    key="AUC: how often a left-hander ranks above a right-hander.",
    spellings={"r": "right", "l": "left"},
)
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Put another target into a folder of its own, and add that to the catalogue."""
    folder = tmp_path_factory.mktemp("targets")
    (folder / "hand.py").write_text(ENTRY)
    targets.__path__.append(str(folder))
    yield
    targets.__path__.remove(str(folder))


@pytest.fixture(scope="module")
def handed(catalogue, write_derivatives, run_study, tmp_path_factory):
    """Run a study of hands: in the planted region they go with the sex of most people."""
    root = write_derivatives(tmp_path_factory.mktemp("handed"), n=40, effect=8.0)
    people = pd.read_csv(root / "participants.tsv", sep="\t")
    hand = people["sex"].map({"F": "R", "M": "l"})
    hand[::8] = "l"
    hand[1] = "n/a"
    people.assign(handedness=hand).to_csv(root / "participants.tsv", sep="\t", index=False)
    return run_study(
        root,
        target="hand",
        n_folds=2,
        epochs=2,
        models=["cnn3", "logistic"],
        baselines=["brain_size", "shuffled"],
        features="region_means",
        fills=["white_matter_mean"],
        bootstraps=100,
        permutations=100,
    )


def test_its_column_reaches_the_cohort_and_is_coded_there(handed):
    cohort = handed.read("cohort")
    predictions = handed.read("predictions").query("model != 'shuffled'")
    assert set(cohort["handedness"]) == {"right", "left"} and len(cohort) == 39
    told = predictions.merge(cohort, on="participant_id")
    np.testing.assert_array_equal(told["target"], told["handedness"] == "left")
    reason = handed.read("excluded").set_index("participant_id")["reason"]["sub-001"]
    assert "handedness is unknown, needed right or left" in reason


def test_every_part_holds_both_classes(handed):
    dealt = handed.read("splits").merge(handed.read("cohort"), on="participant_id")
    assert (dealt.groupby(["fold", "part"])["handedness"].nunique() == 2).all()


def test_it_is_learnt_scored_and_held_against_other_things(handed):
    score = handed.read("scores").query("model == 'logistic' and score == 'auc'").iloc[0]
    tested = handed.read("predictions").query("model == 'logistic' and part == 'test'")
    evidence = tested.groupby("target")["evidence"].mean()
    assert score["estimate"] > 0.7 and evidence[1] > evidence[0]
    assert set(handed.read("comparisons")["baseline"]) == {"brain_size", "shuffled"}
    assert set(handed.read("confounds")["within"]) == {"right", "left", "both"}
    assert len(handed.read("regions")) > 0


def test_the_report_speaks_of_it(handed):
    page = " ".join((handed.folder / "report.html").read_text().split())
    for text in (
        "How surely brains tell the hand",
        "How surely handedness can be told",
        "left from right hands",
        "Where the hands differ",
        "left-handers called left",
        "people of one handedness",
        "balanced over handedness",
    ):
        assert text in page, text
    for text in ("tell female from male", "the correct sex", "males called male"):
        assert text not in page, text


def test_a_model_that_reads_the_answer_is_refused(catalogue, tmp_path):
    from bids_sexclf import models

    (tmp_path / "hand2.py").write_text(ENTRY.replace("handedness", "brain_volume_ml", 1))
    targets.__path__.append(str(tmp_path))
    try:
        study = Study(target="hand2", models=["brain_size"])
        with pytest.raises(InputError, match="Leave it out"):
            models.make(study, "brain_size")
    finally:
        targets.__path__.remove(str(tmp_path))


def test_a_target_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match="(?s)Found 'sexe'.*age.*Did you mean 'sex'"):
        Study(target="sexe")
