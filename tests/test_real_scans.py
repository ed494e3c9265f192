"""Promises about real scans; skipped where none are at hand."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_sexclf import layout
from bids_sexclf.brain import b0_mask, is_stripped
from bids_sexclf.diffusion import fit_tensor
from bids_sexclf.interfaces.diffusion import read_gradients
from bids_sexclf.volumes import load


@pytest.fixture(scope="module")
def prepared(real_data, tmp_path_factory):
    """Prepare one real T1w, as a user would."""
    out = tmp_path_factory.mktemp("ixi") / "out"
    command = [real_data / "ixi", out, "participant", "--participant-label", "IXI013",
               "--templates-dir", real_data / "templateflow", "--nprocs", "2"]  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "bids_sexclf.cli", *map(str, command)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return out


def test_the_brain_mask_agrees_with_intracranial_labels(prepared, real_data):
    labels = real_data / "ixi/derivatives/dlmuse/sub-IXI013/anat"
    labels = nib.as_closest_canonical(nib.load(labels / "sub-IXI013_desc-dlmuse_dseg.nii.gz"))
    mask = nib.load(prepared / layout.derivative("t1w_mask", "sub-IXI013"))
    mask, inside = np.asarray(mask.dataobj) > 0, np.asarray(labels.dataobj) > 0
    assert 2 * (mask & inside).sum() / (mask.sum() + inside.sum()) >= 0.96


def _emptied(t1w, labels):
    """Give the scan with nothing but zeros around the head."""
    near = ndimage.gaussian_filter(t1w, 1) > 0.12 * np.percentile(t1w, 95)
    return np.where(ndimage.binary_fill_holes(ndimage.binary_closing(near, iterations=3)), t1w, 0)


STATES = {
    "as it comes": (lambda t1w, labels: t1w, False),
    "emptied around the head": (_emptied, False),
    "brain and fluid": (lambda t1w, labels: np.where(labels > 0, t1w, 0), True),
    "brain alone": (lambda t1w, labels: np.where(labels > 1, t1w, 0), True),
}


@pytest.mark.parametrize("state", sorted(STATES))
@pytest.mark.parametrize("person", ["IXI012", "IXI080", "IXI443"])
def test_stripped_scans_are_told_from_heads(real_data, person, state):
    name = f"sub-{person}/anat/sub-{person}"
    t1w, affine = load(real_data / "ixi" / f"{name}_T1w.nii.gz")
    labels, _ = load(real_data / "ixi/derivatives/dlmuse" / f"{name}_desc-dlmuse_dseg.nii.gz")
    change, expected = STATES[state]
    size = np.linalg.norm(affine[:3, :3], axis=0)
    assert is_stripped(change(t1w, labels), size) is expected


def test_a_defaced_head_is_not_taken_for_a_brain(real_data):
    t1w, affine = load(real_data / "scans/sub-sf01/anat/sub-sf01_T1w.nii.gz")
    size = 3 * np.linalg.norm(affine[:3, :3], axis=0)
    assert not is_stripped(t1w[::3, ::3, ::3], size)


def test_the_registered_brain_lies_on_the_templates_grid(prepared, real_data):
    folder = real_data / "templateflow/tpl-MNI152NLin6Asym"
    template = nib.load(folder / "tpl-MNI152NLin6Asym_res-02_desc-brain_mask.nii.gz")
    path = layout.derivative("t1w_template", "sub-IXI013", space="MNI152NLin6Asym", res="2")
    brain = nib.load(prepared / path)
    assert brain.shape == template.shape
    np.testing.assert_allclose(brain.affine, template.affine, atol=1e-4)


def test_one_head_has_one_anisotropy_however_it_was_scanned(real_data):
    medians = []
    for series in ("PAortho", "PAax20", "APortho"):
        stem = real_data / "scans/sub-canon/dwi" / f"sub-canon_acq-{series}_dwi"
        data, affine = load(f"{stem}.nii.gz", ndim=4)
        bvals, bvecs = read_gradients(f"{stem}.bval", f"{stem}.bvec")
        mask = b0_mask(data[..., bvals <= 50].mean(-1), np.linalg.norm(affine[:3, :3], axis=0))
        medians.append(np.median(fit_tensor(data, bvals, bvecs, mask)["FA"][mask]))
    assert max(medians) - min(medians) < 0.03
