"""Susceptibility distortion: one shell per way to find the shift, and one that unwarps.

Every way ends in ``shift``: voxels along the phase-encoding axis, on the b0's grid.
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
    """What every way to find a shift reads."""

    b0 = File(exists=True, mandatory=True, desc="mean b0 of the series")
    axis = traits.Int(mandatory=True, desc="of the array: along it the phase was encoded")
    readout = traits.Float(desc="total readout time, s; negative against the axis")
    why = traits.Str("", usedefault=True, desc="why this method was chosen, for the record")
    seed = traits.Int(1, usedefault=True)
    sloppy = traits.Bool(False, usedefault=True)


class FindOut(TraitedSpec):
    """What every way to find a shift writes."""

    shift = File(exists=True, desc="voxels along the axis, on the b0's grid")
    record = File(
        exists=True, desc="JSON: method, why, measure, before, after; for the quality file"
    )


class Find(SimpleInterface):
    """Share what every way to find a shift ends with."""

    input_spec, output_spec = FindIn, FindOut

    def _finish(self, runtime, shift, affine, **record):
        self._results["shift"] = str(Path(runtime.cwd, "shift.nii.gz"))
        self._results["record"] = str(Path(runtime.cwd, "distortion.json"))
        save(shift, affine, self._results["shift"])
        told = {"distortion": {"why": self.inputs.why} | record}
        for when in ("before", "after"):
            told[f"distortion_agreement_{when}"] = record[when]
        Path(self._results["record"]).write_text(json.dumps(told))
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
                found = _register(
                    ants, first, moving, "Rigid", prefix, initial_transform="Identity"
                )
                moving = ants.apply_transforms(first, moving, found["fwdtransforms"])
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
    """The mean b0 of the series, and one that was encoded the other way."""

    opposite = File(exists=True, mandatory=True, desc="mean b0 encoded the other way")
    opposite_axis = traits.Int(mandatory=True)
    opposite_readout = traits.Float(mandatory=True, desc="as readout")


class _OppositeOut(FindOut):
    opposite_shift = File(exists=True, desc="of the same field, in the opposite scan's voxels")


class FindByOpposite(Find):
    """Find the field that makes two oppositely encoded b0 volumes alike, as the shift of each."""

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

        given = self.inputs
        b0, affine = load(given.b0, ndim=3)
        other, other_affine = load(given.opposite, ndim=3)
        first = Scan(b0, affine, given.axis, given.readout)
        second = Scan(other, other_affine, given.opposite_axis, given.opposite_readout)
        levels = LEVELS[:3] if given.sloppy else LEVELS
        shift, motion = estimate_shift(first, second, levels=levels)
        pair = unwarp(b0, shift, given.axis), unwarp_second(first, second, shift, motion)
        raw = b0, unwarp_second(first, second, np.zeros_like(shift), np.eye(4))
        self._results["opposite_shift"] = str(Path(runtime.cwd, "opposite_shift.nii.gz"))
        carried = carry_shift(first, second, shift, motion)
        save(carried, other_affine, self._results["opposite_shift"])
        return self._finish(
            runtime, shift, affine, **measure_agreement("opposite", raw, pair, affine)
        )


def measure_agreement(method, raw, pair, affine):
    """Correlate two oppositely encoded b0 volumes inside the brain, before and after.

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
        method, measure (in words), before and after.
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
    """Make a smooth field in Hz of a gradient-echo field map."""

    input_spec, output_spec = _FieldIn, _FieldOut

    def _run_interface(self, runtime):
        from bids_sexclf.anatomy.brain import b0_mask
        from bids_sexclf.distortion.fieldmaps import phase_to_hertz, smooth_field, to_radians
        from bids_sexclf.volumes import check_same_grid

        given = self.inputs
        magnitude, affine = load(given.magnitude)
        magnitude = magnitude.reshape(magnitude.shape[:3] + (-1,))[..., 0]
        size = np.linalg.norm(affine[:3, :3], axis=0)
        mask, volumes = b0_mask(magnitude, size), []
        for path in given.phase:
            array, other = load(path, ndim=3)
            names = ("the phase image", "the magnitude image")
            check_same_grid(array.shape, other, mask.shape, affine, names)
            volumes.append(array)
        if given.kind == "field":
            hertz = np.where(mask, volumes[0] * given.scale, 0)
        else:
            phase = [to_radians(volume) for volume in volumes]
            if given.kind == "phases":
                phase = [np.angle(np.exp(1j * (phase[1] - phase[0])))]
            hertz = phase_to_hertz(phase[0], mask, given.delay)
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
    """Bring a measured field to the b0's grid.

    The magnitude image is aligned rigidly with the b0 twice: the second time with the b0 that the
    first one unwarped, since a distorted brain pulls the alignment along the phase axis.
    """

    input_spec = _FieldmapIn

    def _run_interface(self, runtime):
        from bids_sexclf.anatomy.brain import b0_mask
        from bids_sexclf.distortion.fieldmaps import shared_information, unwarp

        given, ants = self.inputs, antspyx(self.inputs.seed)
        b0, affine = load(given.b0, ndim=3)
        size = np.linalg.norm(affine[:3, :3], axis=0)
        field, brain = (to_ants(*load(p, ndim=3)) for p in (given.field, given.magnitude))
        grid, route, start, seen = to_ants(b0, affine), [], "Identity", b0
        for turn in range(2):
            shift = ants.apply_transforms(grid, field, route).numpy() * given.readout
            seen = unwarp(b0, shift, given.axis)
            fixed = to_ants(seen * b0_mask(seen, size), affine)
            prefix = str(Path(runtime.cwd, f"magnitude{turn}_"))
            found = _register(ants, fixed, brain, "Rigid", prefix, initial_transform=start)
            route = found["fwdtransforms"]
        shift = ants.apply_transforms(grid, field, route).numpy() * given.readout
        aligned = ants.apply_transforms(grid, brain, route).numpy()
        mask = aligned > 0.1 * np.percentile(aligned, 98)
        record = {
            "method": "fieldmap",
            "measure": "mutual information of the b0 and the field map's magnitude, in [0, 1]",
            "before": shared_information(b0, aligned, mask),
            "after": shared_information(unwarp(b0, shift, given.axis), aligned, mask),
        }
        return self._finish(runtime, shift, affine, **record)


# -- T1w ----------------------------------------------------------------------------------------


class _T1wIn(FindIn):
    mask = File(exists=True, mandatory=True, desc="brain on the b0")
    t1w_brain = File(exists=True, mandatory=True)


class FindByT1w(Find):
    """Find the shift by which the b0 shows the border of the T1w's white matter best.

    The T1w is aligned rigidly by the same border, but for the phase-encoding axis, along which it
    stays where the scanner's own coordinates have it: what a whole brain was shifted by is part of
    the distortion. The shift is smooth, and used only if the b0 then shows the border better.

    References
    ----------
    Greve and Fischl 2009, doi:10.1016/j.neuroimage.2009.06.060.
    """

    input_spec = _T1wIn

    def _run_interface(self, runtime):
        from bids_sexclf.boundary import border_cost, find_shift, hold_axis
        from bids_sexclf.distortion.fieldmaps import unwarp

        given, ants = self.inputs, antspyx(self.inputs.seed)
        b0, affine = load(given.b0, ndim=3)
        inside = load(given.mask, ndim=3)[0] > 0
        t1w, prefix = load(given.t1w_brain, ndim=3), str(Path(runtime.cwd, "t1w_"))
        found = align_t1w(ants, t1w, (b0, affine), inside, prefix)
        if found.border is None:
            raise ToolError(
                "Found that the mean b0 does not show where the T1w's white matter ends, needed "
                "grey matter brighter than white along it. Look at both scans, or choose "
                "--distortion none."
            )
        border, along = (
            found.border,
            affine[:3, given.axis] / np.linalg.norm(affine[:3, given.axis]),
        )
        pose = hold_axis(found.matrix, found.start, border.centre, along)
        shift = find_shift(b0, affine, border, pose, given.axis)
        before = 1 - border_cost(b0, affine, border, pose)
        after = 1 - border_cost(unwarp(b0, shift, given.axis), affine, border, pose)
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
    """Unwarp the mean b0, and give the warp and its Jacobian for the series."""

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
