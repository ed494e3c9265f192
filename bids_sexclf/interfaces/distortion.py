"""Susceptibility distortion: one interface per method that estimates the shift, and one to unwarp.

Every method writes ``shift``: voxels along the phase-encoding axis, on the grid of the b0.
"""

import json
from pathlib import Path

import nibabel as nib
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

from bids_sexclf.diffusion.scheme import B0_THRESHOLD, find_b0, read_bvals
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.interfaces.ants import _register, align_t1w, antspyx, to_ants
from bids_sexclf.volumes import load, save, save_field, volumes


class FindIn(BaseInterfaceInputSpec):
    """Inputs of every method that estimates a shift."""

    b0 = File(exists=True, mandatory=True, desc="mean b0 of the series")
    axis = traits.Int(mandatory=True, desc="of the array: along it the phase was encoded")
    readout = traits.Float(desc="total readout time, s; negative against the axis")
    why = traits.Str("", usedefault=True, desc="why this method was chosen, for the record")
    seed = traits.Int(1, usedefault=True)
    sloppy = traits.Bool(False, usedefault=True)


class FindOut(TraitedSpec):
    """Outputs of every method that estimates a shift."""

    shift = File(exists=True, desc="voxels along the axis, on the b0's grid")
    record = File(
        exists=True, desc="JSON: method, why, measure, before, after; for the quality file"
    )


class Find(SimpleInterface):
    """Base of the methods that estimate a shift: it writes their common outputs."""

    input_spec, output_spec = FindIn, FindOut

    def _finish(self, runtime, shift, affine, **record):
        self._results["shift"] = str(Path(runtime.cwd, "shift.nii.gz"))
        self._results["record"] = str(Path(runtime.cwd, "distortion.json"))
        save(shift, affine, self._results["shift"])
        numbers = {"distortion": {"why": self.inputs.why} | record}
        for when in ("before", "after"):
            numbers[f"distortion_agreement_{when}"] = record[when]
        Path(self._results["record"]).write_text(json.dumps(numbers))
        return runtime


# -- opposite phase encodings -------------------------------------------------------------------


class _AverageIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="series or volume")
    bval = File(exists=True, desc="which volumes are b0; all are where there is none")
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")
    seed = traits.Int(1, usedefault=True)


class _AverageOut(TraitedSpec):
    out_file = File(exists=True)


class AverageB0(SimpleInterface):
    """Average the b0 volumes of a series, each aligned rigidly with the first."""

    input_spec, output_spec = _AverageIn, _AverageOut

    def _run_interface(self, runtime):
        scans, affine = self._scans()
        first, total, count = None, 0.0, 0
        ants, prefix = antspyx(self.inputs.seed), str(Path(runtime.cwd, "volume_"))
        for scan in scans:
            moving = to_ants(np.nan_to_num(scan), affine)
            first = moving if first is None else first
            if count:
                registration = _register(
                    ants, first, moving, "Rigid", prefix, initial_transform="Identity"
                )
                moving = ants.apply_transforms(first, moving, registration["fwdtransforms"])
            total, count = total + moving.numpy(), count + 1
        self._results["out_file"] = str(Path(runtime.cwd, "b0.nii.gz"))
        save(total / count, affine, self._results["out_file"])
        return runtime

    def _scans(self):
        """Return the b0 volumes, one at a time, and their affine."""
        image = nib.load(self.inputs.in_file)
        if len(image.shape) < 4:
            return [load(self.inputs.in_file, ndim=3)[0]], image.affine
        low = np.ones(image.shape[3], bool)
        if isdefined(self.inputs.bval):
            bvals = read_bvals(self.inputs.bval)
            if len(bvals) != len(low):
                raise InputError(
                    f"Found {len(bvals)} b-values for the {len(low)} volumes of "
                    f"{self.inputs.in_file}, needed one for each. Look for the .bval file that "
                    "belongs to it."
                )
            low = find_b0(bvals, self.inputs.b0_threshold)
        series = enumerate(volumes(self.inputs.in_file))
        return (volume for index, volume in series if low[index]), image.affine


class OppositeIn(FindIn):
    """Inputs: the mean b0 of the series, and a b0 of opposite phase encoding."""

    opposite = File(exists=True, mandatory=True, desc="mean b0 encoded the other way")
    opposite_axis = traits.Int(mandatory=True)
    opposite_readout = traits.Float(mandatory=True, desc="as readout")


class _OppositeOut(FindOut):
    opposite_shift = File(exists=True, desc="of the same field, in the opposite scan's voxels")


class FindByOpposite(Find):
    """Estimate the shift from two oppositely encoded b0 volumes."""

    input_spec, output_spec = OppositeIn, _OppositeOut

    def _run_interface(self, runtime):
        from bids_sexclf.distortion.fieldmaps import unwarp
        from bids_sexclf.distortion.opposite import (
            LEVELS,
            Scan,
            carry_shift,
            estimate_shift,
            unwarp_second,
        )

        inputs = self.inputs
        b0, affine = load(inputs.b0, ndim=3)
        opposite, opposite_affine = load(inputs.opposite, ndim=3)
        first = Scan(b0, affine, inputs.axis, inputs.readout)
        second = Scan(opposite, opposite_affine, inputs.opposite_axis, inputs.opposite_readout)
        levels = LEVELS[:3] if inputs.sloppy else LEVELS
        shift, motion = estimate_shift(first, second, levels=levels)
        pair = unwarp(b0, shift, inputs.axis), unwarp_second(first, second, shift, motion)
        raw = b0, unwarp_second(first, second, np.zeros_like(shift), np.eye(4))
        self._results["opposite_shift"] = str(Path(runtime.cwd, "opposite_shift.nii.gz"))
        carried = carry_shift(first, second, shift, motion)
        save(carried, opposite_affine, self._results["opposite_shift"])
        return self._finish(
            runtime, shift, affine, **measure_agreement("opposite", raw, pair, affine)
        )


def measure_agreement(method, raw, pair, affine):
    """Correlate two oppositely encoded b0 volumes inside the brain, before and after unwarping.

    Parameters
    ----------
    method : str
        Name of the correction, for the record.
    raw, pair : pair of ndarray, shape (X, Y, Z)
        Both volumes as scanned, and as corrected.
    affine : ndarray, shape (4, 4)

    Returns
    -------
    dict
        method, measure (a description), before and after.
    """
    from bids_sexclf.anatomy.brain import agreement, b0_mask

    mask = b0_mask(np.maximum(pair[0] + pair[1], 0), np.linalg.norm(affine[:3, :3], axis=0))
    return {
        "method": method,
        "measure": "correlation of the two oppositely encoded b0 volumes inside the brain",
        "before": agreement(*raw, mask),
        "after": agreement(*pair, mask),
    }


# -- field map ----------------------------------------------------------------------------------


class _FieldIn(BaseInterfaceInputSpec):
    phase = InputMultiObject(
        File(exists=True), mandatory=True, desc="phase difference; or both phases; or a field"
    )
    magnitude = File(exists=True, mandatory=True)
    kind = traits.Enum("phasediff", "phases", "field", mandatory=True)
    delay = traits.Float(desc="second echo time minus first, s")
    scale = traits.Float(1.0, usedefault=True, desc="makes Hz of a field's units")


class _FieldOut(TraitedSpec):
    field = File(exists=True, desc="Hz, smooth, continued outside the head")
    magnitude = File(exists=True, desc="the brain on the magnitude image")


class MakeField(SimpleInterface):
    """Compute a smooth field in Hz from a gradient-echo field map."""

    input_spec, output_spec = _FieldIn, _FieldOut

    def _run_interface(self, runtime):
        from bids_sexclf.anatomy.brain import b0_mask
        from bids_sexclf.distortion.fieldmaps import phase_to_hertz, smooth_field, to_radians
        from bids_sexclf.volumes import check_same_grid

        inputs = self.inputs
        magnitude, affine = load(inputs.magnitude)
        magnitude = magnitude.reshape(magnitude.shape[:3] + (-1,))[..., 0]
        size = np.linalg.norm(affine[:3, :3], axis=0)
        mask, volumes = b0_mask(magnitude, size), []
        for path in inputs.phase:
            array, array_affine = load(path, ndim=3)
            names = ("the phase image", "the magnitude image")
            check_same_grid(array.shape, array_affine, mask.shape, affine, names)
            volumes.append(array)
        if inputs.kind == "field":
            hertz = np.where(mask, volumes[0] * inputs.scale, 0)
        else:
            phase = [to_radians(volume) for volume in volumes]
            if inputs.kind == "phases":
                phase = [np.angle(np.exp(1j * (phase[1] - phase[0])))]
            hertz = phase_to_hertz(phase[0], mask, inputs.delay)
        for name, array in (
            ("field", smooth_field(hertz, mask, size)),
            ("magnitude", magnitude * mask),
        ):
            self._results[name] = str(Path(runtime.cwd, f"{name}.nii.gz"))
            save(array, affine, self._results[name])
        return runtime


class _FieldmapIn(FindIn):
    field = File(exists=True, mandatory=True, desc="Hz")
    magnitude = File(exists=True, mandatory=True, desc="brain, on the field's grid")


class FindByFieldmap(Find):
    """Resample a measured field to the grid of the b0.

    The magnitude image is aligned rigidly with the b0 twice: the second time with the b0 unwarped
    by the first result, since distortion shifts the alignment along the phase axis.
    """

    input_spec = _FieldmapIn

    def _run_interface(self, runtime):
        from bids_sexclf.anatomy.brain import b0_mask
        from bids_sexclf.distortion.fieldmaps import shared_information, unwarp

        inputs, ants = self.inputs, antspyx(self.inputs.seed)
        b0, affine = load(inputs.b0, ndim=3)
        size = np.linalg.norm(affine[:3, :3], axis=0)
        field, brain = (to_ants(*load(p, ndim=3)) for p in (inputs.field, inputs.magnitude))
        grid, route, start, corrected = to_ants(b0, affine), [], "Identity", b0
        for turn in range(2):
            shift = ants.apply_transforms(grid, field, route).numpy() * inputs.readout
            corrected = unwarp(b0, shift, inputs.axis)
            fixed = to_ants(corrected * b0_mask(corrected, size), affine)
            prefix = str(Path(runtime.cwd, f"magnitude{turn}_"))
            registration = _register(ants, fixed, brain, "Rigid", prefix, initial_transform=start)
            route = registration["fwdtransforms"]
        shift = ants.apply_transforms(grid, field, route).numpy() * inputs.readout
        aligned = ants.apply_transforms(grid, brain, route).numpy()
        mask = aligned > 0.1 * np.percentile(aligned, 98)
        record = {
            "method": "fieldmap",
            "measure": "mutual information of the b0 and the field map's magnitude, in [0, 1]",
            "before": shared_information(b0, aligned, mask),
            "after": shared_information(unwarp(b0, shift, inputs.axis), aligned, mask),
        }
        return self._finish(runtime, shift, affine, **record)


# -- T1w ----------------------------------------------------------------------------------------


class _T1wIn(FindIn):
    mask = File(exists=True, mandatory=True, desc="brain on the b0")
    t1w_brain = File(exists=True, mandatory=True)


class FindByT1w(Find):
    """Estimate the shift for which the b0 shows the border of the T1w's white matter best.

    The T1w is aligned rigidly by the same border. Along the phase-encoding axis it keeps the
    scanner's coordinates, since a shift of the whole brain is part of the distortion. The shift is
    smooth, and is used only if the b0 then shows the border better.

    References
    ----------
    Greve and Fischl 2009, doi:10.1016/j.neuroimage.2009.06.060.
    """

    input_spec = _T1wIn

    def _run_interface(self, runtime):
        from bids_sexclf.boundary import border_cost, find_shift, hold_axis
        from bids_sexclf.distortion.fieldmaps import unwarp

        inputs, ants = self.inputs, antspyx(self.inputs.seed)
        b0, affine = load(inputs.b0, ndim=3)
        inside = load(inputs.mask, ndim=3)[0] > 0
        t1w, prefix = load(inputs.t1w_brain, ndim=3), str(Path(runtime.cwd, "t1w_"))
        aligned = align_t1w(ants, t1w, (b0, affine), inside, prefix)
        if aligned.border is None:
            raise ToolError(
                "Found that the mean b0 does not show where the T1w's white matter ends, needed "
                "grey matter brighter than white along it. Look at both scans, or choose "
                "--distortion none."
            )
        border, along = (
            aligned.border,
            affine[:3, inputs.axis] / np.linalg.norm(affine[:3, inputs.axis]),
        )
        pose = hold_axis(aligned.matrix, aligned.start, border.centre, along)
        shift = find_shift(b0, affine, border, pose, inputs.axis)
        before = 1 - border_cost(b0, affine, border, pose)
        after = 1 - border_cost(unwarp(b0, shift, inputs.axis), affine, border, pose)
        if not after > before:
            shift, after = np.zeros_like(shift), before
        return self._finish(
            runtime,
            shift,
            affine,
            method="t1w",
            measure="contrast of grey over white matter along the border that the T1w shows, in "
            "(-1, 1)",
            before=before,
            after=after,
        )


# -- unwarping ----------------------------------------------------------------------------------


class _UnwarpIn(BaseInterfaceInputSpec):
    b0 = File(exists=True, mandatory=True)
    shift = File(exists=True, mandatory=True)
    axis = traits.Int(mandatory=True)


class _UnwarpOut(TraitedSpec):
    b0 = File(exists=True, desc="unwarped, Jacobian-modulated")
    warp = File(exists=True, desc="displacement field as ANTs applies it to unwarp")
    jacobian = File(exists=True, desc="multiplies what the warp gives")


class Unwarp(SimpleInterface):
    """Unwarp the mean b0, and write the warp and its Jacobian for the series."""

    input_spec, output_spec = _UnwarpIn, _UnwarpOut

    def _run_interface(self, runtime):
        from bids_sexclf.distortion.fieldmaps import displacement_field, jacobian, unwarp

        axis = self.inputs.axis
        b0, affine = load(self.inputs.b0, ndim=3)
        shift, _ = load(self.inputs.shift, ndim=3)
        for name, array in (
            ("b0", unwarp(b0, shift, axis)),
            ("jacobian", jacobian(shift, axis)),
        ):
            self._results[name] = str(Path(runtime.cwd, f"{name}.nii.gz"))
            save(array, affine, self._results[name])
        self._results["warp"] = str(Path(runtime.cwd, "warp.nii.gz"))
        save_field(displacement_field(shift, affine, axis), affine, self._results["warp"])
        return runtime
