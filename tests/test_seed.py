"""One master seed covers every random step of both levels, from scans to report."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.phantom.dataset import write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.tables import read_tsv
from bids_sexclf.volumes import load, save

pytestmark = pytest.mark.slow
PREPARE = "participant --template Phantom --resolution 6 --sloppy --nprocs 2"
STUDY = (
    "group --maps FA --voxel-size 7 --n-folds 2 --age-bands 1 --epochs 2 --bootstraps 100 "
    "--permutations 100 --baselines age_only --nprocs 1"
)
RANDOM = ("splits", "predictions", "scores")
"""Tables that hold something drawn."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Write a head with both scans and one with diffusion alone, and names of six more people."""
    root = tmp_path_factory.mktemp("seed") / "bids"
    options = PhantomOptions(
        participants=2, seed=2, resolution=6, dwi_resolution=8, shells=(1000,), directions=(6,),
        b0s=1, motion=0.5,
    )  # fmt: skip
    write_dataset(root, options)
    for path in (root / "sub-002" / "anat").iterdir():
        path.unlink()
    rows = [f"sub-{number:03d}\t{'FM'[number % 2]}\t{20 + number}" for number in range(1, 9)]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tsex\tage", *rows]) + "\n")
    return root


def enlarge(out):
    """Make six more people of the two prepared ones: preparing eight would take too long here."""
    for number in range(3, 9):
        source, person = f"sub-{2 - number % 2:03d}", f"sub-{number:03d}"
        kind = {"space": "Phantom", "res": "6", "param": "fa"}
        fa, affine = load(out / layout.derivative("tensor_template", source, **kind))
        noise = np.random.default_rng(number).normal(1, 0.1, fa.shape)
        save(fa * noise, affine, out / layout.derivative("tensor_template", person, **kind))
        numbers = json.loads((out / layout.derivative("quality", source)).read_text())
        numbers["brain_volume_ml"] = 1200.0 + 10 * number
        (out / layout.derivative("quality", person)).write_text(json.dumps(numbers))


def execute(root, out, *words):
    templates = root / "derivatives" / "phantom" / "templates"
    given = [word for part in words for word in str(part).split()]
    more = ["--templates-dir", templates] if "participant" in given else []
    parts = [sys.executable, "-m", "bids_sexclf.cli", root, out, *given, *more]
    ended = subprocess.run([str(part) for part in parts], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return out


@pytest.fixture(scope="module")
def twice(dataset, tmp_path_factory):
    """Run both levels twice with one seed."""
    outs = [tmp_path_factory.mktemp(name) / "out" for name in ("first", "second")]
    for out in outs:
        execute(dataset, out, PREPARE, "--random-seed 7")
        enlarge(out)
        execute(dataset, out, STUDY, "--random-seed 7")
    return outs


@pytest.fixture(scope="module")
def other(dataset, twice, tmp_path_factory):
    """Run with another seed: one head, and the study on the maps of the first run."""
    out = tmp_path_factory.mktemp("other") / "out"
    execute(dataset, out, PREPARE, "--random-seed 8 --participant-label 001")
    study = tmp_path_factory.mktemp("otherstudy") / "out"
    execute(dataset, study, STUDY, "--random-seed 8", f"--derivatives bids_sexclf={twice[0]}")
    return out, study


def images(out, folder="sub-00[12]"):
    paths = [path for path in out.glob(f"{folder}/**/*.nii.gz") if "work" not in path.parts]
    return {str(path.relative_to(out)): nib.load(path).get_fdata() for path in sorted(paths)}


def tables(out):
    paths = sorted((out / "study-default").rglob("*.tsv"))
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_one_seed_gives_the_same_images_twice(twice):
    first, second = (images(out) for out in twice)
    assert sorted(first) == sorted(second) and len(first) > 25
    for name, array in first.items():
        np.testing.assert_allclose(array, second[name], rtol=0, atol=1e-5, err_msg=name)


def test_one_seed_gives_the_same_tables_twice(twice):
    first, second = (tables(out) for out in twice)
    assert sorted(first) == sorted(second) and len(first) >= 9
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_changes_the_registrations_and_not_the_scans(twice, other):
    first, changed = images(twice[0], "sub-001"), images(other[0], "sub-001")
    assert sorted(first) == sorted(changed)
    moved = layout.derivative("t1w_template", "sub-001", space="Phantom", res="6")
    assert np.abs(first[str(moved)] - changed[str(moved)]).max() > 1e-5
    # The bias field is found with the template's tissues, which a registration has carried.
    kept = str(layout.derivative("t1w_preproc", "sub-001"))
    np.testing.assert_allclose(first[kept], changed[kept], rtol=0.05, atol=1)


def test_another_seed_changes_what_a_study_draws_and_not_who_is_in_it(twice, other):
    first, changed = tables(twice[0]), tables(other[1])
    for name in RANDOM:
        assert first[f"study-default/{name}.tsv"] != changed[f"study-default/{name}.tsv"], name
    who = [read_tsv(out / "study-default" / "cohort.tsv") for out in (twice[0], other[1])]
    assert who[0]["participant_id"].tolist() == who[1]["participant_id"].tolist()
