"""Pictures of masks, registrations, series and maps for the participant's page.

nireports draws outlines and flickering pairs; `pictures` draws everything else.
"""

import json
import re
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

from bids_sexclf.diffusion.scheme import B0_THRESHOLD
from bids_sexclf.pictures import save_svg, series, slices
from bids_sexclf.pictures.thumbnails import draw_thumbnail, save_png
from bids_sexclf.volumes import (
    Grid,
    check_same_grid,
    load,
    open_slabs,
    resample,
    rescale_grid,
)

DRAWN_MM = 1.0
"""Smallest voxels that are drawn: a page shows no finer ones."""

ROOMS = {"dki": "kurtosis"}
"""Model of a map, as files name it, to its module in `diffusion` where they differ."""


class _PictureIn(BaseInterfaceInputSpec):
    cuts = traits.Int(7, usedefault=True, desc="slices along each axis")


class _PictureOut(TraitedSpec):
    out_file = File(exists=True)


class _Picture(SimpleInterface):
    """Write one figure into the node's folder.

    An empty file means that there is nothing to draw: the page then gives the reason.
    """

    output_spec = _PictureOut

    def _save(self, runtime, draw, *arguments, **options):
        path = Path(runtime.cwd, "picture.svg")
        self._results["out_file"] = save_svg(draw, path, *arguments, **options)
        return runtime

    def _leave_empty(self, runtime):
        path = Path(runtime.cwd, "picture.svg")
        path.write_bytes(b"")
        self._results["out_file"] = str(path)
        return runtime


def _mask(path, shape, affine, name):
    """Load a mask that must lie on the grid of what it is drawn on."""
    mask, mask_affine = load(path, ndim=3)
    check_same_grid(shape, affine, mask.shape, mask_affine, (name, "its mask"))
    return mask > 0.5


class _OutlineIn(BaseInterfaceInputSpec):
    background = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    cuts = traits.Int(5, usedefault=True, desc="slices along each axis")


class DrawOutline(SimpleInterface):
    """Draw the outline of a mask on a volume."""

    input_spec, output_spec = _OutlineIn, _PictureOut

    def _run_interface(self, runtime):
        volume, mask = _images(self.inputs.background, self.inputs.mask)
        volume = _shade_by(volume, mask)
        pictures = _draw(volume, mask, mask, "background", None, self.inputs.cuts)
        self._results["out_file"] = _compose(runtime.cwd, pictures)
        return runtime


class _ThumbnailsIn(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True, desc="brain mask on the T1w")
    registered = File(exists=True, mandatory=True, desc="brain on the group grid")
    template_mask = File(exists=True, mandatory=True)


class _ThumbnailsOut(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="of the mask; of the registration")


class DrawThumbnails(SimpleInterface):
    """Draw the small pictures for the page of all participants."""

    input_spec, output_spec = _ThumbnailsIn, _ThumbnailsOut

    def _run_interface(self, runtime):
        names = self.inputs
        pairs = [(names.t1w, names.mask), (names.registered, names.template_mask)]
        files = []
        for number, (background, outline) in enumerate(pairs):
            volume, affine = load(background, ndim=3)
            mask = _mask(outline, volume.shape, affine, background)
            path = Path(runtime.cwd, f"thumbnail{number}.png")
            files.append(save_png(draw_thumbnail(volume, affine, mask), path))
        self._results["out_files"] = files
        return runtime


class _FlickerIn(BaseInterfaceInputSpec):
    fixed = File(exists=True, mandatory=True)
    moved = File(exists=True, mandatory=True)
    outline = File(exists=True, desc="mask whose outline is drawn on both")
    labels = traits.Tuple(traits.Str, traits.Str)
    cuts = traits.Int(5, usedefault=True, desc="slices along each axis")


class DrawFlicker(SimpleInterface):
    """Draw two volumes on one grid that alternate under the mouse pointer."""

    input_spec, output_spec = _FlickerIn, _PictureOut

    def _run_interface(self, runtime):
        has_outline = isdefined(self.inputs.outline)
        paths = [
            self.inputs.fixed,
            self.inputs.moved,
            *([self.inputs.outline] if has_outline else []),
        ]
        fixed, moved, *outlines = _images(*paths)
        outline = outlines[0] if has_outline else None
        box, (first, second) = outline or fixed, self.inputs.labels
        pictures = [
            _draw(fixed, box, outline, "fixed-image", first, self.inputs.cuts),
            _draw(moved, box, outline, "moving-image", second, self.inputs.cuts),
        ]
        self._results["out_file"] = _compose(runtime.cwd, *pictures)
        return runtime


class _TissuesIn(_PictureIn):
    in_file = File(exists=True, mandatory=True, desc="T1w without bias field")
    mask = File(exists=True, mandatory=True, desc="brain")
    probabilities = InputMultiObject(File(exists=True), mandatory=True, desc="fluid, grey, white")


class DrawTissues(_Picture):
    """Draw the borders of grey and white matter on a T1w."""

    input_spec = _TissuesIn

    def _run_interface(self, runtime):
        _, grey, white = self.inputs.probabilities
        images = _images(self.inputs.in_file, self.inputs.mask, grey, white)
        affine, cuts = images[0].affine, self.inputs.cuts
        t1w, mask, grey, white = (np.asarray(image.dataobj) for image in images)
        return self._save(runtime, slices.draw_borders, t1w, grey, white, affine, mask > 0.5, cuts)


class _ResidualIn(_PictureIn):
    residual = File(exists=True, mandatory=True, desc="3-D or 4-D: before minus after")
    mask = File(exists=True, mandatory=True)


class DrawResidual(_Picture):
    """Draw the residual of a step (denoising, Gibbs ringing) of a series."""

    input_spec = _ResidualIn

    def _run_interface(self, runtime):
        residual, affine = load(self.inputs.residual)
        if not residual.any():  # the step removed nothing
            return self._leave_empty(runtime)
        mask = _mask(self.inputs.mask, residual.shape[:3], affine, "the residual")
        return self._save(runtime, slices.draw_residual, residual, affine, mask, self.inputs.cuts)


class _SlicesIn(_PictureIn):
    in_file = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True, desc="slices are cut to it")


class DrawVolume(_Picture):
    """Draw slices of one volume along the three axes, without an overlay."""

    input_spec = _SlicesIn

    def _run_interface(self, runtime):
        volume, affine = load(self.inputs.in_file, ndim=3)
        mask = _mask(self.inputs.mask, volume.shape, affine, "the volume")
        volume = np.nan_to_num(volume)
        return self._save(runtime, slices.draw_volume, volume, affine, mask, self.inputs.cuts)


class DrawColours(_Picture):
    """Draw the direction of diffusion in colour, with FA as brightness."""

    input_spec = _SlicesIn

    def _run_interface(self, runtime):
        colours, affine = load(self.inputs.in_file, ndim=4)
        mask = _mask(self.inputs.mask, colours.shape[:3], affine, "the colours")
        return self._save(runtime, slices.draw_colours, colours, affine, mask, self.inputs.cuts)


class _MapsIn(_PictureIn):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="MODEL_NAME.nii.gz each")
    mask = File(exists=True, mandatory=True)
    model = traits.Str(mandatory=True, desc="the maps of this model are drawn: tensor, dki, …")


class DrawMaps(_Picture):
    """Draw all maps of one model with their ranges and units."""

    input_spec = _MapsIn

    def _run_interface(self, runtime):
        panels, grid = [], None
        for path in map(Path, self.inputs.in_files):
            model, _, name = path.name.split(".")[0].removeprefix("carried_").partition("_")
            if model != self.inputs.model:
                continue
            volume, affine = load(path, ndim=3)
            grid = grid or (volume.shape, affine)
            about, units = _meaning(model, name)
            panels.append((name, about, units, volume))
        if not panels:  # the shells do not allow the model
            return self._leave_empty(runtime)
        mask = _mask(self.inputs.mask, *grid, "the map")
        return self._save(runtime, slices.draw_maps, panels, grid[1], mask, self.inputs.cuts)


def _meaning(model, name):
    """Return a short description of a map, and its units."""
    from importlib import import_module

    room = import_module(f"bids_sexclf.diffusion.{ROOMS.get(model, model)}")
    record = next(record for record in room.MAPS if record.name == name)
    return record.description.split(":")[0], record.units


class _GradientsIn(BaseInterfaceInputSpec):
    bval = File(exists=True, mandatory=True)
    bvec = File(exists=True, mandatory=True)
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")


class DrawGradients(_Picture):
    """Draw b-values, and each shell's directions on the sphere with their antipodes."""

    input_spec = _GradientsIn

    def _run_interface(self, runtime):
        from bids_sexclf.diffusion import find_shells
        from bids_sexclf.diffusion.scheme import read_gradients

        bvals, bvecs = read_gradients(self.inputs.bval, self.inputs.bvec)
        shells = find_shells(bvals, self.inputs.b0_threshold)
        return self._save(runtime, series.draw_gradients, bvals, bvecs, shells)


class _SeriesIn(_GradientsIn):
    in_file = File(exists=True, mandatory=True, desc="aligned series")
    mask = File(exists=True, mandatory=True)
    motion = File(exists=True, desc="JSON with displacement_mm; unknown without it")


class _SeriesOut(_PictureOut):
    counts = File(exists=True, desc="JSON: how many slices stand out")


class DrawSeries(_Picture):
    """Draw motion and slice residuals over the volumes, and count outlying slices."""

    input_spec, output_spec = _SeriesIn, _SeriesOut

    def _run_interface(self, runtime):
        from bids_sexclf.diffusion import find_shells
        from bids_sexclf.diffusion.residuals import flag_slices, slice_residuals
        from bids_sexclf.diffusion.scheme import read_gradients

        bvals, bvecs = read_gradients(self.inputs.bval, self.inputs.bvec)
        moved = np.full(len(bvals), np.nan)
        if isdefined(self.inputs.motion):
            moved = np.array(json.loads(Path(self.inputs.motion).read_text())["displacement_mm"])
        with open_slabs(self.inputs.in_file, runtime.cwd) as (data, affine):
            mask = _mask(self.inputs.mask, data.shape[:3], affine, "the series")
            # Volumes that moved are outside the field of view there.
            mask[:, :, [0, -1]] = False
            residuals = slice_residuals(data, bvals, bvecs, mask, self.inputs.b0_threshold)
        flagged = flag_slices(residuals, bvals, self.inputs.b0_threshold)
        judged = int(np.isfinite(residuals).sum())
        numbers = {"slice_outliers_percent": 100 * float(flagged.sum()) / judged} if judged else {}
        shells = find_shells(bvals, self.inputs.b0_threshold)
        numbers["dwi_volumes"] = _count_volumes(bvals, shells)
        counts = Path(runtime.cwd, "slices.json")
        counts.write_text(json.dumps(numbers))
        self._results["counts"] = str(counts)
        return self._save(runtime, series.draw_series, bvals, shells, moved, residuals, flagged)


def _count_volumes(bvals, shells):
    """Count the volumes without weighting, and those of each shell by its b-value, s/mm²."""
    weighted = {f"{round(value / 10) * 10:.0f}": len(members) for value, members in shells}
    return {"0": len(bvals) - sum(weighted.values())} | weighted


def _images(*paths):
    """Load volumes for an overlay, on one grid, with voxels of 1 mm or larger.

    Values that are not finite become 0.
    """
    import nibabel as nib

    loaded = [load(path, ndim=3) for path in paths]
    for path, (array, affine) in zip(paths[1:], loaded[1:], strict=True):
        first = loaded[0]
        check_same_grid(first[0].shape, first[1], array.shape, affine, (paths[0], path))
    grid = Grid(loaded[0][0].shape, loaded[0][1])
    drawn = rescale_grid(grid, np.maximum(grid.voxel_size, DRAWN_MM))
    return [
        nib.Nifti1Image(resample(np.nan_to_num(array), grid.affine, drawn), drawn.affine)
        for array, _ in loaded
    ]


def _shade_by(volume, mask):
    """Clip a volume a little above its intensities inside a mask, for display."""
    import nibabel as nib

    values = np.asanyarray(volume.dataobj)
    inside = values[np.asanyarray(mask.dataobj) > 0.5]
    if not inside.size or not np.isfinite(inside).all():
        return volume
    top = 1.2 * np.percentile(inside, 99)
    return nib.Nifti1Image(np.minimum(values, top).astype(np.float32), volume.affine)


def _draw(volume, box, outline, name, label, cuts):
    """Draw slices through the box of a mask along the three axes."""
    import matplotlib
    from nilearn.image import threshold_img
    from nireports.reportlets.mosaic import plot_registration
    from nireports.reportlets.utils import cuts_from_bbox

    matplotlib.rcParams["svg.hashsalt"] = "bids_sexclf"
    return plot_registration(
        volume,
        name,
        estimate_brightness=True,
        label=label,
        contour=outline,
        compress=False,
        cuts=cuts_from_bbox(threshold_img(box, 1e-3, copy_header=True), cuts=cuts),
    )


def _compose(folder, *pictures):
    """Combine one or two drawings in one SVG."""
    from nireports.reportlets.utils import compose_view

    path = Path(folder, "picture.svg")
    compose_view(pictures[0], pictures[1] if len(pictures) > 1 else None, out_file=path)
    path.write_text(_same_every_time(path.read_text()))
    return str(path)


def _same_every_time(svg):
    """Replace random ids by numbers and remove the date, so that equal runs write equal files."""
    svg = re.sub(r"<dc:date>.*?</dc:date>", "", svg)
    numbers = {}
    return re.sub(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
        lambda match: str(numbers.setdefault(match.group(), len(numbers))),
        svg,
    )
