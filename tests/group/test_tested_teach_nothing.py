"""Who is tested teaches no model anything: other scans and the other sex change no bit of it."""

import json

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import layout
from bids_sexclf.tables import read_tsv
from bids_sexclf.volumes import load, save

STAGES = ("cohort", "splits", "fit")
PEOPLE = 20
TESTED = [f"sub-{number:03d}" for number in range(16, PEOPLE)]
MODELS = ["cnn3", "transformer", "slices", "svm_rbf", "logistic", "knn", "xgboost"]
CHOICES = {
    "models": MODELS,
    "variants": {
        "transformer": {"design": "vit", "patch": [9, 9, 9], "width": 24, "depth": 1, "heads": 2},
        "slices": {"design": "slice_resnet18", "width": 4},
    },
    "baselines": ["brain_size", "shuffled"],
    "features": "region_means",
    "residualize": ["age", "brain_size"],
    "attributions": [],
    "epochs": 2,
    "batch_size": 4,
    "split": "file",
}


def spoil(root):
    """Give the tested people other scans, another size and age, and the other sex."""
    out, rng = root / "derivatives" / "out", np.random.default_rng(0)
    for person in TESTED:
        path = out / layout.derivative("t1w_template", person, space="Phantom", res="7")
        volume, affine = load(path)
        save(np.where(volume != 0, rng.uniform(0, 9, volume.shape), 0), affine, path)
        numbers = out / layout.derivative("quality", person)
        changed = json.loads(numbers.read_text()) | {"brain_volume_ml": rng.uniform(900, 1600)}
        numbers.write_text(json.dumps(changed))
    people = read_tsv(root / "participants.tsv").set_index("participant_id")
    people.loc[TESTED, "sex"] = people.loc[TESTED, "sex"].map({"F": "M", "M": "F"})
    people.loc[TESTED, "age"] = [21.0, 35.0, 52.0, 77.0]
    people.reset_index().to_csv(root / "participants.tsv", sep="\t", index=False)


@pytest.fixture(scope="module")
def predicted(write_derivatives, run_study, tmp_path_factory):
    """Fit every model before and after the tested people were changed; return predictions."""
    root = write_derivatives(tmp_path_factory.mktemp("tested"), n=PEOPLE, effect=2.0)
    parts = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    ids = [f"sub-{number:03d}" for number in range(PEOPLE)]
    table = root / "parts.tsv"
    pd.DataFrame({"participant_id": ids, "part": parts}).to_csv(table, sep="\t", index=False)
    before = run_study(root, STAGES, split_file=table, **CHOICES).read("predictions")
    spoil(root)
    after = run_study(root, STAGES, name="spoilt", split_file=table, **CHOICES).read("predictions")
    return before, after


@pytest.mark.parametrize("model", [*MODELS, *CHOICES["baselines"]])
def test_models_answer_for_others_as_if_the_tested_were_other_people(predicted, model):
    before, after = (table[table["model"] == model].set_index("part") for table in predicted)
    pd.testing.assert_frame_equal(before.loc[["validation"]], after.loc[["validation"]])
    assert (before.loc["test", "evidence"] != after.loc["test", "evidence"]).any()
