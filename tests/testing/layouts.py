"""Datasets as other tools leave them, made from one prepared phantom head.

File names are those of the tools' own lists of outputs; the images are the phantom's.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_sexclf import layout

PERSON = "sub-001"
OTHER_TEMPLATE = "MNI152NLin2009cAsym"


@dataclass(frozen=True)
class Head:
    """One head, raw and prepared: where its files lie."""

    raw: Path
    out: Path

    def derivative(self, entry, **entities):
        return self.out / layout.derivative(entry, PERSON, **entities)

    @property
    def t1w(self):
        return self.raw / PERSON / "anat" / f"{PERSON}_T1w.nii.gz"

    @property
    def true_mask(self):
        return self.raw / f"derivatives/phantom/{PERSON}/anat/{PERSON}_desc-brain_mask.nii.gz"

    def dwi(self, extension):
        return self.raw / PERSON / "dwi" / f"{PERSON}_dwi.{extension}"


def put(source, target):
    """Copy a file to its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def put_turned(source, target, axes="LAS"):
    """Copy an image with its axes turned: the same voxels in another order."""
    image = nib.load(source)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    image.as_reoriented(turn).to_filename(target)


def write_people(folder, *rows):
    """Make a folder a BIDS dataset that holds people, but no scan."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text('{"Name": "t", "BIDSVersion": "1.10.0"}')
    lines = ["participant_id\tsex\tage", *(rows or [f"{PERSON}\tF\t27"])]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    return folder


def write_fmriprep(folder, head):
    """Write what fMRIPrep writes of the anatomy; its transforms lead to two templates."""
    stem = f"{PERSON}/anat/{PERSON}"
    put(head.derivative("t1w_preproc"), folder / f"{stem}_desc-preproc_T1w.nii.gz")
    put_turned(head.true_mask, folder / f"{stem}_desc-brain_mask.nii.gz", "RAS")
    put_turned(head.true_mask, folder / f"{stem}_space-{OTHER_TEMPLATE}_desc-brain_mask.nii.gz")
    there = head.derivative("t1w_to_template", to="Phantom")
    back = head.derivative("template_to_t1w", from_="Phantom")
    for template in ("Phantom", OTHER_TEMPLATE):
        put(there, folder / f"{stem}_from-T1w_to-{template}_mode-image_xfm.h5")
        put(back, folder / f"{stem}_from-{template}_to-T1w_mode-image_xfm.h5")
    (folder / "dataset_description.json").write_text('{"Name": "fMRIPrep"}')
    return folder


def write_qsiprep(folder, head, template=OTHER_TEMPLATE):
    """Write what QSIPrep writes: anatomy by participant, diffusion by session, b-values in rows."""
    anat, dwi = f"{PERSON}/anat/{PERSON}", f"{PERSON}/ses-a/dwi/{PERSON}_ses-a"
    put_turned(
        head.derivative("t1w_preproc"), folder / f"{anat}_space-ACPC_desc-preproc_T1w.nii.gz", "LPS"
    )
    put_turned(head.true_mask, folder / f"{anat}_space-ACPC_desc-brain_mask.nii.gz", "LPS")
    made = head.derivative("t1w_to_template", to="Phantom")
    put(made, folder / f"{anat}_from-ACPC_to-{template}_mode-image_xfm.h5")
    made = head.derivative("template_to_t1w", from_="Phantom")
    put(made, folder / f"{anat}_from-{template}_to-ACPC_mode-image_xfm.h5")
    # In the T1w's space, as QSIPrep leaves them: the plain run's transform is the identity here.
    put(head.derivative("dwi_preproc"), folder / f"{dwi}_space-ACPC_desc-preproc_dwi.nii.gz")
    put(head.derivative("dwi_bvec"), folder / f"{dwi}_space-ACPC_desc-preproc_dwi.bvec")
    bvals = np.loadtxt(head.derivative("dwi_bval")).ravel()
    np.savetxt(folder / f"{dwi}_space-ACPC_desc-preproc_dwi.bval", bvals, fmt="%d")
    put(head.derivative("dwi_mask"), folder / f"{dwi}_space-ACPC_desc-brain_mask.nii.gz")
    moved = ["framewise_displacement", "n/a", *["0.25"] * (len(bvals) - 1)]
    (folder / f"{dwi}_desc-confounds_timeseries.tsv").write_text("\n".join(moved) + "\n")
    return folder


def write_qsirecon(folder, head, space):
    """Write maps as QSIRecon does, in its folder of one pipeline; diffusivities in µm²/ms."""
    home = folder / "derivatives" / "qsirecon-DSIStudio" / PERSON / "ses-a" / "dwi"
    for param in ("fa", "md", "ad", "rd"):
        if space == "ACPC":
            made = nib.load(head.derivative("tensor_native", param=param))
        else:
            entities = {"space": "Phantom", "res": "6", "param": param}
            made = nib.load(head.derivative("tensor_template", **entities))
        values = np.asarray(made.dataobj) * (1 if param == "fa" else 1000)
        home.mkdir(parents=True, exist_ok=True)
        name = f"{PERSON}_ses-a_space-{space}_model-tensor_param-{param}_dwimap.nii.gz"
        nib.Nifti1Image(values.astype(np.float32), made.affine).to_filename(home / name)
    return folder


def write_hcp(folder, head):
    """Write a minimally preprocessed folder of the HCP: LAS axes, b0 volumes with b=5."""
    t1w, diffusion = folder / "100307" / "T1w", folder / "100307" / "T1w" / "Diffusion"
    put_turned(head.derivative("t1w_preproc"), t1w / "T1w_acpc_dc_restore.nii.gz")
    put_turned(head.true_mask, t1w / "brainmask_fs.nii.gz")
    put_turned(head.derivative("dwi_preproc"), diffusion / "data.nii.gz")
    put_turned(head.derivative("dwi_mask"), diffusion / "nodif_brain_mask.nii.gz")
    bvals = np.maximum(np.loadtxt(head.derivative("dwi_bval")).ravel(), 5)
    np.savetxt(diffusion / "bvals", bvals[None], fmt="%d")
    put(head.derivative("dwi_bvec"), diffusion / "bvecs")
    (diffusion / "eddylogs").mkdir()
    rms = np.column_stack([np.arange(len(bvals)) / 10, np.full(len(bvals), 0.125)])
    np.savetxt(diffusion / "eddylogs" / "eddy_unwarped_images.eddy_movement_rms", rms)
    (folder / "participants.tsv").write_text("participant_id\tsex\tage\n100307\tF\t27\n")
    return folder


def write_cc359(folder, head):
    """Write CC-359's folders; tissue segmentations there bear the scans' own names."""
    stem = "CC0001_philips_15_55_M"
    put(head.t1w, folder / "Original" / f"{stem}.nii.gz")
    put(head.true_mask, folder / "Silver-standard-STAPLE" / f"{stem}_staple.nii.gz")
    put(head.true_mask, folder / "WM-GM-CSF" / f"{stem}.nii.gz")
    return folder


def write_runs(folder, head):
    """Write a session with two T1w runs, the first one spoiled, and two runs of diffusion."""
    write_people(folder)
    anat = folder / PERSON / "ses-1" / "anat"
    put(head.t1w, anat / f"{PERSON}_ses-1_run-2_T1w.nii.gz")
    put(head.t1w, anat / f"{PERSON}_ses-1_acq-fast_rec-norm_T1w.nii.gz")
    scan = nib.load(head.t1w)
    values = np.asarray(scan.dataobj, dtype=float)
    # A head that moved: ghosts along one axis.
    ghost = values + 0.4 * np.roll(values, 5, axis=1) + 0.4 * np.roll(values, -5, axis=1)
    nib.Nifti1Image(ghost.astype(np.int16), scan.affine).to_filename(
        anat / f"{PERSON}_ses-1_run-1_T1w.nii.gz"
    )
    for run in (1, 2):
        stem = folder / PERSON / "ses-1" / "dwi" / f"{PERSON}_ses-1_run-{run}_dwi"
        for extension in ("bval", "bvec", "json"):
            put(head.dwi(extension), stem.with_name(f"{stem.name}.{extension}"))
        series = nib.load(head.dwi("nii.gz"))
        scaled = np.asarray(series.dataobj, dtype=float) * run  # a second scan on another scale
        nib.Nifti1Image(scaled.astype(np.float32), series.affine).to_filename(f"{stem}.nii.gz")
    mask = folder / "derivatives" / "masks" / PERSON / "ses-1" / "anat"
    put(head.true_mask, mask / f"{PERSON}_ses-1_desc-brain_mask.nii.gz")
    description = {"Name": "m", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
    (mask.parents[2] / "dataset_description.json").write_text(json.dumps(description))
    return folder
