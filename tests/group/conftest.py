"""Studies on maps that were written straight to disk: the group level without the participant's."""

import json

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import layout
from bids_sexclf.group import base
from bids_sexclf.lobes import make_lobes, sample_tissues
from bids_sexclf.settings import Run, Study
from bids_sexclf.volumes import save

SHAPE, SIZE = (26, 32, 26), 7.0
PLANTED = 8


def world():
    """Give the affine of a coarse grid around the MNI152 brain."""
    affine = np.diag([SIZE, SIZE, SIZE, 1.0])
    affine[:3, 3] = (-90, -126, -72)
    return affine


@pytest.fixture(scope="session")
def brain():
    """Give labels, mask and tissues on the grid."""
    affine = world()
    labels, _ = make_lobes(SHAPE, affine)
    grey, white = (np.asarray(map_, np.float32) for map_ in sample_tissues(SHAPE, affine)[:2])
    mask = (grey + white) > 0.2
    return {"labels": labels * mask, "grey": grey, "white": white, "mask": mask}


@pytest.fixture(scope="session")
def write_derivatives(brain):
    """Give a function that writes a dataset and its derivatives with a planted truth."""

    def write(root, n=32, effect=0.0, size_effect=0.0, age_effect=0.0, seed=0, families=None):
        rng, affine = np.random.default_rng(seed), world()
        people = pd.DataFrame(
            {
                "participant_id": [f"sub-{i:03d}" for i in range(n)],
                "sex": ["F", "M"] * (n // 2),
                "age": rng.uniform(20, 80, n).round(1),
            }
        )
        if families is not None:
            people["family_id"] = families
        root.mkdir(parents=True, exist_ok=True)
        people.to_csv(root / "participants.tsv", sep="\t", index=False)
        out = root / "derivatives" / "out"
        for kind, array in (
            ("brain", brain["grey"] + 1.5 * brain["white"]),
            ("mask", brain["mask"]),
            ("white", (brain["white"] > 0.8) & brain["mask"]),
        ):
            save(array, affine, out / layout.reference(kind, "Phantom", "7"))
        for row in people.itertuples():
            sign = 1 if row.sex == "M" else -1
            value = 0.7 * brain["grey"] + brain["white"] + rng.normal(0, 0.08, SHAPE)
            for region in range(1, 25):
                mine = sign * effect / 2 if region == PLANTED else 0
                mine += age_effect * (row.age - 50) / 17 if region == PLANTED else 0
                value[brain["labels"] == region] *= 1 + 0.05 * (rng.normal() + mine)
            name = layout.derivative("t1w_template", row.participant_id, space="Phantom", res="7")
            save(value * brain["mask"], affine, out / name)
            volume = 1200 + 100 * (rng.normal() + sign * size_effect / 2)
            path = out / layout.derivative("quality", row.participant_id)
            path.write_text(json.dumps({"brain_volume_ml": volume, "snr": 10.0}))
        return root

    return write


@pytest.fixture(scope="session")
def run_study():
    """Give a function that runs stages of a study on such a dataset."""

    def run(root, stages=base.STAGES, run=None, **choices):
        values = {
            "n_folds": 3,
            "voxel_size": SIZE,
            "epochs": 10,
            "bootstraps": 200,
            "permutations": 200,
            "learning_rate": 1e-3,
            "sanity_participants": 0,
            "attribution_options": {"donors": {"per_sex": 1}},
        }
        study = Study(**(values | choices))
        desk = base.Desk.at(root, root / "derivatives" / "out", run or Run(nprocs=1), study)
        for stage in stages:
            base.run_stage(desk, stage)
        return desk

    return run
