"""Orientation of images, and quality numbers of a participant."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_sexclf.errors import ToolError
from bids_sexclf.volumes import check_same_grid, load, save

LEAST_AGREEMENT = 0.45
"""Correlation with the template below which a registration has failed: well registered heads have
more than 0.5; a mask on a face gave 0.29, a head on its side 0.43."""


INTRACRANIAL = ("deepbet",)
"""Engines whose masks contain the whole inside of the skull."""


class _ConformIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)


class _ConformOut(TraitedSpec):
    out_file = File(exists=True)


class Conform(SimpleInterface):
    """Reorder a scan to RAS+ axes without interpolation, as one 3-D volume of finite values."""

    input_spec, output_spec = _ConformIn, _ConformOut

    def _run_interface(self, runtime):
        path = Path(runtime.cwd, "conformed.nii.gz")
        self._results["out_file"] = write_conformed(self.inputs.in_file, path)
        return runtime


def write_conformed(in_file, path):
    """Write a scan with RAS+ axes and a header that all programs read alike.

    Parameters
    ----------
    in_file, path : path-like

    Returns
    -------
    str
        The path written.
    """
    import nibabel as nib

    array, affine = load(in_file, ndim=3)
    turned = nib.as_closest_canonical(nib.Nifti1Image(np.maximum(array, 0), affine))
    save(np.asarray(turned.dataobj), turned.affine, path)
    return str(path)


class _QualityIn(BaseInterfaceInputSpec):
    mask = File(exists=True, desc="brain mask in native space")
    registered = File(exists=True, desc="T1w, or FA where there is none, on the group grid")
    template = File(exists=True, desc="brain template on the group grid")
    template_mask = File(exists=True)
    white = File(exists=True, desc="white matter of the template on the group grid")
    volumes = File(exists=True, desc="JSON: volumes of tissues and skull's inside, mL")
    evidence = File(exists=True, desc="JSON: what speaks for the brain mask")
    motion = File(exists=True)
    counts = File(exists=True)
    records = InputMultiObject(File(exists=True), desc="JSON objects of single steps, joined")
    covered_t1w = File(exists=True, desc="what the T1w has measured, on the group grid")
    covered_dwi = File(exists=True, desc="what the diffusion series has measured")
    facts = traits.Dict({}, usedefault=True, desc="numbers that are known before any step")
    slices = File(exists=True, desc="JSON: slices of the diffusion series that stand out")


class _QualityOut(TraitedSpec):
    out_file = File(exists=True, desc="JSON")


class Quality(SimpleInterface):
    """Collect the quality numbers of one participant."""

    input_spec, output_spec = _QualityIn, _QualityOut

    def _run_interface(self, runtime):
        numbers = dict(self.inputs.facts) | self._coverage()
        if isdefined(self.inputs.mask):
            numbers |= self._brain()
        if isdefined(self.inputs.evidence):
            numbers |= json.loads(Path(self.inputs.evidence).read_text())
        if isdefined(self.inputs.volumes):
            numbers |= json.loads(Path(self.inputs.volumes).read_text())
        numbers |= size_of_brain(numbers)
        if isdefined(self.inputs.motion):
            moved = json.loads(Path(self.inputs.motion).read_text())["displacement_mm"]
            numbers["motion_mm"] = float(np.mean(moved[1:])) if len(moved) > 1 else 0.0
            numbers["motion_max_mm"] = float(np.max(moved))
            numbers["displacement_mm"] = moved
        if isdefined(self.inputs.counts):
            numbers["repaired"] = json.loads(Path(self.inputs.counts).read_text())
        for path in self.inputs.records if isdefined(self.inputs.records) else []:
            numbers |= json.loads(Path(path).read_text())
        if isdefined(self.inputs.slices):
            numbers |= json.loads(Path(self.inputs.slices).read_text())
        self._results["out_file"] = str(Path(runtime.cwd, "quality.json"))
        Path(self._results["out_file"]).write_text(json.dumps(numbers, indent=2))
        return runtime

    def _coverage(self):
        """Compute the share of the template's brain that each scan has measured."""
        from bids_sexclf.interfaces.coverage import share_covered

        numbers = {}
        for kind in ("t1w", "dwi"):
            path = getattr(self.inputs, f"covered_{kind}")
            if isdefined(path):
                brain, affine = load(self.inputs.template_mask, ndim=3)
                covered = self._on_grid(path, brain.shape, affine)
                numbers[f"coverage_{kind}"] = share_covered(covered, brain > 0.5)
        return numbers

    def _on_grid(self, path, shape, affine):
        """Load a mask that must lie on the template's grid."""
        mask, mask_affine = load(path, ndim=3)
        check_same_grid(mask.shape, mask_affine, shape, affine, (path, "the template"))
        return mask > 0.5

    def _brain(self):
        """Brain volume, agreement with the template, signal-to-noise."""
        from bids_sexclf.anatomy.brain import agreement, signal_to_noise, volume_ml

        mask, native = load(self.inputs.mask, ndim=3)
        registered, affine = load(self.inputs.registered, ndim=3)
        template, template_affine = load(self.inputs.template, ndim=3)
        check_same_grid(
            registered.shape,
            affine,
            template.shape,
            template_affine,
            ("the registered T1w", "the template"),
        )
        inside, white = (self._on_grid(path, template.shape, template_affine)
                         for path in (self.inputs.template_mask, self.inputs.white))  # fmt: skip
        agreed = agreement(registered, template, inside)
        if agreed < LEAST_AGREEMENT:
            raise ToolError(
                f"Found a registered brain that correlates with the template at {agreed:.2f}, "
                f"needed at least {LEAST_AGREEMENT}. Look at the scan: it is not a T1w of a whole "
                "head, or its registration has failed."
            )
        return {
            "mask_volume_ml": volume_ml(mask > 0, native),
            "registration_agreement": agreed,
            "snr": signal_to_noise(registered, white),
        }


def size_of_brain(numbers):
    """Compute brain and intracranial volume from tissues and mask.

    Masks differ in the fluid around the brain that they include, so the brain volume is that of
    grey and white matter. The intracranial volume is that of a mask of the whole inside of the
    skull; from other masks it is estimated by closing them.

    Parameters
    ----------
    numbers : dict
        What quality.json holds so far.

    Returns
    -------
    dict
        brain_volume_ml, and intracranial_volume_ml where it is measured.
    """
    sizes = {}
    if "mask_volume_ml" in numbers:
        tissues = [numbers.get(f"{tissue}_volume_ml") for tissue in ("grey", "white")]
        whole = numbers["mask_volume_ml"]
        sizes["brain_volume_ml"] = whole if None in tissues else sum(tissues)
        if numbers.get("mask_engine") in INTRACRANIAL:
            sizes["intracranial_volume_ml"] = whole
    return sizes
