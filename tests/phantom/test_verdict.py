"""The demo's last line: what a study found beside what was planted."""

import json

import numpy as np
import pandas as pd
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.phantom.verdict import main, verdict
from bids_sexclf.tables import write_table

NAMES = ["Left anterior grey matter", "Right posterior white matter", "Brain stem"]


def write_study(folder, p_differs, p_used, *, effect=2.0):
    """Write truth, scores, differences and regions; region 1 is the planted one."""
    truth = {"EffectRegionName": NAMES[1], "EffectSize": effect}
    place = folder / "bids" / "derivatives" / "phantom"
    place.mkdir(parents=True)
    (place / "truth.json").write_text(json.dumps(truth))
    study = folder / "study"
    scores = pd.DataFrame(
        {
            "model": ["cnn3", "cnn3", "brain_size"],
            "map": ["T1w", "T1w", "table"],
            "score": ["auc", "balanced_accuracy", "auc"],
            "part": "test",
            "n": 24,
            "estimate": [0.953, 0.9, 0.68],
            "ci_low": [0.8, 0.7, np.nan],
            "ci_high": [1.0, 1.0, np.nan],
            "null_mean": 0.5,
            "p": 0.01,
            "variance_factor": 2.0,
        }
    )
    region = {
        "map": "T1w", "atlas": "Lobes", "region": [1, 2, 3], "name": NAMES, "n_voxels": 100,
        "hemisphere": ["L", "R", "B"], "n_participants": 24, "ci_low": 0.1,
        "ci_high": 0.9, "p": 0.01, "reason": None,
    }  # fmt: skip
    differences = pd.DataFrame(
        region
        | {"adjusted_for": "nothing", "d": [0.5, -1.5, 0.9], "statistic": 1.0, "p_fwe": p_differs}
    )
    adjusted = differences.assign(adjusted_for="age_years", p_fwe=0.001)
    claimed = pd.DataFrame(
        region
        | {
            "model": "cnn3",
            "method": "region_occlusion",
            "fill": "donors",
            "mean": [0.3, 0.2, 0.1],
            "effect_size": 0.5,
            "p_fwe": p_used,
            "p_holm": 0.5,
            "q_fdr": 0.5,
            "p_wilcoxon": 0.001,
            "variance_factor": 2.0,
        }  # fmt: skip
    )
    published = claimed.assign(fill="white_matter_mean", p_fwe=np.nan, mean=9.0)
    write_table(scores, study / "scores.tsv", "scores")
    write_table(pd.concat([differences, adjusted]), study / "differences.tsv", "differences")
    write_table(pd.concat([published, claimed]), study / "regions.tsv", "regions")
    return folder / "bids", study


def test_the_line_names_what_either_test_has_shown_and_the_planted_region(tmp_path):
    dataset, study = write_study(tmp_path, [0.2, 0.001, 0.001], [0.06, 0.01, 0.3])
    assert verdict(dataset, study) == (
        "AUC of cnn3: 0.95 [0.80, 1.00]; of brain size alone: 0.68; differs between the sexes: "
        "Right posterior white matter and 1 more; cnn3 leans on: Right posterior white matter; "
        f"planted: Right posterior white matter; report: {study / 'report.html'}"
    )


def test_without_a_claim_no_region_is_named(tmp_path):
    dataset, study = write_study(tmp_path, [0.2, 0.06, 0.9], [0.051, np.nan, 0.3], effect=0)
    line = verdict(dataset, study)
    assert "sexes: no region is shown; cnn3 leans on: no region is shown; planted: none;" in line


def test_another_dataset_is_refused(tmp_path, capsys):
    with pytest.raises(InputError, match=r"truth of a synthetic dataset.*bids-sexclf-phantom"):
        verdict(tmp_path, tmp_path)
    assert main([str(tmp_path)]) == InputError.exit_code
    assert "Found 1 arguments, needed DATASET STUDY" in capsys.readouterr().err
