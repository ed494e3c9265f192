"""Quick networks of other kinds than cnn3, where the truth is known."""

import pytest
from testing.studies import score

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


@pytest.mark.parametrize("model", CHOICES["models"])
def test_a_planted_effect_is_found_by_each(planted, model):
    assert score(planted, model).estimate >= 0.9
