"""A cohort in which one head is spoiled: it is left out by name, the sound one is prepared."""

import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.phantom.dataset import write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.tables import read_table

SPOILED = "sub-002"


def invert(t1w):
    """Return the head with dark brain and bright fluid, as a T2w shows it, on black air."""
    return np.where(t1w > 0.05 * t1w.max(), t1w.max() - t1w, 0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return the output folder of a run on T1w scans alone, and how the run ended."""
    root = tmp_path_factory.mktemp("planted") / "bids"
    write_dataset(root, PhantomOptions(participants=2, seed=8))
    path = root / SPOILED / "anat" / f"{SPOILED}_T1w.nii.gz"
    image = nib.load(path)
    nib.Nifti1Image(invert(image.get_fdata()).astype("f4"), image.affine).to_filename(path)
    for folder in root.glob("sub-*/dwi"):
        shutil.rmtree(folder)
    templates = root / "derivatives" / "phantom" / "templates"
    words = [root, root.parent / "out", "participant", "--template", "Phantom", "--templates-dir"]
    words += [templates, "--resolution", 4, "--sloppy", "--nprocs", 2]
    command = [sys.executable, "-m", "bids_sexclf.cli", *map(str, words)]
    return root.parent / "out", subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_the_spoiled_head_is_left_out_by_name_with_numbers(prepared):
    out, ended = prepared
    assert ended.returncode == 3, ended.stderr
    excluded = read_table(out / "excluded.tsv", "excluded").set_index("participant_id")
    assert list(excluded.index) == [SPOILED] and SPOILED in ended.stderr
    assert "needed" in excluded.loc[SPOILED, "reason"]
    assert "left out" in (out / f"{SPOILED}.html").read_text()
    assert not (out / layout.derivative("t1w_mask", SPOILED)).exists()


@pytest.mark.slow
def test_the_sound_head_is_prepared(prepared):
    out = prepared[0]
    assert (out / layout.derivative("t1w_mask", "sub-001")).is_file()
    assert SPOILED in (out / "index.html").read_text()
