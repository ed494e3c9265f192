"""One master seed covers every random step of both levels, from scans to report.

That one seed prepares the same bytes twice is shown by ``tests/participant/test_run.py``.
"""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import cli, layout
from bids_sexclf.phantom.dataset import write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.tables import read_tsv
from bids_sexclf.volumes import load, save

pytestmark = pytest.mark.slow
PREPARE = (
    "participant --template Phantom --resolution 6 --sloppy --nprocs 1 --participant-label 001"
)
STUDY = (
    "group --maps FA --voxel-size 7 --n-folds 2 --age-bands 1 --epochs 2 --bootstraps 100 "
    "--permutations 100 --baselines age_only --nprocs 1"
)
RANDOM = ("splits", "predictions", "scores")
"""Tables that hold something drawn."""
PEOPLE = 8


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Write a head with both scans, and names of seven more people."""
    root = tmp_path_factory.mktemp("seed") / "bids"
    options = PhantomOptions(
        participants=1, seed=2, resolution=6, dwi_resolution=8, shells=(1000,), directions=(6,),
        b0s=1, motion=0.5,
    )  # fmt: skip
    write_dataset(root, options)
    rows = [f"sub-{n:03d}\t{'FM'[n % 2]}\t{20 + n}" for n in range(1, PEOPLE + 1)]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tsex\tage", *rows]) + "\n")
    return root


def enlarge(out):
    """Make seven more people of the prepared one: preparing eight would take too long here."""
    kind = {"space": "Phantom", "res": "6", "param": "fa"}
    fa, affine = load(out / layout.derivative("tensor_template", "sub-001", **kind))
    numbers = json.loads((out / layout.derivative("quality", "sub-001")).read_text())
    for number in range(2, PEOPLE + 1):
        person = f"sub-{number:03d}"
        noise = np.random.default_rng(number).normal(1, 0.1, fa.shape)
        save(fa * noise, affine, out / layout.derivative("tensor_template", person, **kind))
        numbers["brain_volume_ml"] = 1200.0 + 10 * number
        (out / layout.derivative("quality", person)).write_text(json.dumps(numbers))


def execute(root, out, *words):
    """Run the program in this process."""
    assert cli.main([str(root), str(out), *" ".join(map(str, words)).split()]) == 0
    return out


@pytest.fixture(scope="module")
def prepared(dataset, tmp_path_factory):
    """Prepare the head with two seeds."""
    plugin = tmp_path_factory.mktemp("plugin") / "plugin.yml"
    plugin.write_text("plugin: Linear\nplugin_args: {}\n")
    templates = dataset / "derivatives" / "phantom" / "templates"
    where = f"--templates-dir {templates} --use-plugin {plugin}"
    outs = [tmp_path_factory.mktemp(f"seed{seed}") / "out" for seed in (7, 8)]
    for seed, out in zip((7, 8), outs, strict=True):
        execute(dataset, out, PREPARE, where, f"--random-seed {seed}")
    return outs


@pytest.fixture(scope="module")
def studies(dataset, prepared, tmp_path_factory):
    """Run a study on the first maps twice with one seed, and once with another."""
    enlarge(prepared[0])
    outs = []
    for seed in (7, 7, 8):
        out = tmp_path_factory.mktemp("study") / "out"
        maps = f"--derivatives bids_sexclf={prepared[0]}"
        outs.append(execute(dataset, out, STUDY, maps, f"--random-seed {seed}"))
    return outs


def images(out):
    paths = [path for path in out.glob("sub-001/**/*.nii.gz") if "work" not in path.parts]
    return {str(path.relative_to(out)): nib.load(path).get_fdata() for path in sorted(paths)}


def tables(out):
    paths = sorted((out / "study-default").rglob("*.tsv"))
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_one_seed_gives_the_same_tables_twice(studies):
    first, second = (tables(out) for out in studies[:2])
    assert sorted(first) == sorted(second) and len(first) >= 9
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_changes_the_registrations_and_not_the_scans(prepared):
    first, changed = (images(out) for out in prepared)
    assert sorted(first) == sorted(changed) and len(first) > 12
    moved = layout.derivative("t1w_template", "sub-001", space="Phantom", res="6")
    assert np.abs(first[str(moved)] - changed[str(moved)]).max() > 1e-5
    # The bias field is found with the template's tissues, which a registration has carried.
    kept = str(layout.derivative("t1w_preproc", "sub-001"))
    np.testing.assert_allclose(first[kept], changed[kept], rtol=0.05, atol=1)


def test_another_seed_changes_what_a_study_draws_and_not_who_is_in_it(studies):
    first, changed = tables(studies[0]), tables(studies[2])
    for name in RANDOM:
        assert first[f"study-default/{name}.tsv"] != changed[f"study-default/{name}.tsv"], name
    who = [read_tsv(out / "study-default" / "cohort.tsv") for out in (studies[0], studies[2])]
    assert who[0]["participant_id"].tolist() == who[1]["participant_id"].tolist()
