"""FSL's programs, with the inputs and outputs of their ANTs counterparts."""

import os
from pathlib import Path
from shutil import which

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_sexclf.errors import ToolError
from bids_sexclf.volumes import Grid, load, resample, save, save_field
from bids_sexclf.warps import displacements

NIFTI = {"output_type": "NIFTI_GZ"}
"""Option of every program, so that FSLOUTPUTTYPE does not change the names of files."""


def check_fsl(*programs):
    """Refuse to start where programs of FSL are not on the PATH.

    Parameters
    ----------
    *programs : str
        E.g. ``"flirt"``.

    Raises
    ------
    ToolError
        The message names every missing program.
    """
    missing = [name for name in programs if which(name) is None]
    if missing:
        raise ToolError(
            f"Found no {', '.join(missing)} on the PATH (FSLDIR is "
            f"{os.environ.get('FSLDIR', 'not set')}), needed FSL's programs "
            f"{', '.join(programs)}. Install FSL and put its bin folder on the PATH, or choose "
            "the way without FSL."
        )


def _call(interface, folder):
    """Run one program in a folder and return its outputs; raise ToolError if it fails."""
    check_fsl(interface.cmd)
    interface.terminal_output = "allatonce"
    # Nipype checks outputs, not the exit code, so the program's message would be lost.
    finished = interface.run(cwd=str(folder), ignore_exception=True)
    if finished.outputs is None or finished.runtime.returncode:
        message = (
            finished.runtime.stderr or finished.runtime.stdout or str(finished.runtime.traceback)
        )
        raise ToolError(
            f"Found that FSL's {interface.cmd} failed: {' '.join(message.split())[-400:]} "
            "Needed an image of a head, and an installation of FSL that is whole. Run the command "
            f"by hand, and look at the scan: {finished.runtime.cmdline}"
        )
    return finished.outputs


class _BetIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w with skull, axes near RAS+")
    frac = traits.Range(0.0, 1.0, value=0.5, usedefault=True, desc="lower keeps more")


class _BetOut(TraitedSpec):
    out_file = File(exists=True, desc="the brain on the scan's grid")
    mask_file = File(exists=True)


class Bet(SimpleInterface):
    """Extract a brain with FSL: ``robustfov`` cuts the neck off, then ``bet -R``.

    References
    ----------
    Smith 2002, doi:10.1002/hbm.10062.
    """

    input_spec, output_spec = _BetIn, _BetOut

    def _run_interface(self, runtime):
        from nipype.interfaces import fsl

        check_fsl("robustfov", "bet")
        folder = Path(runtime.cwd)
        crop = fsl.RobustFOV(
            in_file=self.inputs.in_file,
            out_roi=str(folder / "head.nii.gz"),
            out_transform=str(folder / "head.mat"),
            **NIFTI,
        )
        _call(crop, folder)
        # `robust` is -R: the centre is estimated repeatedly.
        cut = fsl.BET(
            in_file=str(folder / "head.nii.gz"),
            out_file=str(folder / "cut.nii.gz"),
            mask=True,
            robust=True,
            frac=self.inputs.frac,
            **NIFTI,
        )
        outputs = _call(cut, folder)
        scan, affine = load(self.inputs.in_file, ndim=3)
        # The crop keeps whole voxels, so nearest neighbour restores each voxel exactly.
        inside = resample(*load(outputs.mask_file, ndim=3), Grid(scan.shape, affine), order=0) > 0.5
        if not inside.any():
            raise ToolError(
                f"Found that bet left no brain in {self.inputs.in_file}, needed a T1w of a whole "
                "head. Look at the scan, or choose the template's brain extraction."
            )
        for field, array in (("mask_file", inside), ("out_file", np.where(inside, scan, 0))):
            self._results[field] = str(folder / f"{field.split('_')[0]}.nii.gz")
            save(array, affine, self._results[field])
        return runtime


class _NormalizeIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="brain, or FA")
    fixed = File(exists=True, mandatory=True, desc="brain template, or FA template")
    head = File(exists=True, desc="with skull: what FNIRT registers where it is given")
    fixed_head = File(exists=True, desc="template with skull")
    fixed_mask = File(exists=True, desc="the template's brain mask")
    config = traits.Enum("T1_2_MNI152_2mm", "FA_2_FMRIB58_1mm", usedefault=True)
    trim = traits.Bool(False, usedefault=True, desc="leave the outer rim out of the registration")


class _NormalizeOut(TraitedSpec):
    forward = File(exists=True, desc="carries images to the template (displacements, ITK)")
    inverse = File(exists=True, desc="carries images from the template (displacements, ITK)")


class NormalizeFsl(SimpleInterface):
    """Register to a template with FLIRT, then FNIRT; write the transforms in ANTs format.

    All engines write the same kind of transform, so that one program can resample everything in
    one interpolation.

    References
    ----------
    Jenkinson et al. 2002, doi:10.1006/nimg.2002.1132. Andersson et al. 2007, FMRIB technical
    report TR07JA2.
    """

    input_spec, output_spec = _NormalizeIn, _NormalizeOut

    def _run_interface(self, runtime):
        from nipype.interfaces import fsl

        inputs, folder = self.inputs, Path(runtime.cwd)
        moving = self._moving(folder)
        heads = isdefined(inputs.head) and isdefined(inputs.fixed_head)
        matrix, warp = str(folder / "affine.mat"), str(folder / "coefficients.nii.gz")
        align = {"in_file": moving, "reference": inputs.fixed, "out_matrix_file": matrix}
        unused = str(folder / "affine.nii.gz")
        _call(fsl.FLIRT(**align, out_file=unused, dof=12, cost="corratio", **NIFTI), folder)
        bend = fsl.FNIRT(
            in_file=inputs.head if heads else moving,
            ref_file=inputs.fixed_head if heads else inputs.fixed,
            affine_file=matrix,
            config_file=inputs.config,
            fieldcoeff_file=warp,
            **NIFTI,
        )
        if isdefined(inputs.fixed_mask):
            bend.inputs.refmask_file = self._wide_mask(folder)
        _call(bend, folder)
        back = str(folder / "back.nii.gz")
        _call(fsl.InvWarp(warp=warp, reference=moving, inverse_warp=back, **NIFTI), folder)
        self._results["forward"] = self._field(warp, moving, inputs.fixed, folder, "forward")
        self._results["inverse"] = self._field(back, inputs.fixed, moving, folder, "inverse")
        return runtime

    def _moving(self, folder):
        """Return the image to register: unchanged, or without its outer rim."""
        from bids_sexclf.anatomy.brain import trim_rim

        if not self.inputs.trim:
            return self.inputs.in_file
        array, affine = load(self.inputs.in_file, ndim=3)
        save(trim_rim(array), affine, folder / "trimmed.nii.gz")
        return str(folder / "trimmed.nii.gz")

    def _wide_mask(self, folder):
        """Dilate the template's mask by 4 mm: the brain's edge must take part."""
        from scipy.ndimage import binary_dilation

        from bids_sexclf.anatomy.brain import ball

        mask, affine = load(self.inputs.fixed_mask, ndim=3)
        wide = binary_dilation(mask > 0.5, ball(4, np.linalg.norm(affine[:3, :3], axis=0)))
        save(wide, affine, folder / "mask.nii.gz")
        return str(folder / "mask.nii.gz")

    def _field(self, warp, moving, fixed, folder, name):
        """Convert a warp of FSL to a displacement field in world space."""
        from nipype.interfaces import fsl

        points = str(folder / f"{name}_absolute.nii.gz")
        convert = fsl.ConvertWarp(
            reference=fixed, warp1=warp, out_abswarp=True, out_file=points, **NIFTI
        )
        _call(convert, folder)
        grids = [Grid(array.shape, affine) for array, affine in (load(moving, 3), load(fixed, 3))]
        values = load(points, ndim=4)[0]
        Path(points).unlink()  # large, and the field holds the same
        path = str(folder / f"{name}.nii.gz")
        save_field(displacements(values, *grids), grids[1].affine, path)
        return path
