"""Promises about brains in their own size, and about region measures, at the group level."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import layout
from bids_sexclf.anatomy.morphometry import widen
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.errors import InputError
from bids_sexclf.group import base
from bids_sexclf.settings import Run
from bids_sexclf.tables import write_table
from bids_sexclf.volumes import load, save

STATS = Path(__file__).parents[1] / "data" / "freesurfer" / "sub-01" / "stats"
SHAPE = (15, 18, 15)
RADII = np.linspace(40, 60, 12)
QUIET = {"models": ["age_only"], "baselines": ["brain_size"], "n_folds": 2}


@pytest.fixture
def heads(tmp_path):
    """Write twelve balls of different size and gain, upright in their own size."""
    root = tmp_path / "bids"
    out = root / "derivatives" / "out"
    affine = np.diag([10.0, 10, 10, 1])
    affine[:3, 3] = -70, -85, -70
    world = np.indices(SHAPE).transpose(1, 2, 3, 0) * 10 + affine[:3, 3]
    people = []
    for index, radius in enumerate(RADII):
        person, inside = f"sub-{index:03d}", np.linalg.norm(world, axis=-1) < radius
        name = layout.derivative("t1w_acpc", person, res="10")
        save(inside * (100.0 + 300 * index), affine, out / name)
        numbers = {"brain_volume_ml": 500 + float(inside.sum()), "intracranial_volume_ml": 1400.0}
        path = out / layout.derivative("quality", person)
        path.write_text(json.dumps(numbers))
        rows = [(person, None, "Halves", i, f"part {i}", "L", 100.0 * i) for i in (1, 2)]
        columns = ["participant_id", "session_id", "atlas", "region", "name", "hemisphere"]
        table = pd.DataFrame(rows, columns=[*columns, "volume_mm3"])
        path = out / layout.derivative("morphometry", person, atlas="Halves")
        write_table(table, path, "morphometry")
        people.append((person, "FM"[index % 2], 20 + index))
    table = pd.DataFrame(people, columns=["participant_id", "sex", "age"])
    table.to_csv(root / "participants.tsv", sep="\t", index=False)
    return root


def test_brains_of_any_size_come_whole_and_in_one_intensity(heads, run_study):
    desk = run_study(
        heads, ["cohort"], maps=["T1wACPC"], voxel_size=10, attributions=[], name="own"
    )
    array = np.load(array_path(desk.folder, "T1wACPC"))
    assert array.shape == (12, *SHAPE)  # nothing is cut to anybody's brain
    np.testing.assert_allclose(array.max((1, 2, 3)), 1, rtol=1e-5)
    sizes = (array > 0.5).sum((1, 2, 3))
    assert (np.diff(sizes) > 0).all()
    assert (load(desk.folder / "grid" / "mask.nii.gz")[0] == 1).all()


def test_a_study_without_regions_runs_to_its_report(heads, run_study):
    desk = run_study(heads, maps=["T1wACPC"], voxel_size=10, attributions=[], **QUIET)
    assert desk.read("regions").empty and desk.read("attributions").empty
    assert (desk.folder / "report.html").exists()
    assert all(base.state(desk, stage) == "finished" for stage in base.STAGES)


def test_regions_of_an_atlas_are_refused_before_anything_is_fitted(heads, run_study):
    with pytest.raises(InputError, match=r"attributions = \[\]"):
        run_study(heads, ["cohort"], maps=["T1wACPC"], voxel_size=10)


def test_upright_brains_are_not_taken_for_a_template(heads, run_study):
    with pytest.raises(InputError, match="no T1w map"):
        run_study(heads, ["cohort"], maps=["T1w"])


def test_region_measures_of_everyone_are_gathered(heads, run_study):
    desk = run_study(heads, ["cohort"], maps=["T1wACPC"], voxel_size=10, attributions=[])
    table = desk.read("morphometry")
    assert len(table) == 24 and "thickness_mm" not in table
    assert widen(table).shape == (12, 2)
    assert (desk.read("cohort")["intracranial_volume_ml"] == 1400).all()


def test_freesurfers_tables_join_and_their_volume_is_that_of_everyone(heads, run_study, tmp_path):
    for person in ("sub-000", "sub-003"):
        shutil.copytree(STATS, tmp_path / "fs" / person / "stats")
    run = Run(nprocs=1, derivatives=[f"freesurfer={tmp_path / 'fs'}"])
    choices = {"maps": ["T1wACPC"], "voxel_size": 10, "attributions": []}
    desk = run_study(heads, ["cohort"], run=run, **choices)
    table = desk.read("morphometry")
    assert table.groupby("atlas")["participant_id"].nunique().to_dict() == {
        "Halves": 12, "aparc": 2, "aseg": 2,
    }  # fmt: skip
    wide = widen(table)
    assert wide.loc[("sub-003", "n/a"), "aparc L bankssts thickness_mm"] == 2.492
    assert wide.loc[("sub-003", "n/a"), "aseg 17 volume_mm3"] == 4180.2
    volume = desk.read("cohort").set_index("participant_id")["intracranial_volume_ml"]
    assert volume["sub-000"] == pytest.approx(1537.563437) and volume.isna().sum() == 10
    assert base.state(desk, "cohort") == "finished"
    spelt = Run(nprocs=1, derivatives=[f"freesurfer={os.path.relpath(tmp_path / 'fs')}"])
    assert base.state(replace(desk, run=spelt), "cohort") == "finished"
    path = tmp_path / "fs" / "sub-003" / "stats" / "aseg.stats"
    path.write_text(path.read_text().replace("4180.2", "5180.25"))
    assert base.state(desk, "cohort") == "inputs changed"
