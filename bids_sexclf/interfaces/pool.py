"""Pool the parts of a diffusion series (one per phase encoding): align, scale and join them."""

import json
from itertools import chain
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

from bids_sexclf.diffusion.scheme import B0_THRESHOLD, find_b0, read_bvals, read_gradients
from bids_sexclf.interfaces.ants import antspyx, to_ants
from bids_sexclf.interfaces.diffusion import _tie
from bids_sexclf.motion.geometry import displacement, image_centre, turn_gradients
from bids_sexclf.motion.resample import resample_volume
from bids_sexclf.volumes import check_same_grid, load, open_series, save, series_writer, volumes

PYRAMID = {
    "aff_iterations": (100, 50, 30),
    "aff_shrink_factors": (4, 2, 1),
    "aff_smoothing_sigmas": (2, 1, 0),
}
"""Levels from coarse to fine, since a head moves more between series than between volumes."""

NEAR_MM = 8.0
"""Margin around the brain for the alignment, mm."""


def find_scale(values, reference, mask):
    """Compute the factor that scales a volume to the level of another.

    Parameters
    ----------
    values, reference : ndarray, shape (X, Y, Z)
        Two b0 volumes of one head in one place.
    mask : ndarray of bool, shape (X, Y, Z)

    Returns
    -------
    float
        Median of the ratios inside the mask; 1 where there is no signal.
    """
    valid = mask & (values > 0) & (reference > 0)
    return float(np.median(reference[valid] / values[valid])) if valid.any() else 1.0


class _AlignIn(BaseInterfaceInputSpec):
    b0s = InputMultiObject(File(exists=True), mandatory=True, desc="undistorted, one per part")
    seed = traits.Int(1, usedefault=True)
    sloppy = traits.Bool(False, usedefault=True)


class _AlignOut(TraitedSpec):
    poses = OutputMultiObject(File(exists=True), desc="JSON: first part to each, world to world")
    b0 = File(exists=True, desc="mean over the parts, in the place and on the scale of the first")
    record = File(exists=True, desc="JSON: list of how far each part had moved")


class AlignParts(SimpleInterface):
    """Align the mean b0 of each part rigidly with that of the first."""

    input_spec, output_spec = _AlignIn, _AlignOut

    def _run_interface(self, runtime):
        from scipy.ndimage import binary_dilation

        from bids_sexclf.anatomy.brain import agreement, b0_mask, ball

        b0s = [load(path, ndim=3) for path in self.inputs.b0s]
        first, affine = b0s[0]
        size, centre = np.linalg.norm(affine[:3, :3], axis=0), image_centre(first.shape, affine)
        brain = b0_mask(first, size)
        near = binary_dilation(brain, ball(NEAR_MM, size))
        ants, poses, moved, records = antspyx(self.inputs.seed), [], [], []
        fixed, near = to_ants(first, affine), to_ants(near, affine)
        for number, (b0, b0_affine) in enumerate(b0s, start=1):
            names = (self.inputs.b0s[number - 1], self.inputs.b0s[0])
            check_same_grid(b0.shape, b0_affine, first.shape, affine, names)
            pose = np.eye(4)
            if number > 1:
                prefix = str(Path(runtime.cwd, f"part{number}_"))
                moving = to_ants(b0, affine)
                pose = _tie(ants, fixed, moving, near, prefix, self.inputs.sloppy, **PYRAMID)
            aligned = resample_volume(b0, affine, pose)
            moved.append(aligned * find_scale(aligned, first, brain))
            poses.append(str(Path(runtime.cwd, f"part{number}.json")))
            Path(poses[-1]).write_text(json.dumps(pose.tolist()))
            records.append(
                {
                    "moved_mm": displacement(np.eye(4), pose, centre),
                    "b0_agreement": agreement(aligned, first, brain),
                }
            )
        self._results["poses"] = poses
        self._results["b0"] = str(Path(runtime.cwd, "b0.nii.gz"))
        save(np.mean(moved, axis=0), affine, self._results["b0"])
        self._results["record"] = _write_json(records, runtime.cwd, "record.json")
        return runtime


class _PoolIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="resampled, one per part")
    masks = InputMultiObject(File(exists=True), mandatory=True)
    bvals = InputMultiObject(File(exists=True), mandatory=True)
    bvecs = InputMultiObject(File(exists=True), mandatory=True, desc="turned inside each part")
    poses = InputMultiObject(File(exists=True), mandatory=True, desc="of `AlignParts`")
    motions = InputMultiObject(File(exists=True), mandatory=True)
    matrices = InputMultiObject(File(exists=True), desc="of `EstimateMotion`, where it ran")
    counts = traits.List(
        traits.List(traits.Int), mandatory=True, desc="volumes of each series of each part"
    )
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")


class _PoolOut(TraitedSpec):
    dwi = File(exists=True)
    bval = File(exists=True)
    bvec = File(exists=True)
    b0 = File(exists=True)
    b0_brain = File(exists=True)
    mask = File(exists=True, desc="what every part holds")
    motion = File(exists=True, desc="JSON: displacement of each volume against the one before")
    record = File(exists=True, desc="JSON: list of the scales of each part's series")


class PoolSeries(SimpleInterface):
    """Join aligned parts, each series scaled to the b0 level of the first.

    Scanners may scale each series differently; a series without b0 volumes gets the scale of the
    other series of its part. b-vectors rotate with the pose of their part.
    """

    input_spec, output_spec = _PoolIn, _PoolOut

    def _run_interface(self, runtime):
        inputs, place = self.inputs, runtime.cwd
        first = open_series(inputs.in_files[0])
        self.shape, self.affine = first.shape[:3], first.affine
        poses = [np.array(_read_json(path)) for path in inputs.poses]
        gradients = [read_gradients(*pair) for pair in zip(inputs.bvals, inputs.bvecs, strict=True)]
        bvals = np.concatenate([part_values for part_values, _ in gradients])
        bvecs = [
            turn_gradients(vectors, np.repeat(pose[None, :3, :3], len(vectors), 0), self.affine)
            for (_, vectors), pose in zip(gradients, poses, strict=True)
        ]
        low, mask = find_b0(bvals, inputs.b0_threshold), self._mask()
        scales, scales_known = self._scales(low, mask)
        b0 = self._write(low, scales, str(Path(place, "dwi.nii.gz")))
        for name, array in (("b0", b0), ("b0_brain", b0 * mask), ("mask", mask)):
            self._results[name] = str(Path(place, f"{name}.nii.gz"))
            save(array, self.affine, self._results[name])
        self._results["bval"] = str(Path(place, "pooled.bval"))
        np.savetxt(self._results["bval"], bvals[None], fmt="%g")
        self._results["bvec"] = str(Path(place, "pooled.bvec"))
        np.savetxt(self._results["bvec"], np.concatenate(bvecs).T, fmt="%.6f")
        moved = {"displacement_mm": self._displacements(poses)}
        self._results["motion"] = _write_json(moved, place, "motion.json")
        records = [
            {"volumes": count, "scales": part_values, "scales_known": are_known}
            for count, part_values, are_known in zip(
                inputs.counts, scales, scales_known, strict=True
            )
        ]
        self._results["record"] = _write_json(records, place, "record.json")
        return runtime

    def _mask(self):
        """Return the intersection of the masks of all parts."""
        masks = []
        for path in self.inputs.masks:
            array, affine = load(path, ndim=3)
            names = (path, self.inputs.in_files[0])
            check_same_grid(array.shape, affine, self.shape, self.affine, names)
            masks.append(array > 0)
        return np.logical_and.reduce(masks)

    def _scales(self, low, mask):
        """Return the factor of each series of each part, and whether its own b0 volumes gave it."""
        counts = list(chain.from_iterable(self.inputs.counts))
        owner = np.repeat(np.arange(len(counts)), counts)
        sums, series = [0.0] * len(counts), chain.from_iterable(map(volumes, self.inputs.in_files))
        for index, volume in enumerate(series):
            if low[index]:
                sums[owner[index]] = sums[owner[index]] + volume.astype(np.float64)
        number = [int(low[owner == index].sum()) for index in range(len(counts))]
        means = [total / n if n else None for total, n in zip(sums, number, strict=True)]
        reference = next(mean for mean in means if mean is not None)
        factors = iter([None if m is None else find_scale(m, reference, mask) for m in means])
        scales, all_known = [], []
        for part in self.inputs.counts:
            part_scales = [next(factors) for _ in part]
            known_scales = [scale for scale in part_scales if scale is not None]
            shared = float(np.median(known_scales)) if known_scales else 1.0
            scales.append([shared if scale is None else scale for scale in part_scales])
            all_known.append([scale is not None for scale in part_scales])
        return scales, all_known

    def _write(self, low, scales, path):
        """Write all volumes, scaled; return the mean b0."""
        counts = chain.from_iterable(self.inputs.counts)
        factors = np.repeat(list(chain.from_iterable(scales)), list(counts))
        series, total = chain.from_iterable(map(volumes, self.inputs.in_files)), 0.0
        with series_writer(path, (*self.shape, len(low)), self.affine) as write:
            for volume, factor, is_b0 in zip(series, factors, low, strict=True):
                volume = volume * np.float32(factor)
                write(volume)
                total = total + volume * is_b0
        self._results["dwi"] = path
        return total / low.sum()

    def _displacements(self, poses):
        """Return the displacements within parts, and from each part to the next."""
        parts = [_read_json(path)["displacement_mm"] for path in self.inputs.motions]
        places = [np.repeat(np.eye(4)[None], len(part), axis=0) for part in parts]
        if isdefined(self.inputs.matrices):
            places = [np.array(_read_json(path)) for path in self.inputs.matrices]
        centre = image_centre(self.shape, self.affine)
        for index in range(1, len(parts)):
            before, after = (
                places[index - 1][-1] @ poses[index - 1],
                places[index][0] @ poses[index],
            )
            parts[index][0] = displacement(before, after, centre)
        return list(chain.from_iterable(parts))


class _ResidualsIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="one per part")
    bvals = InputMultiObject(File(exists=True), mandatory=True)


class _ResidualsOut(TraitedSpec):
    out_file = File(exists=True)


class JoinResiduals(SimpleInterface):
    """Join the residuals of all parts, as root mean square over all volumes."""

    input_spec, output_spec = _ResidualsIn, _ResidualsOut

    def _run_interface(self, runtime):
        counts = [len(read_bvals(path)) for path in self.inputs.bvals]
        images = [load(path, ndim=3) for path in self.inputs.in_files]
        squares = [array.astype(np.float64) ** 2 for array, _ in images]
        self._results["out_file"] = str(Path(runtime.cwd, "residual.nii.gz"))
        joined = np.sqrt(np.average(squares, axis=0, weights=counts))
        save(joined, images[0][1], self._results["out_file"])
        return runtime


class _RecordsIn(BaseInterfaceInputSpec):
    parts = traits.List(mandatory=True, desc="what is known of each part beforehand")
    steps = traits.List(traits.List(File(exists=True)), desc="JSON objects of each part's steps")
    aligned = File(exists=True, mandatory=True, desc="of `AlignParts`")
    pooled = File(exists=True, mandatory=True, desc="of `PoolSeries`")


class _RecordsOut(TraitedSpec):
    record = File(exists=True, desc="JSON, for the quality file")


class JoinRecords(SimpleInterface):
    """Join the records of parts: list all, and use the worst part for the series."""

    input_spec, output_spec = _RecordsIn, _RecordsOut

    def _run_interface(self, runtime):
        steps = (
            self.inputs.steps if isdefined(self.inputs.steps) else [[] for _ in self.inputs.parts]
        )
        records = zip(
            self.inputs.parts,
            steps,
            _read_json(self.inputs.aligned),
            _read_json(self.inputs.pooled),
            strict=True,
        )
        parts = []
        for about, files, aligned, pooled in records:
            part = {key: value for key, value in about.items() if key != "why"} | pooled | aligned
            for path in files:
                part |= _read_json(path)
            if (
                "distortion" in part
            ):  # the record may be that of the part with which it shares a field
                part["distortion"] |= {"why": about["why"]}
            parts.append(part)
        record = join_numbers(parts) | {"parts": parts}
        self._results["record"] = _write_json(record, runtime.cwd, "record.json")
        return runtime


WORST = {"noise_sd": max, "b0_snr": min}
"""Quality number to the function that returns the worst part."""

DISTORTION = ("distortion", "distortion_agreement_before", "distortion_agreement_after")
STEPS = ("denoise", "gibbs")


def join_numbers(parts):
    """Join the quality numbers of parts: each is that of the worst part.

    Parameters
    ----------
    parts : list of dict

    Returns
    -------
    dict

    Examples
    --------
    >>> join_numbers([{"noise_sd": 2.0, "b0_snr": 9.0}, {"noise_sd": 3.0, "b0_snr": None}])
    {'noise_sd': 3.0, 'b0_snr': 9.0}
    """
    joined = {}
    for name, worst in WORST.items():
        values = [part[name] for part in parts if part.get(name) is not None]
        joined |= {name: worst(values)} if values else {}
    joined |= {name: parts[0][name] for name in STEPS if name in parts[0]}
    corrected = [part for part in parts if "distortion" in part]
    if corrected:
        part = min(corrected, key=lambda part: part["distortion_agreement_after"])
        joined |= {name: part[name] for name in DISTORTION}
    return joined


def _read_json(path):
    return json.loads(Path(path).read_text())


def _write_json(content, folder, name):
    path = Path(folder, name)
    path.write_text(json.dumps(content))
    return str(path)
