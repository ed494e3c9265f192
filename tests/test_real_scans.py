"""Promises about real scans; skipped where none are at hand."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_sexclf import layout
from bids_sexclf.anatomy.brain import b0_mask, is_stripped, overlap, volume_ml
from bids_sexclf.diffusion import fit_tensor
from bids_sexclf.diffusion.scheme import read_gradients
from bids_sexclf.errors import InputError
from bids_sexclf.tables import read_table, read_tsv
from bids_sexclf.volumes import load

PERSON = "sub-IXI013"


@pytest.fixture(scope="module")
def prepared(real_data, tmp_path_factory):
    """Prepare one real T1w, as a user would."""
    out = tmp_path_factory.mktemp("ixi") / "out"
    command = [real_data / "ixi", out, "participant", "--participant-label", PERSON,
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
    assert 2 * (mask & inside).sum() / (mask.sum() + inside.sum()) >= 0.97


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


def test_an_upright_brain_keeps_its_size(prepared):
    native, affine = load(prepared / layout.derivative("t1w_mask", PERSON), ndim=3)
    upright, own = load(prepared / layout.derivative("t1w_acpc_mask", PERSON, res="3p14"), ndim=3)
    assert upright.shape == (58, 70, 58)
    volumes = [volume_ml(native > 0, affine), volume_ml(upright > 0, own)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.01)


def test_an_affine_brain_has_the_templates_size_and_nearly_its_shape(prepared):
    space = {"space": "MNI152NLin6Asym", "res": "2"}
    names = ("t1w_affine", "t1w_template", "t1w_template_mask")
    affine, warped, mask = (
        load(prepared / layout.derivative(name, PERSON, **space), ndim=3)[0] for name in names
    )
    scaled, mask = affine > 0.2 * affine.max(), mask > 0
    assert scaled.sum() == pytest.approx((warped > 0.2 * warped.max()).sum(), rel=0.1)
    assert 2 * (scaled & mask).sum() / (scaled.sum() + mask.sum()) > 0.9
    # .699: the brain holds the fluid between folds, which lies where the folds of others are.
    assert np.corrcoef(affine[mask], warped[mask])[0, 1] > 0.68


def test_volumes_are_near_those_of_automatic_labels(prepared, real_data):
    labels = read_tsv(real_data / "ixi/derivatives/dlmuse/volumes.tsv")
    labels = labels.set_index("participant_id").loc[PERSON] / 1000
    found = json.loads((prepared / layout.derivative("quality", PERSON)).read_text())
    assert found["white_volume_ml"] == pytest.approx(labels["604"], rel=0.1)
    assert found["intracranial_volume_ml"] == pytest.approx(labels["702"], rel=0.03)
    assert found["intracranial_volume_ml"] > found["brain_volume_ml"]
    tissues = sum(found[f"{name}_volume_ml"] for name in ("csf", "grey", "white"))
    assert tissues == pytest.approx(found["mask_volume_ml"], rel=1e-3)
    assert found["brain_volume_ml"] == pytest.approx(
        found["grey_volume_ml"] + found["white_volume_ml"]
    )
    assert found["intracranial_volume_ml"] == found["mask_volume_ml"]


def test_regions_are_measured_on_both_sides_alike(prepared):
    path = layout.derivative("morphometry", PERSON, atlas="Lobes")
    table = read_table(prepared / path, "morphometry")
    assert len(table) == 24 and (table["volume_mm3"] > 500).all()
    sides = [table[table["hemisphere"] == side]["volume_mm3"].to_numpy() for side in "LR"]
    np.testing.assert_allclose(sides[0], sides[1], rtol=0.25)
    white = table["name"].str.endswith("white matter")
    assert (table["mean_intensity"][white] > 0.9).all()
    grey = table["grey_volume_mm3"] / table["volume_mm3"]
    assert grey[~white].min() > grey[white].max()


def test_one_head_has_one_anisotropy_however_it_was_scanned(real_data):
    medians = []
    for series in ("PAortho", "PAax20", "APortho"):
        stem = real_data / "scans/sub-canon/dwi" / f"sub-canon_acq-{series}_dwi"
        data, affine = load(f"{stem}.nii.gz", ndim=4)
        bvals, bvecs = read_gradients(f"{stem}.bval", f"{stem}.bvec")
        mask = b0_mask(data[..., bvals <= 50].mean(-1), np.linalg.norm(affine[:3, :3], axis=0))
        medians.append(np.median(fit_tensor(data, bvals, bvecs, mask)["FA"][mask]))
    assert max(medians) - min(medians) < 0.03


def test_zeros_of_a_real_scan_count_as_lost_and_not_as_black(real_data):
    stem = str(real_data / "scans/sub-xa30/dwi/sub-xa30_dir-AP_dwi")
    data, affine = load(f"{stem}.nii.gz", ndim=4)
    bvals, bvecs = read_gradients(f"{stem}.bval", f"{stem}.bvec")
    low = bvals <= 50
    mask = b0_mask(data[..., low].mean(-1), np.linalg.norm(affine[:3, :3], axis=0))
    maps = fit_tensor(data, bvals, bvecs, mask, counts=True)
    lost = mask & (maps["n_floored"] == 1)
    assert lost.sum() > 100
    x, y, z = bvecs.T
    columns = [x * x, 2 * x * y, 2 * x * z, y * y, 2 * y * z, z * z]
    design = np.column_stack([np.ones_like(bvals), *(-bvals / 1000 * part for part in columns)])
    away = []
    for voxel in np.argwhere(lost)[::20]:
        signal = data[tuple(voxel)].astype(float)
        # The same two steps of least squares, without the sample that was lost.
        there = signal >= 1e-3 * signal[low].mean()
        logs, rows = np.log(signal[there]), design[there]
        weights = np.exp(rows @ np.linalg.lstsq(rows, logs, rcond=None)[0])[:, None]
        found = np.linalg.lstsq(weights * rows, weights[:, 0] * logs, rcond=None)[0]
        evals = np.maximum(np.linalg.eigvalsh(found[[[1, 2, 3], [2, 4, 5], [3, 5, 6]]]), 1e-6)
        fa = np.sqrt(1.5 * ((evals - evals.mean()) ** 2).sum() / (evals**2).sum())
        away.append(abs(maps["FA"][tuple(voxel)] - fa))
    assert np.median(away) < 0.02


def _lie_down(t1w, affine):
    """Give the scan as it lies on disk when its header is lost: axes are taken for others."""
    return t1w.transpose(1, 2, 0)[::-1, ::-1], np.diag([2.0, 2.0, 2.0, 1.0])


WRONG = {
    "inverted contrast": (lambda t1w, affine: (t1w.max() - t1w, affine), "agreement"),
    "one half": (lambda t1w, affine: (t1w[: t1w.shape[0] // 2], affine), "overlap"),
    "without its upper third": (lambda t1w, affine: (t1w[..., :84], affine), "overlap|agreement"),
    "noise": (lambda t1w, affine: (np.random.default_rng(0).rayleigh(50, t1w.shape), affine), "0"),
}
"""What can be wrong with a scan, and what its refusal names."""


def _find(real_data, folder, t1w, affine):
    from bids_sexclf.interfaces.extract import find
    from bids_sexclf.interfaces.masks import Engines
    from bids_sexclf.resources import find_template, find_weights

    template = find_template("MNI152NLin6Asym", real_data / "templateflow")
    engines = Engines(
        head=template.head, head_mask=template.mask, brain=template.brain,
        weights=find_weights(), recipe="sloppy", folder=folder, seed=1,
    )  # fmt: skip
    return find(engines, "deepbet", t1w.astype(np.float32), affine)


def _scan_and_labels(real_data, person=PERSON):
    scan = real_data / f"ixi/{person}/anat/{person}_T1w.nii.gz"
    labels = real_data / f"ixi/derivatives/dlmuse/{person}/anat/{person}_desc-dlmuse_dseg.nii.gz"
    scan, labels = (nib.as_closest_canonical(nib.load(path)) for path in (scan, labels))
    return np.asarray(scan.dataobj), scan.affine, np.asarray(labels.dataobj) > 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", sorted(WRONG))
def test_a_scan_that_shows_no_whole_brain_is_refused_with_numbers(real_data, tmp_path, fault):
    t1w, affine, _ = _scan_and_labels(real_data)
    change, told = WRONG[fault]
    with pytest.raises(InputError, match=told):
        _find(real_data, tmp_path, *change(t1w, affine))


@pytest.mark.slow
def test_a_head_whose_header_is_lost_is_masked_right(real_data, tmp_path):
    t1w, affine, inside = _scan_and_labels(real_data)
    chosen, pair = _find(real_data, tmp_path, *_lie_down(t1w, affine))
    assert overlap(chosen.mask, _lie_down(inside, affine)[0]) > 0.97
    assert pair.turned_degrees > 0
