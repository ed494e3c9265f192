"""Quick networks of other kinds than cnn3, where the truth is known."""

import pytest

STAGES = ("cohort", "splits", "fit", "evaluate")
CHOICES = {
    "name": "known",
    "models": ["transformer", "slices"],
    "variants": {
        "transformer": {"design": "vit", "patch": [9, 9, 9], "width": 48, "depth": 2, "heads": 3},
        "slices": {"design": "slice_resnet18", "width": 8, "epochs": 8},
    },
    "baselines": [],
    "n_folds": 2,
    "epochs": 15,
    "patience": 15,
    "batch_size": 4,
}


@pytest.fixture(scope="module")
def planted(write_derivatives, run_study, tmp_path_factory):
    root = write_derivatives(tmp_path_factory.mktemp("planted"), n=48, effect=8.0)
    return run_study(root, STAGES, **CHOICES)


@pytest.fixture(scope="module")
def without(write_derivatives, run_study, tmp_path_factory):
    root = write_derivatives(tmp_path_factory.mktemp("without"), n=48, seed=3)
    return run_study(root, STAGES, **CHOICES)


def auc(desk, model):
    return desk.read("scores").query("score == 'auc' and model == @model").iloc[0]


@pytest.mark.parametrize("model", CHOICES["models"])
def test_a_planted_effect_is_found_by_each(planted, model):
    assert auc(planted, model).estimate >= 0.9


@pytest.mark.parametrize("model", CHOICES["models"])
def test_without_an_effect_the_interval_holds_one_half(without, model):
    score = auc(without, model)
    assert score.ci_low <= 0.5 <= score.ci_high
