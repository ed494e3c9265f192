"""FSL's programs where they are installed, behind the same fields as their ANTs counterparts."""

import os
from pathlib import Path
from shutil import which

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.errors import ToolError
from bids_sexclf.volumes import Grid, load, resample, save

NIFTI = {"output_type": "NIFTI_GZ"}
"""Asked of every program: what FSLOUTPUTTYPE says must not decide the names of files."""


def check_fsl(*programs):
    """Refuse to start where programs of FSL are not on the PATH.

    Parameters
    ----------
    *programs : str
        E.g. ``"flirt"``.

    Raises
    ------
    ToolError
        It names every program that is missing.
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
    """Run one program in a folder; give its outputs, or say in one sentence why there are none."""
    check_fsl(interface.cmd)
    interface.terminal_output = "allatonce"
    # Nipype looks at the outputs and not at the exit code: what the program said would be lost.
    done = interface.run(cwd=str(folder), ignore_exception=True)
    if done.outputs is None or done.runtime.returncode:
        told = done.runtime.stderr or done.runtime.stdout or str(done.runtime.traceback)
        raise ToolError(
            f"Found that FSL's {interface.cmd} failed: {' '.join(told.split())[-400:]} "
            "Needed an image of a head, and an installation of FSL that is whole. Run the command "
            f"by hand, and look at the scan: {done.runtime.cmdline}"
        )
    return done.outputs


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
        # `robust` is -R: the centre is searched for again and again.
        cut = fsl.BET(
            in_file=str(folder / "head.nii.gz"),
            out_file=str(folder / "cut.nii.gz"),
            mask=True,
            robust=True,
            frac=self.inputs.frac,
            **NIFTI,
        )
        found = _call(cut, folder)
        scan, affine = load(self.inputs.in_file, ndim=3)
        # The crop keeps whole voxels, so nearest neighbour puts every one back where it was.
        inside = resample(*load(found.mask_file, ndim=3), Grid(scan.shape, affine), order=0) > 0.5
        if not inside.any():
            raise ToolError(
                f"Found that bet left no brain in {self.inputs.in_file}, needed a T1w of a whole "
                "head. Look at the scan, or choose the template's brain extraction."
            )
        for field, array in (("mask_file", inside), ("out_file", np.where(inside, scan, 0))):
            self._results[field] = str(folder / f"{field.split('_')[0]}.nii.gz")
            save(array, affine, self._results[field])
        return runtime
