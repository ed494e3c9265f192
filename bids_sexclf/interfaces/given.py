"""Read data that other tools have prepared (masks, series, maps), and join several runs."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_sexclf.derivatives.foreign import UNITS, in_mm2_per_s, read_motion
from bids_sexclf.diffusion.scheme import B0_THRESHOLD, find_b0, read_bvals
from bids_sexclf.errors import InputError
from bids_sexclf.interfaces.images import write_conformed
from bids_sexclf.volumes import (
    Grid,
    check_same_grid,
    is_clear,
    is_sheared,
    load,
    open_series,
    resample,
    same_grid,
    save,
    series_writer,
    straighten,
    turn_axes,
    volumes,
)


class _TakeMaskIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="scan, on any axes")
    mask = File(exists=True, mandatory=True, desc="on the same grid; above 0 is brain")


class _TakeMaskOut(TraitedSpec):
    out_file = File(exists=True, desc="the scan inside the mask")
    mask_file = File(exists=True)


class TakeMask(SimpleInterface):
    """Apply a brain mask that lies on a scan's grid, whatever the order of its axes."""

    input_spec, output_spec = _TakeMaskIn, _TakeMaskOut

    def _run_interface(self, runtime):
        scan, affine = load(self.inputs.in_file, ndim=3)
        mask, mask_affine = load(self.inputs.mask, ndim=3)
        mask, mask_affine = turn_axes(mask > 0, mask_affine, affine)
        names = (Path(self.inputs.mask).name, Path(self.inputs.in_file).name)
        if not same_grid((mask.shape, mask_affine), (scan.shape, affine), voxels=0.5):
            check_same_grid(mask.shape, mask_affine, scan.shape, affine, names)
        for name, array in (("mask_file", mask), ("out_file", scan * mask)):
            file = "mask.nii.gz" if name == "mask_file" else "brain.nii.gz"
            self._results[name] = str(Path(runtime.cwd, file))
            save(array, affine, self._results[name])
        return runtime


class _MeanIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    bval = File(exists=True, mandatory=True)
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")


class _MeanOut(TraitedSpec):
    out_file = File(exists=True, desc="mean b0")


class MeanB0(SimpleInterface):
    """Average the b0 volumes of a series, one volume in memory at a time."""

    input_spec, output_spec = _MeanIn, _MeanOut

    def _run_interface(self, runtime):
        bvals = read_bvals(self.inputs.bval)
        low = find_b0(bvals, self.inputs.b0_threshold)
        series = enumerate(volumes(self.inputs.in_file))
        total = 0.0
        for index, volume in series:
            if low[index]:
                total = total + np.nan_to_num(volume).astype(np.float64)
        self._results["out_file"] = str(Path(runtime.cwd, "b0.nii.gz"))
        affine = open_series(self.inputs.in_file).affine
        save(total / low.sum(), affine, self._results["out_file"])
        return runtime


class _MotionIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="QSIPrep's confounds, or FSL eddy's RMS")


class _MotionOut(TraitedSpec):
    motion = File(exists=True, desc="JSON: displacement of each volume against the one before")


class TakeMotion(SimpleInterface):
    """Read the motion between successive volumes that another tool has estimated."""

    input_spec, output_spec = _MotionIn, _MotionOut

    def _run_interface(self, runtime):
        path = Path(self.inputs.in_file)
        moved, measure = read_motion(path)
        self._results["motion"] = str(Path(runtime.cwd, "motion.json"))
        content = {"displacement_mm": moved, "measure": measure}
        Path(self._results["motion"]).write_text(json.dumps(content))
        return runtime


class _MapsIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True)
    names = traits.List(traits.Str, mandatory=True, desc="FA, MD, …, one for each file")
    reference = File(exists=True, desc="grid to carry them to, in the same world space")


class _MapsOut(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="one map each, named as by our own fits")


class TakeMaps(SimpleInterface):
    """Copy diffusion maps; convert diffusivities to mm²/s, and replace non-finite values."""

    input_spec, output_spec = _MapsIn, _MapsOut

    def _run_interface(self, runtime):
        from bids_sexclf.diffusion import tensor

        files, units = [], {record.name: record.units for record in tensor.MAPS}
        for path, name in zip(self.inputs.in_files, self.inputs.names, strict=True):
            values, affine = load(path, ndim=3)
            values = np.nan_to_num(values)
            if units.get(name) == UNITS:
                values = in_mm2_per_s(values)
            if isdefined(self.inputs.reference):
                goal, to = load(self.inputs.reference, ndim=3)
                values, affine = resample(values, affine, Grid(goal.shape, to)), to
            model = "tensor" if name in units else "dki"
            files.append(str(Path(runtime.cwd, f"{model}_{name}.nii.gz")))
            save(values, affine, files[-1])
        self._results["out_files"] = files
        return runtime


class _RegridIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    reference = File(exists=True, mandatory=True, desc="in the same world space")


class _RegridOut(TraitedSpec):
    out_files = File(exists=True)


class Regrid(SimpleInterface):
    """Resample a volume to the grid of another that shares its space."""

    input_spec, output_spec = _RegridIn, _RegridOut

    def _run_interface(self, runtime):
        values, affine = load(self.inputs.in_file, ndim=3)
        goal, to = load(self.inputs.reference, ndim=3)
        self._results["out_files"] = str(Path(runtime.cwd, "regridded.nii.gz"))
        save(resample(values, affine, Grid(goal.shape, to)), to, self._results["out_files"])
        return runtime


class _RunsIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True)
    how = traits.Enum("best", "average", usedefault=True)
    seed = traits.Int(1, usedefault=True)


class _RunsOut(TraitedSpec):
    out_file = File(exists=True)
    record = File(exists=True, desc="JSON: what was done with which run")


class UniteRuns(SimpleInterface):
    """Make one T1w from several runs: the sharpest, or the average after rigid alignment."""

    input_spec, output_spec = _RunsIn, _RunsOut

    def _run_interface(self, runtime):
        from bids_sexclf.derivatives.runs import sharpest

        files = self.inputs.in_files
        about = {"how": self.inputs.how, "runs": [Path(path).name for path in files]}
        if self.inputs.how == "best":
            chosen, scores = sharpest([load(path, ndim=3)[0] for path in files])
            self._results["out_file"] = files[chosen]
            about |= {"chosen": Path(files[chosen]).name, "entropy_focus": scores}
        else:
            self._results["out_file"] = self._average(files, runtime.cwd)
        self._results["record"] = str(Path(runtime.cwd, "runs.json"))
        Path(self._results["record"]).write_text(json.dumps(about))
        return runtime

    def _average(self, files, folder):
        """Align every run rigidly with the first, scale it to the same level, and average."""
        from bids_sexclf.interfaces.ants import _register, _write, antspyx

        ants = antspyx(self.inputs.seed)
        # Headers can be ambiguous: first write all runs with one clear header.
        files = [write_conformed(path, Path(folder, f"conformed_{index}.nii.gz"))
                 for index, path in enumerate(files)]  # fmt: skip
        first = ants.image_read(files[0])
        level = _level(first.numpy())
        total = first.numpy().astype(np.float64)
        for path in files[1:]:
            moving = ants.image_read(path)
            registration = _register(ants, first, moving, "Rigid", str(Path(folder, "run_")))
            moved = ants.apply_transforms(first, moving, registration["fwdtransforms"]).numpy()
            total += moved * (level / _level(moving.numpy()))
        average = first.new_image_like((total / len(files)).astype(np.float32))
        return _write(average, folder, "average.nii.gz")


def _level(values):
    """Return the signal level of a scan: a high percentile, robust to the brightest voxels."""
    return max(float(np.percentile(values[values > 0], 90)), 1e-12) if (values > 0).any() else 1.0


class _TakeIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True)
    bvals = InputMultiObject(File(exists=True), mandatory=True)
    bvecs = InputMultiObject(File(exists=True), mandatory=True)
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")


class _TakeOut(TraitedSpec):
    dwi = File(exists=True)
    bval = File(exists=True)
    bvec = File(exists=True)
    counts = traits.List(traits.Int, desc="volumes that are kept of each file")


class TakeSeries(SimpleInterface):
    """Read a diffusion series: join its runs, drop trace volumes, write gradients as FSL does.

    This is the first step of every series, so that later steps read one format of b-values and
    b-vectors. A single run that keeps all volumes, and whose header all programs read alike, is
    passed on without a copy. Sheared axes are straightened by linear interpolation.
    """

    input_spec, output_spec = _TakeIn, _TakeOut

    def _run_interface(self, runtime):
        from bids_sexclf.derivatives.runs import join_gradients
        from bids_sexclf.diffusion.scheme import find_traces, read_gradients

        files = list(self.inputs.in_files)
        pairs = zip(self.inputs.bvals, self.inputs.bvecs, strict=True)
        gradients = [read_gradients(*pair) for pair in pairs]
        bvals, bvecs = join_gradients(*map(list, zip(*gradients, strict=True)))
        is_kept = ~find_traces(bvals, bvecs, self.inputs.b0_threshold)
        ends = np.cumsum([len(run_bvals) for run_bvals, _ in gradients])[:-1]
        self._results["counts"] = [int(run_bvals.sum()) for run_bvals in np.split(is_kept, ends)]
        self._results["dwi"] = files[0]
        if len(files) > 1 or not is_kept.all() or not is_clear(files[0]):
            self._results["dwi"] = str(Path(runtime.cwd, "joined.nii.gz"))
            _join(files, is_kept, self._results["dwi"])
        for name, table in (("bval", bvals[None, is_kept]), ("bvec", bvecs[is_kept].T)):
            self._results[name] = str(Path(runtime.cwd, f"joined.{name}"))
            np.savetxt(self._results[name], table, fmt="%g" if name == "bval" else "%.6f")
        return runtime


def _join(files, is_kept, path):
    """Write the remaining volumes of several runs as one series, one volume in memory."""
    grids = [(image.shape, image.affine) for image in map(open_series, files)]
    shape, affine = grids[0]
    for name, (run_shape, run_affine) in zip(files[1:], grids[1:], strict=True):
        names = Path(name).name, Path(files[0]).name
        check_same_grid(run_shape, run_affine, shape, affine, names)
    count = sum(grid[3] for grid, _ in grids)
    if count != len(is_kept):
        raise InputError(
            f"Found {len(is_kept)} b-values for the {count} volumes of {files[0]}, needed one for "
            "each. Look for the files that belong to this series."
        )
    frames = (volume for file in files for volume in volumes(file))
    sheared = is_sheared(shape, affine)
    grid = straighten(shape, affine) if sheared else Grid(shape[:3], affine)
    with series_writer(path, (*grid.shape, int(is_kept.sum())), grid.affine) as write:
        for keep, volume in zip(is_kept, frames, strict=True):
            if keep:
                write(resample(volume, affine, grid) if sheared else volume)
