"""Pictures of masks, registrations, series and maps for the participant's page."""

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

from bids_sexclf.pictures import save_svg, series, slices
from bids_sexclf.volumes import check_same_grid, load

ROOMS = {"dki": "kurtosis"}
"""Model of a map, as files name it, to its module in `diffusion` where they differ."""


class _PictureIn(BaseInterfaceInputSpec):
    cuts = traits.Int(7, usedefault=True, desc="slices along each axis")


class _PictureOut(TraitedSpec):
    out_file = File(exists=True)


class _Picture(SimpleInterface):
    """Write one figure into the node's folder."""

    output_spec = _PictureOut

    def _save(self, runtime, draw, *arguments, **options):
        path = Path(runtime.cwd, "picture.svg")
        self._results["out_file"] = save_svg(draw, path, *arguments, **options)
        return runtime


def _mask(path, shape, affine, name):
    """Load a mask that must lie on the grid of what it is drawn on."""
    mask, other = load(path, ndim=3)
    check_same_grid(shape, affine, mask.shape, other, (name, "its mask"))
    return mask > 0.5


class _OutlineIn(_PictureIn):
    background = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    title = traits.Str("", usedefault=True)


class DrawOutline(_Picture):
    """Draw the outline of a mask on a volume."""

    input_spec = _OutlineIn

    def _run_interface(self, runtime):
        volume, affine = load(self.inputs.background, ndim=3)
        mask = _mask(self.inputs.mask, volume.shape, affine, "the volume")
        return self._save(
            runtime, slices.draw_outline, volume, affine, mask, self.inputs.cuts, self.inputs.title
        )


class _FlickerIn(_PictureIn):
    fixed = File(exists=True, mandatory=True)
    moved = File(exists=True, mandatory=True)
    outline = File(exists=True, desc="mask whose outline is drawn on both")
    labels = traits.Tuple(traits.Str, traits.Str)
    together = traits.Bool(False, usedefault=True, desc="one window of intensities for both")


class DrawFlicker(_Picture):
    """Draw two volumes on one grid so that they are shown in turn."""

    input_spec = _FlickerIn

    def _run_interface(self, runtime):
        given = self.inputs
        fixed, affine = load(given.fixed, ndim=3)
        moved, other = load(given.moved, ndim=3)
        check_same_grid(fixed.shape, affine, moved.shape, other, given.labels)
        outline = None
        if isdefined(given.outline):
            outline = _mask(given.outline, fixed.shape, affine, given.labels[0])
        return self._save(
            runtime, slices.draw_flicker, (fixed, moved), affine, given.labels, outline,
            given.cuts, given.together,
        )  # fmt: skip


class _BeforeAfterIn(_PictureIn):
    before = File(exists=True, mandatory=True)
    after = File(exists=True, mandatory=True)
    outline = File(exists=True, desc="mask on the same grid, e.g. of the T1w, drawn on both")


class DrawBeforeAfter(_Picture):
    """Draw a volume before and after a step in one window of intensities, shown in turn."""

    input_spec = _BeforeAfterIn

    def _run_interface(self, runtime):
        before, affine = load(self.inputs.before, ndim=3)
        after, other = load(self.inputs.after, ndim=3)
        check_same_grid(before.shape, affine, after.shape, other, ("before", "after"))
        outline = None
        if isdefined(self.inputs.outline):
            outline = _mask(self.inputs.outline, before.shape, affine, "before")
        return self._save(
            runtime, slices.draw_flicker, (before, after), affine, ("before", "after"), outline,
            self.inputs.cuts, True,
        )  # fmt: skip


class _ResidualIn(_PictureIn):
    residual = File(exists=True, mandatory=True, desc="3-D or 4-D: before minus after")
    mask = File(exists=True, mandatory=True)


class DrawResidual(_Picture):
    """Draw what a step (denoising, Gibbs ringing) took away from a series."""

    input_spec = _ResidualIn

    def _run_interface(self, runtime):
        residual, affine = load(self.inputs.residual)
        mask = _mask(self.inputs.mask, residual.shape[:3], affine, "the residual")
        return self._save(runtime, slices.draw_residual, residual, affine, mask, self.inputs.cuts)


class _MapsIn(_PictureIn):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="MODEL_NAME.nii.gz each")
    mask = File(exists=True, mandatory=True)
    model = traits.Str(mandatory=True, desc="the maps of this model are drawn: tensor, dki, …")


class DrawMaps(_Picture):
    """Draw all maps of one model with their ranges and units."""

    input_spec = _MapsIn

    def _run_interface(self, runtime):
        told, grid = [], None
        for path in map(Path, self.inputs.in_files):
            model, _, name = path.name.split(".")[0].removeprefix("carried_").partition("_")
            if model != self.inputs.model:
                continue
            volume, affine = load(path, ndim=3)
            grid = grid or (volume.shape, affine)
            about, units = _meaning(model, name)
            told.append((name, about, units, volume))
        if not told:
            self._results["out_file"] = save_svg(_say_none, Path(runtime.cwd, "picture.svg"))
            return runtime
        mask = _mask(self.inputs.mask, *grid, "the map")
        return self._save(runtime, slices.draw_maps, told, grid[1], mask, self.inputs.cuts)


def _say_none():
    """Draw the word that there is nothing to draw."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 0.5))
    figure.text(0, 0.5, "The shells of this series do not allow these maps.", color="#5b6676")
    return figure


def _meaning(model, name):
    """Find what a map means, in a few words, and its units."""
    from importlib import import_module

    room = import_module(f"bids_sexclf.diffusion.{ROOMS.get(model, model)}")
    record = next(record for record in room.MAPS if record.name == name)
    return record.description.split(":")[0], record.units


class _GradientsIn(BaseInterfaceInputSpec):
    bval = File(exists=True, mandatory=True)
    bvec = File(exists=True, mandatory=True)


class DrawGradients(_Picture):
    """Draw b-values, and each shell's directions on the sphere with their antipodes."""

    input_spec = _GradientsIn

    def _run_interface(self, runtime):
        from bids_sexclf.diffusion import find_shells
        from bids_sexclf.interfaces.diffusion import read_gradients

        bvals, bvecs = read_gradients(self.inputs.bval, self.inputs.bvec)
        return self._save(runtime, series.draw_gradients, bvals, bvecs, find_shells(bvals))


class _SeriesIn(_GradientsIn):
    in_file = File(exists=True, mandatory=True, desc="aligned series")
    mask = File(exists=True, mandatory=True)
    motion = File(exists=True, mandatory=True, desc="JSON with displacement_mm")


class _SeriesOut(_PictureOut):
    counts = File(exists=True, desc="JSON: how many slices stand out")


class DrawSeries(_Picture):
    """Draw motion and slice residuals over the volumes, and count slices that stand out."""

    input_spec, output_spec = _SeriesIn, _SeriesOut

    def _run_interface(self, runtime):
        from bids_sexclf.diffusion import find_shells
        from bids_sexclf.diffusion.residuals import flag_slices, slice_residuals
        from bids_sexclf.interfaces.diffusion import read_gradients

        data, affine = load(self.inputs.in_file, ndim=4)
        mask = _mask(self.inputs.mask, data.shape[:3], affine, "the series")
        bvals, bvecs = read_gradients(self.inputs.bval, self.inputs.bvec)
        moved = np.array(json.loads(Path(self.inputs.motion).read_text())["displacement_mm"])
        residuals = slice_residuals(data, bvals, bvecs, mask)
        flagged = flag_slices(residuals, bvals)
        judged = int(np.isfinite(residuals).sum())
        told = {"slice_outliers_percent": 100 * float(flagged.sum()) / judged} if judged else {}
        counts = Path(runtime.cwd, "slices.json")
        counts.write_text(json.dumps(told))
        self._results["counts"] = str(counts)
        return self._save(
            runtime, series.draw_series, bvals, find_shells(bvals), moved, residuals, flagged
        )
