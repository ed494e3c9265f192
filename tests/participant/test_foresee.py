"""A dry run tells in words what would be done, and writes nothing."""

import json
import shutil

import numpy as np
import pytest

from bids_sexclf import cli
from bids_sexclf.errors import PARTIAL
from bids_sexclf.participant.foresee import estimate, tell_empty
from bids_sexclf.people import group_reasons
from bids_sexclf.settings import Preparation
from bids_sexclf.volumes import save

WAYS = np.random.default_rng(0).normal(size=(8, 3))


@pytest.fixture
def templates(tmp_path):
    folder = tmp_path / "templates" / "tpl-Phantom"
    for tail in ("T1w", "desc-brain_T1w", "desc-brain_mask", "label-WM_probseg"):
        save(np.ones((8, 8, 8)), np.eye(4), folder / f"tpl-Phantom_res-01_{tail}.nii.gz")
    return folder.parent


def write_t1w(root, name, seed):
    save(np.random.default_rng(seed).random((12, 12, 12)), np.eye(4), root / f"{name}_T1w.nii.gz")


def write_dwi(root, name, seed, **about):
    values = np.random.default_rng(seed).random((10, 10, 10, 9))
    save(values, np.eye(4), root / f"{name}_dwi.nii.gz")
    np.savetxt(root / f"{name}_dwi.bval", [[0] + [1000] * 8], fmt="%d")
    ways = WAYS / np.linalg.norm(WAYS, axis=1, keepdims=True)
    np.savetxt(root / f"{name}_dwi.bvec", np.vstack([np.zeros(3), ways]).T)
    (root / f"{name}_dwi.json").write_text(json.dumps(about))


@pytest.fixture
def bids(tmp_path):
    root = tmp_path / "bids"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "t", "BIDSVersion": "1.10.0"}')
    people = [f"sub-{n}\t{'FM'[n % 2]}\t30" for n in range(1, 4)]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tsex\tage", *people]))
    way = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05}
    write_t1w(root, "sub-1/ses-a/anat/sub-1_ses-a", 1)
    write_dwi(root, "sub-1/ses-a/dwi/sub-1_ses-a", 2, **way)
    fmap = root / "sub-1/ses-a/fmap/sub-1_ses-a_dir-PA_epi"
    save(np.random.default_rng(3).random((10, 10, 10)), np.eye(4), f"{fmap}.nii.gz")
    about = way | {"PhaseEncodingDirection": "j"}
    fmap.with_suffix(".json").write_text(json.dumps(about))
    (root / "sub-1/ses-meg/meg").mkdir(parents=True)
    (root / "sub-1/ses-meg/meg/sub-1_ses-meg_task-rest_meg.fif").write_text("")
    write_t1w(root, "sub-2/anat/sub-2", 4)
    write_dwi(root, "sub-2/dwi/sub-2", 5)
    (root / "sub-2/dwi/sub-2_dwi.bvec").unlink()
    write_dwi(root, "sub-3/dwi/sub-3", 6)
    (root / "sub-3/dwi/sub-3_dwi.bval").unlink()
    return root


def run(bids, templates, tmp_path, *more):
    flags = ["--dry-run", "--template", "Phantom", "--templates-dir", str(templates)]
    flags += more if "--morphometry-atlas" in more else ["--morphometry-atlas", "none", *more]
    return cli.main([str(bids), str(tmp_path / "out"), "participant", "--nprocs", "2", *flags])


def test_a_dry_run_is_readable_and_writes_nothing(bids, templates, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    kept = ["--bids-database-dir", str(tmp_path / "index"), "-w", str(tmp_path / "work")]
    assert run(bids, templates, tmp_path, *kept) == PARTIAL
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    told = capsys.readouterr().out
    first, second, third, summary = told.strip().split("\n\n")
    assert first.startswith("sub-1_ses-a: to prepare, about 3 min of one processor, 3 GB")
    assert "T1w             sub-1/ses-a/anat/sub-1_ses-a_T1w.nii.gz" in first
    assert "corrected       distortion, by opposite with sub-1_ses-a_dir-PA_epi.nii.gz" in first
    words = " ".join(second.split())
    assert "prepared without its diffusion data: sub-2_dwi.nii.gz has no bvec file" in words
    assert third.startswith("sub-3: left out") and "no bval file" in third
    assert "2 to prepare, 0 finished before, 1 left out." in summary
    assert "1 session holds neither T1w nor diffusion series" in summary and "ses-meg" in summary
    assert max(map(len, told.splitlines())) <= 130
    assert not any(sign in told for sign in ("Correction(", "{", "None"))


def test_where_nobody_is_left_a_dry_run_lists_everybody(bids, templates, tmp_path, capsys):
    for person in ("sub-1", "sub-2"):
        shutil.rmtree(bids / person)
    assert run(bids, templates, tmp_path) == 65
    told = capsys.readouterr()
    assert told.out.startswith("sub-3: left out")
    assert "Found no usable participant among 1 (sub-3: sub-3_dwi.nii.gz has no bval" in told.err


def test_sessions_without_scans_are_no_failure(bids, templates, tmp_path, capsys):
    assert run(bids, templates, tmp_path, "--participant-label", "1") == 0
    assert "1 to prepare, 0 finished before, 0 left out." in capsys.readouterr().out


def test_many_who_share_a_reason_are_one_short_line():
    rows = [{"participant_id": f"sub-{n:03d}", "session_id": None, "reason": "no T1w " * 200}
            for n in range(1000)]  # fmt: skip
    ((reason, who),) = group_reasons(rows)
    assert len(reason) < 410 and who == "sub-000, sub-001, sub-002 and 997 more"
    assert len(tell_empty([f"sub-{n}_ses-meg" for n in range(1000)])) < 150


def test_larger_scans_take_longer_and_more_memory(tmp_path):
    row = {"t1w": None, "dwi": None, "participant_id": "sub-1", "session_id": None}
    write_dwi(tmp_path, "a", 1)
    save(np.random.default_rng(1).random((100, 100, 60, 20)), np.eye(4) * 2, tmp_path / "b.nii.gz")
    needs = [
        estimate(row | {"dwi": name}, {"raw": tmp_path}, Preparation())
        for name in ("a_dwi.nii.gz", "b.nii.gz")
    ]
    assert needs[0][0] < needs[1][0] and needs[0][1] <= needs[1][1]


@pytest.mark.parametrize(
    ("flag", "content", "word"),
    [("--use-plugin", "plugin: [", "needed YAML"), ("--morphometry-atlas", None, "atlas")],
)
def test_a_dry_run_refuses_what_the_run_would_refuse(
    bids, templates, tmp_path, capsys, flag, content, word
):
    if content:
        (tmp_path / "file").write_text(content)
    assert run(bids, templates, tmp_path, flag, str(tmp_path / "file")) == 65
    told = capsys.readouterr().err
    assert word in told and str(tmp_path / "file") in told
    assert not (tmp_path / "out").exists()
