"""The participant level for real: whole heads, ANTs, Nipype, processes that are killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.phantom.dataset import write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.tables import read_table

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
from attacks.contents import contents

pytestmark = pytest.mark.slow
PEOPLE = 3


def command(root, out, *more):
    """Give the command line of a fast run."""
    templates = root / "derivatives" / "phantom" / "templates"
    arguments = [
        root,
        out,
        "participant",
        "--template",
        "Phantom",
        "--templates-dir",
        templates,
        "--resolution",
        "4",
        "--sloppy",
        "--gibbs",
        "none",
        "--nprocs",
        "2",
        *more,
    ]
    return [sys.executable, "-m", "bids_sexclf.cli", *map(str, arguments)]


def execute(root, out, *more):
    return subprocess.run(command(root, out, *more), capture_output=True, text=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom") / "bids"
    write_dataset(root, PhantomOptions(participants=PEOPLE, seed=5))
    spoiled = root / "sub-003" / "dwi" / "sub-003_dwi.bval"
    spoiled.write_text("0 1000\n")
    shutil.rmtree(root / "sub-003" / "anat")  # what is wrong with diffusion costs no sound T1w
    return root


@pytest.fixture(scope="module")
def done(dataset, tmp_path_factory):
    """Run once, undisturbed; give the output folder and what was said."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return out, execute(dataset, out)


def test_the_exit_code_says_that_someone_was_left_out(done):
    out, ended = done
    assert ended.returncode == 3, ended.stderr
    assert "sub-003" in ended.stderr
    excluded = read_table(out / "excluded.tsv", "excluded")
    assert excluded["participant_id"].tolist() == ["sub-003"]
    assert "2 b-values" in excluded["reason"][0]
    assert "2 b-values" in (out / "sub-003.html").read_text()
    assert not (out / "sub-003").exists()


def test_masks_agree_with_the_truth(done, dataset):
    for person in ("sub-001", "sub-002"):
        found = nib.load(done[0] / layout.derivative("t1w_mask", person))
        truth = dataset / f"derivatives/phantom/{person}/anat/{person}_desc-brain_mask.nii.gz"
        truth = nib.as_closest_canonical(nib.load(truth))
        np.testing.assert_allclose(found.affine, truth.affine, atol=1e-3)
        a, b = (np.asarray(image.dataobj) > 0 for image in (found, truth))
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.95


def test_every_map_lies_on_one_grid_with_its_meaning(done):
    shapes = set()
    for entry, params in (("tensor_template", "fa md ad rd"), ("kurtosis_template", "mk ak rk")):
        for param in params.split():
            path = done[0] / layout.derivative(
                entry, "sub-001", space="Phantom", res="4", param=param
            )
            about = json.loads(layout.sidecar(path).read_text())
            assert about["Units"] and about["Reference"].startswith("https://doi.org/")
            assert about["GeneratedWith"]["random_seed"] == 20240 and about["Versions"]
            shapes.add((nib.load(path).shape, nib.load(path).affine.tobytes()))
    t1w = nib.load(done[0] / layout.derivative("t1w_template", "sub-001", space="Phantom", res="4"))
    assert shapes == {(t1w.shape, t1w.affine.tobytes())}


def test_fractional_anisotropy_is_high_in_white_matter_and_low_elsewhere(done):
    path = layout.derivative("tensor_template", "sub-001", space="Phantom", res="4", param="fa")
    fa = np.asarray(nib.load(done[0] / path).dataobj)
    white = np.asarray(nib.load(done[0] / layout.reference("white", "Phantom", "4")).dataobj) > 0
    mask = np.asarray(nib.load(done[0] / layout.reference("mask", "Phantom", "4")).dataobj) > 0
    # The share of pairs in which the white-matter voxel has the higher value.
    rank = np.searchsorted(np.sort(fa[mask & ~white]), fa[white]) / (mask & ~white).sum()
    assert rank.mean() > 0.85


def test_the_report_shows_every_picture_and_its_files_exist(done):
    page = (done[0] / "sub-001.html").read_text()
    keys = "t1wmask t1wtemplate gradients b0 series dwimask dwit1w colourfa"
    keys += " tensormaps kurtosismaps famap"
    for key in keys.split():
        path = f"sub-001/figures/sub-001_desc-{key}.svg"
        assert path in page and (done[0] / path).stat().st_size > 10_000
    assert "Tustison" in page and "Brain volume" in page


def test_every_sidecar_names_sources_that_exist_and_what_made_it(done, dataset):
    about = json.loads((done[0] / "dataset_description.json").read_text())
    assert about["GeneratedBy"][0]["Name"] == "bids_sexclf" and about["GeneratedBy"][0]["Version"]
    assert about["DatasetLinks"] == {"raw": dataset.resolve().as_uri()}
    paths = [path for path in (done[0] / "sub-001").rglob("*.nii.gz")]
    for path in paths:
        told = json.loads(layout.sidecar(path).read_text())
        assert told["Sources"], path
        for source in told["Sources"]:
            assert (dataset / source.removeprefix("bids:raw:")).exists()
        assert {"template", "random_seed", "resolution"} <= set(told["GeneratedWith"])
        assert {"bids-sexclf", "antspyx"} <= set(told["Versions"])


def test_the_validator_finds_no_error(done):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    ended = subprocess.run([validator, done[0]], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:]


def test_pybids_reads_the_output(done):
    from bids import BIDSLayout

    found = BIDSLayout(done[0], validate=False, is_derivative=True)
    # sub-003 has a page that says why it was left out, and no image.
    assert sorted(found.get_subjects(extension=".nii.gz")) == ["001", "002"]
    assert len(found.get(suffix="mask", desc="brain", space="Phantom", extension=".nii.gz")) == 2


def test_a_second_run_does_no_work_twice(done, dataset):
    out, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("sub-00[12]*/**/*")}
    ended = execute(dataset, out)
    assert "0 to prepare, 2 finished before, 1 left out" in ended.stdout
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("sub-00[12]*/**/*")}


def test_processes_and_threads_change_no_byte(done, dataset, tmp_path):
    more = ("--nprocs", "1", "--omp-nthreads", "2", "--participant-label", "001")
    assert execute(dataset, tmp_path / "out", *more).returncode == 0
    usual, threads = contents(done[0]), contents(tmp_path / "out")
    own = [name for name in usual if name.startswith(("sub-001", "tpl-"))]
    assert own == [name for name in threads if name.startswith(("sub-", "tpl-"))]
    assert [name for name in own if usual[name] != threads[name]] == []


def test_a_run_killed_at_random_moments_ends_with_the_same_files(done, dataset, tmp_path):
    rng, out, kills = random.Random(int(os.environ.get("KILL_SEED", "0"))), tmp_path / "out", 0
    for _ in range(int(os.environ.get("KILLS", "2"))):
        child = subprocess.Popen(
            command(dataset, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(4, 25))
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait()
        whole = [path for path in out.rglob("*.nii.gz") if not path.name.startswith(".part-")]
        for path in (path for path in whole if "work" not in path.parts):
            nib.load(path).get_fdata()
    ended = execute(dataset, out)
    assert ended.returncode == 3 and kills, ended.stderr
    assert not list(path for path in out.rglob(".part-*") if "work" not in path.parts)
    undisturbed, resumed = contents(done[0]), contents(out)
    assert sorted(undisturbed) == sorted(resumed)
    assert [name for name in resumed if resumed[name] != undisturbed[name]] == []


def test_a_step_that_fails_costs_its_participant_and_nobody_else(dataset, tmp_path):
    """Noise passes the preflight, and is found out when it does not look like the template."""
    root = shutil.copytree(dataset, tmp_path / "bids")
    path = root / "sub-001" / "anat" / "sub-001_T1w.nii.gz"
    head = nib.load(path)
    noise = np.random.default_rng(0).integers(0, 2, head.shape).astype(np.int16)
    nib.Nifti1Image(noise, head.affine).to_filename(path)
    plugin = tmp_path / "plugin.yml"
    plugin.write_text("plugin: Linear\nplugin_args: {}\n")
    work = tmp_path / "work"
    strangers = [work / "notes.txt", work / "bids_sexclf_wf" / "sub_777_wf" / "file"]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    raw = sorted(str(path) for path in root.rglob("*"))
    more = ("-w", work, "--clean-workdir")
    ended = execute(root, tmp_path / "out", "--use-plugin", plugin, *more)
    assert ended.returncode == 3
    # Who was prepared is cleaned away; who failed, another job's work and all else stay.
    assert not (work / "bids_sexclf_wf" / "sub_002_wf").exists()
    assert (work / "bids_sexclf_wf" / "sub_001_wf").exists()
    assert [path.read_text() for path in strangers] == ["kept", "kept"]
    assert sorted(str(path) for path in root.rglob("*")) == raw
    excluded = read_table(tmp_path / "out" / "excluded.tsv", "excluded")
    reasons = excluded.set_index("participant_id")
    assert reasons["stage"].to_dict() == {"sub-001": "participant", "sub-003": "preflight"}
    assert len(reasons["reason"]["sub-001"]) > 20
    assert "Left out: there is no result" in (tmp_path / "out" / "sub-001.html").read_text()
    assert (tmp_path / "out" / layout.derivative("quality", "sub-002")).exists()
