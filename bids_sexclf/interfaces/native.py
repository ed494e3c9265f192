"""Resample a brain to two linear spaces: upright in its own size, and in the template's size."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.interfaces.ants import LPS, antspyx, write_linear
from bids_sexclf.volumes import Grid, load, resample, save

POINTS = 5000
"""Points of the template's brain that the linear transform is fitted to."""


class _AlignIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="brain")
    mask_file = File(exists=True, mandatory=True, desc="its mask")
    forward = InputMultiObject(
        File(exists=True), mandatory=True, desc="carries images to the template, last applied first"
    )
    template_mask = File(exists=True, mandatory=True)
    reference = File(exists=True, mandatory=True, desc="group grid")
    anatomical = traits.Bool(
        True, usedefault=True, desc="the template lies in MNI152 space, where AC and PC are known"
    )
    voxel_size = traits.Float(mandatory=True, desc="mm")


class _AlignOut(TraitedSpec):
    out_file = File(exists=True, desc="brain, upright, in its own size")
    mask_file = File(exists=True)
    transform = File(exists=True, desc="carries images to the upright frame (rigid, .mat)")
    affine_file = File(exists=True, desc="brain on the group grid, by a linear transform")
    affine_transform = File(exists=True, desc="carries images to the template (affine, .mat)")


class AlignLinear(SimpleInterface):
    """Resample a brain to two linear spaces: upright in its own size, and in the template's size.

    Both use the existing registration to the template. It maps points of the template to the scan;
    the affine transform that fits them best also maps the landmarks AC, PC and midline, which
    define the upright position. Each brain is resampled once, after smoothing to the new voxel
    size where that is coarser.
    """

    input_spec, output_spec = _AlignIn, _AlignOut

    def _run_interface(self, runtime):
        from bids_sexclf.anatomy.acpc import LANDMARKS, fit_affine, native_grid, rigid_from_affine

        mask, affine = load(self.inputs.template_mask, ndim=3)
        points = brain_points(mask, affine)
        landmarks = LANDMARKS if self.inputs.anatomical else centred_landmarks(points)
        linear = fit_affine(points, carry_points(points, self.inputs.forward))
        rigid = rigid_from_affine(linear, landmarks)
        grid = native_grid(Grid(mask.shape, affine), self.inputs.voxel_size)
        for source, name in (("in_file", "out_file"), ("mask_file", "mask_file")):
            array, own_affine = load(getattr(self.inputs, source), ndim=3)
            # A rigid transform only changes the affine; the one interpolation follows.
            upright = resample(array, rigid @ own_affine, grid)
            upright = upright > 0.5 if name == "mask_file" else upright
            self._results[name] = str(Path(runtime.cwd, f"acpc_{source}.nii.gz"))
            save(upright, grid.affine, self._results[name])
        self._results["transform"] = write_linear(
            np.linalg.inv(rigid), Path(runtime.cwd, "acpc.mat")
        )
        self._write_affine(linear, Path(runtime.cwd))
        return runtime

    def _write_affine(self, linear, folder):
        """Write the brain scaled to the template, and the transform."""
        reference, affine = load(self.inputs.reference, ndim=3)
        brain, brain_affine = load(self.inputs.in_file, ndim=3)
        grid = Grid(reference.shape, affine)
        self._results["affine_file"] = str(folder / "affine.nii.gz")
        save(
            resample(brain, np.linalg.inv(linear) @ brain_affine, grid),
            affine,
            folder / "affine.nii.gz",
        )
        self._results["affine_transform"] = write_linear(linear, folder / "affine.mat")


def brain_points(mask, affine, count=POINTS):
    """Return evenly spread points of a mask.

    Parameters
    ----------
    mask : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    count : int
        About how many.

    Returns
    -------
    ndarray, shape (n, 3)
        World coordinates, RAS, mm.
    """
    voxels = np.argwhere(mask > 0.5)
    voxels = voxels[:: max(1, len(voxels) // count)]
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def centred_landmarks(points):
    """Return landmarks on the template's axes through its middle, where AC is unknown."""
    return points.mean(0) + np.array([[0.0, 0, 0], [0, -26, 0], [0, 0, 60]])


def carry_points(points, transforms):
    """Map points of the fixed image to the moving one.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        RAS, mm.
    transforms : list of path-like
        As `Carry` takes them to carry the moving image to the fixed one.

    Returns
    -------
    ndarray, shape (n, 3)
        RAS, mm.
    """
    import pandas as pd

    ants = antspyx()
    moved = ants.apply_transforms_to_points(
        3, pd.DataFrame(points @ LPS, columns=["x", "y", "z"]), [str(path) for path in transforms]
    )
    return moved[["x", "y", "z"]].to_numpy() @ LPS
