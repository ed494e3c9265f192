"""Tell tissues apart with ANTs Atropos, and measure tissues and atlas regions."""

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.anatomy.brain import volume_ml
from bids_sexclf.anatomy.morphometry import TISSUES, fill_skull, measure_regions, measure_tissues
from bids_sexclf.errors import ToolError
from bids_sexclf.interfaces.ants import antspyx, to_ants
from bids_sexclf.volumes import load, save

BOUNDS = (0.5, 99.0)
"""Percentiles of the brain's intensities that the tissues are told apart within."""


class _SegmentIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w without bias field")
    mask_file = File(exists=True, mandatory=True, desc="brain")
    sloppy = traits.Bool(False, usedefault=True)


class _SegmentOut(TraitedSpec):
    out_file = File(exists=True, desc="0 outside, then 1, 2, 3 in the order of TISSUES")
    probabilities = OutputMultiObject(File(exists=True), desc="one per tissue, in [0, 1]")
    volumes = File(exists=True, desc="JSON, mL")


class SegmentTissues(SimpleInterface):
    """Divide a brain into cerebrospinal fluid, grey and white matter by its T1w intensities.

    References
    ----------
    Avants et al. 2011, doi:10.1007/s12021-011-9109-y.
    """

    input_spec, output_spec = _SegmentIn, _SegmentOut

    def _run_interface(self, runtime):
        t1w, affine = load(self.inputs.in_file, ndim=3)
        mask = load(self.inputs.mask_file, ndim=3)[0] > 0.5
        found = segment(t1w, mask, affine, runtime.cwd, 1 if self.inputs.sloppy else 5)
        probabilities = dict(zip(TISSUES, found, strict=True))
        paths = {name: str(Path(runtime.cwd, f"{name}.nii.gz")) for name in TISSUES}
        for name, path in paths.items():
            save(probabilities[name], affine, path)
        labels = np.where(mask, 1 + np.argmax(found, axis=0), 0).astype(np.uint8)
        self._results["out_file"] = str(Path(runtime.cwd, "dseg.nii.gz"))
        save(labels, affine, self._results["out_file"])
        self._results["probabilities"] = list(paths.values())
        self._results["volumes"] = str(Path(runtime.cwd, "volumes.json"))
        volumes = measure_tissues(probabilities, affine)
        volumes["intracranial_volume_ml"] = volume_ml(fill_skull(mask, affine), affine)
        Path(self._results["volumes"]).write_text(json.dumps(volumes, indent=2))
        return runtime


def segment(t1w, mask, affine, folder, iterations=5):
    """Run Atropos with three classes on the box around a mask.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
        Without bias field.
    mask : ndarray of bool, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    folder : path-like
        For ANTs' temporary files, which are removed.
    iterations : int

    Returns
    -------
    ndarray, shape (3, X, Y, Z)
        Probabilities from the darkest to the brightest class; their sum is 1 inside the mask and
        0 outside.

    Raises
    ------
    ToolError
        If Atropos gives no three classes.
    """
    from bids_sexclf.volumes import Grid, crop_grid

    grid, box = crop_grid(Grid(mask.shape, affine), mask, margin=2)
    ants = antspyx()
    # Vessels and remains of the scalp are few and far brighter than white matter: unbounded, they
    # would take a class of their own.
    bounded = np.clip(t1w[box], *np.percentile(t1w[mask], BOUNDS))
    with _temporary_files(folder):
        try:
            found = ants.atropos(
                to_ants(bounded, grid.affine),
                to_ants(mask[box], grid.affine),
                i="kmeans[3]",
                m="[0.1,1x1x1]",
                c=f"[{iterations},0]",
                r=0,  # one order of visiting voxels; another each time by default
            )
        except Exception as fault:  # antspyx raises bare exceptions
            raise ToolError(
                f"Found that Atropos could not tell tissues apart: {' '.join(str(fault).split())} "
                "Needed a T1w whose brain mask holds fluid, grey and white matter. Look at both."
            ) from fault
    cropped = np.stack([image.numpy() for image in found["probabilityimages"]])
    total = cropped.sum(0)
    if len(cropped) != len(TISSUES) or not (total[mask[box]] > 0).all():
        raise ToolError(
            f"Found {len(cropped)} classes and {int((total[mask[box]] <= 0).sum())} voxels without "
            "any, needed three classes everywhere. Look at the scan and its brain mask."
        )
    whole = np.zeros((len(TISSUES), *mask.shape), np.float32)
    whole[(slice(None), *box)] = np.where(mask[box], cropped / np.maximum(total, 1e-6), 0)
    return whole


@contextmanager
def _temporary_files(folder):
    """Keep temporary files in a folder, and remove what ANTs leaves behind."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        tempfile.tempdir = inside
        try:
            yield
        finally:
            tempfile.tempdir = before


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

        given = self.inputs
        (t1w, affine), (mask, _) = (load(p, ndim=3) for p in (given.in_file, given.mask_file))
        tissues = [load(path, ndim=3)[0] for path in given.probabilities]
        probabilities = dict(zip(TISSUES, tissues, strict=True))
        tables = []
        for image, labels in zip(given.atlases, given.labels, strict=True):
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
            rows.insert(0, "session_id", given.session_id or None)
            rows.insert(0, "participant_id", given.participant_id)
            tables.append(str(Path(runtime.cwd, f"{name}.tsv")))
            write_table(rows, tables[-1], "morphometry")
        self._results["out_files"] = tables
        return runtime
