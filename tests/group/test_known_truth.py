"""Networks of other kinds than cnn3, and the arms of the transformer, where the truth is known."""

import pytest

from bids_sexclf.group import base

STAGES = base.STAGES[:4]
VIT = {"design": "vit", "patch": [9, 11, 9], "width": 48, "depth": 2, "heads": 3}
MAE = {"decoder_width": 24, "decoder_depth": 1, "decoder_heads": 2, "mae_learning_rate": 1e-3}
MAE |= {"mae2d_epochs": 5, "mae3d_epochs": 20}
CHOICES = {
    "name": "known",
    "models": ["scratch", "finetune", "resnet"],
    "variants": {
        "scratch": VIT | {"arm": "scratch"},
        "finetune": VIT | MAE | {"arm": "finetune"},
        "resnet": {"design": "resnet10", "width": 8, "groups": 4},
    },
    "baselines": [],
    "n_folds": 2,
    "epochs": 15,
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
