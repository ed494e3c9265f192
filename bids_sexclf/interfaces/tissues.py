"""Remove the bias field inside a brain, segment tissues, and measure tissues and regions."""

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

from bids_sexclf.anatomy import tissues
from bids_sexclf.anatomy.brain import volume_ml
from bids_sexclf.anatomy.morphometry import (
    TISSUES,
    fill_skull,
    grey_white_contrast,
    measure_regions,
    measure_tissues,
    white_gradient,
)
from bids_sexclf.volumes import Grid, check_same_grid, load, save

SLOPPY = tissues.Recipe(rounds=8)
"""For tests of the whole workflow."""


class _TissuesIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w")
    mask_file = File(exists=True, mandatory=True, desc="brain")
    maps = InputMultiObject(
        File(exists=True), desc="share of grey and of white matter in the template's space"
    )
    transforms = InputMultiObject(File(exists=True), desc="carry images from the template")
    invert = traits.Bool(False, usedefault=True, desc="the transforms lead to the template")
    sloppy = traits.Bool(False, usedefault=True)


class _Tissues(SimpleInterface):
    """Base that reads a scan, its brain mask, and the tissues expected by the template."""

    input_spec = _TissuesIn

    def _read(self):
        """Return scan, mask, affine, expected tissues, and the recipe."""
        t1w, affine = load(self.inputs.in_file, ndim=3)
        mask, mask_affine = load(self.inputs.mask_file, ndim=3)
        check_same_grid(t1w.shape, affine, mask.shape, mask_affine, ("the T1w", "its brain mask"))
        mask = mask > 0.5
        expected = None
        if isdefined(self.inputs.maps) and isdefined(self.inputs.transforms):
            grid = tissues.working_grid(mask, affine)
            expected = expect(self.inputs.maps, self.inputs.transforms, grid, self.inputs.invert)
        return t1w, mask, affine, expected, SLOPPY if self.inputs.sloppy else tissues.Recipe()


def expect(maps, transforms, grid, invert=False):
    """Resample the template's maps of grey and white matter to a grid.

    Parameters
    ----------
    maps : pair of path-like
        Share of grey and of white matter, in [0, 1].
    transforms : list of path-like
        From the template, last applied first.
    grid : volumes.Grid
    invert : bool
        The transforms are linear, and lead to the template.

    Returns
    -------
    ndarray of float32, shape (3, *grid.shape)
        Of fluid, grey and white matter; the rest besides grey and white counts as fluid. Their
        sum is 1.
    """
    import ants

    from bids_sexclf.interfaces.ants import to_ants

    reference = to_ants(np.zeros(grid.shape), grid.affine)
    paths = [str(path) for path in transforms]
    grey, white = (
        ants.apply_transforms(
            reference, ants.image_read(str(path)), paths, whichtoinvert=[invert] * len(paths)
        ).numpy()
        for path in maps
    )
    total = np.maximum(grey + white, 1)
    return np.stack([1 - (grey + white) / total, grey / total, white / total]).astype(np.float32)


class _UnbiasOut(TraitedSpec):
    out_file = File(exists=True, desc="T1w without bias field")
    brain = File(exists=True, desc="the same inside the mask")


class Unbias(_Tissues):
    """Divide a T1w by its bias field, so that white matter is equally bright all over the brain.

    References
    ----------
    Wells et al. 1996, doi:10.1109/42.511747.
    """

    output_spec = _UnbiasOut

    def _run_interface(self, runtime):
        t1w, mask, affine, expected, recipe = self._read()
        fitted = tissues.find_tissues(t1w, mask, affine, expected, recipe)
        field = tissues.log_field(fitted, Grid(t1w.shape, affine))
        clean = t1w / np.exp(field)
        for key, array in (("out_file", clean), ("brain", clean * mask)):
            self._results[key] = str(Path(runtime.cwd, f"unbiased_{key}.nii.gz"))
            save(array.astype(np.float32), affine, self._results[key])
        return runtime


class _SegmentOut(TraitedSpec):
    out_file = File(exists=True, desc="0 outside, then 1, 2, 3 in the order of TISSUES")
    probabilities = OutputMultiObject(File(exists=True), desc="one per tissue, in [0, 1]")
    volumes = File(exists=True, desc="JSON: mL, and quality of bias field and contrast")


class SegmentTissues(_Tissues):
    """Divide a brain into cerebrospinal fluid, grey and white matter.

    Signal and bias field are fitted on voxels of 1.5 mm or larger, tissues on voxels of 1 mm or
    larger; see `bids_sexclf.anatomy.tissues`.
    """

    output_spec = _SegmentOut

    def _run_interface(self, runtime):
        t1w, mask, affine, expected, recipe = self._read()
        fitted = tissues.find_tissues(t1w, mask, affine, expected, recipe)
        fitted = tissues.sharpen(fitted, t1w, mask, affine, expected, recipe)
        shares = tissues.shares_on(fitted, mask, affine)
        # Digits beyond the precision would double the time and the size of the files.
        shares = np.round(shares * 2**16) / np.float32(2**16)
        shares = dict(zip(TISSUES, shares, strict=True))
        paths = {name: str(Path(runtime.cwd, f"{name}.nii.gz")) for name in TISSUES}
        for name, path in paths.items():
            save(shares[name], affine, path)
        labels = np.where(mask, 1 + np.argmax(list(shares.values()), axis=0), 0).astype(np.uint8)
        self._results["out_file"] = str(Path(runtime.cwd, "dseg.nii.gz"))
        save(labels, affine, self._results["out_file"])
        self._results["probabilities"] = list(paths.values())
        numbers = measure_tissues(shares, affine)
        numbers["intracranial_volume_ml"] = volume_ml(fill_skull(mask, affine), affine)
        numbers["white_gradient_percent"] = white_gradient(t1w, shares["WM"] > 0.9, affine)
        numbers["grey_white_contrast"] = grey_white_contrast(t1w, shares["GM"], shares["WM"])
        self._results["volumes"] = str(Path(runtime.cwd, "volumes.json"))
        finite = {key: value for key, value in numbers.items() if np.isfinite(value)}
        Path(self._results["volumes"]).write_text(json.dumps(finite, indent=2))
        return runtime


class _MeasureIn(BaseInterfaceInputSpec):
    participant_id = traits.Str(mandatory=True)
    session_id = traits.Either(None, traits.Str)
    in_file = File(exists=True, mandatory=True, desc="T1w without bias field")
    mask_file = File(exists=True, mandatory=True, desc="brain")
    probabilities = InputMultiObject(File(exists=True), mandatory=True, desc="as TISSUES")
    atlases = InputMultiObject(File(exists=True), mandatory=True, desc="carried to the T1w's grid")
    labels = InputMultiObject(File(exists=True), mandatory=True, desc="their label tables")


class _MeasureOut(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="one table per atlas, NAME.tsv")


class MeasureRegions(SimpleInterface):
    """Measure the regions of atlases in a scan: volume, grey matter, mean intensity."""

    input_spec, output_spec = _MeasureIn, _MeasureOut

    def _run_interface(self, runtime):
        from bids_sexclf.layout import atlas_of
        from bids_sexclf.tables import read_table, write_table

        inputs = self.inputs
        (t1w, affine), (mask, _) = (load(p, ndim=3) for p in (inputs.in_file, inputs.mask_file))
        tissues = [load(path, ndim=3)[0] for path in inputs.probabilities]
        probabilities = dict(zip(TISSUES, tissues, strict=True))
        tables = []
        for image, labels in zip(inputs.atlases, inputs.labels, strict=True):
            name = atlas_of(labels)
            rows = measure_regions(
                np.rint(load(image, ndim=3)[0]).astype(int),
                read_table(labels, "atlas"),
                t1w,
                mask > 0.5,
                probabilities,
                affine,
            )
            rows = rows.round({"volume_mm3": 3, "grey_volume_mm3": 3, "mean_intensity": 6})
            rows.insert(0, "atlas", name)
            rows.insert(0, "session_id", inputs.session_id or None)
            rows.insert(0, "participant_id", inputs.participant_id)
            tables.append(str(Path(runtime.cwd, f"{name}.tsv")))
            write_table(rows, tables[-1], "morphometry")
        self._results["out_files"] = tables
        return runtime
