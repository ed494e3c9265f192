"""Diffusion series: motion, resampling, bias field, mask."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_sexclf.diffusion.scheme import B0_THRESHOLD, find_b0, read_bvals, read_gradients
from bids_sexclf.errors import InputError
from bids_sexclf.interfaces.ants import _register, antspyx, to_ants, to_matrix
from bids_sexclf.motion.align import Alignment, align_series, average_blocks, coarsen
from bids_sexclf.motion.geometry import displacement, image_centre, turn_gradients
from bids_sexclf.motion.resample import (
    displacements,
    distorted_places,
    read_displacements,
    resample_volume,
    seen_mask,
    through_pose,
)
from bids_sexclf.volumes import (
    check_same_grid,
    load,
    open_series,
    save,
    save_field,
    series_writer,
    volumes,
)


class _SeriesIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    bval = File(exists=True, mandatory=True)
    bvec = File(exists=True, mandatory=True)


class _EstimateIn(_SeriesIn):
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")
    kind = traits.Enum("affine", "rigid", "none", usedefault=True)
    axis = traits.Either(None, traits.Range(0, 2), desc="of the array, along the phase encoding")
    sloppy = traits.Bool(False, usedefault=True)
    seed = traits.Int(1, usedefault=True)
    threads = traits.Int(1, usedefault=True)


class _EstimateOut(TraitedSpec):
    matrices = File(exists=True, desc="JSON: one transform per volume; see `read_matrices`")
    bvec = File(exists=True, desc="turned along with the volumes")
    b0 = File(exists=True, desc="mean of the aligned b0 volumes")
    motion = File(exists=True, desc="JSON: displacement of each volume against the one before")


class EstimateMotion(SimpleInterface):
    """Estimate the position of the head in each volume of a series, and rotate the gradients.

    b0 volumes are registered rigidly with their mean, each weighted volume with its prediction
    from all others (Gaussian process), with the shear and stretch of eddy currents where the
    phase-encoding axis is known; then the mean of each shell rigidly with the mean b0 by mutual
    information.

    References
    ----------
    Andersson and Sotiropoulos 2016, doi:10.1016/j.neuroimage.2015.10.019.
    """

    input_spec, output_spec = _EstimateIn, _EstimateOut

    def _run_interface(self, runtime):
        image = open_series(self.inputs.in_file)
        affine = image.affine
        bvals, bvecs = read_gradients(self.inputs.bval, self.inputs.bvec)
        _check_count(self.inputs.in_file, image.shape, bvals, bvecs)
        identities = np.repeat(np.eye(4)[None], len(bvals), axis=0)
        alignment = Alignment(identities, identities[:, :3, :3])
        if self.inputs.kind != "none":
            alignment = self._align(bvals, bvecs, runtime.cwd)
        low = find_b0(bvals, self.inputs.b0_threshold)
        b0 = _mean_b0(
            self.inputs.in_file, low, lambda i, v: resample_volume(v, affine, alignment.matrices[i])
        )
        save(b0, affine, Path(runtime.cwd, "b0.nii.gz"))
        np.savetxt(
            Path(runtime.cwd, "gradients.bvec"),
            turn_gradients(bvecs, alignment.rotations, affine).T,
            fmt="%.6f",
        )
        middle = image_centre(image.shape, affine)
        moved = [
            displacement(a, b, middle)
            for a, b in zip(alignment.matrices, alignment.matrices[1:], strict=False)
        ]
        _write_json({"displacement_mm": [0.0, *moved]}, runtime.cwd, "motion.json")
        _write_json(alignment.matrices.tolist(), runtime.cwd, "matrices.json")
        names = ("b0.nii.gz", "gradients.bvec", "motion.json", "matrices.json")
        for field, name in zip(("b0", "bvec", "motion", "matrices"), names, strict=True):
            self._results[field] = str(Path(runtime.cwd, name))
        return runtime

    def _align(self, bvals, bvecs, folder):
        """Align the volumes on a coarser grid that is fine enough for motion."""
        from scipy.ndimage import binary_dilation
        from threadpoolctl import threadpool_limits

        from bids_sexclf.anatomy.brain import b0_mask, ball

        image = open_series(self.inputs.in_file)
        factors, affine = coarsen(image.shape, image.affine)
        frames = np.stack([average_blocks(v, factors) for v in volumes(self.inputs.in_file)])
        size = np.linalg.norm(affine[:3, :3], axis=0)
        low = find_b0(bvals, self.inputs.b0_threshold)
        near = binary_dilation(b0_mask(frames[low].mean(0), size), ball(8, size))
        along = self.inputs.axis
        free = along if self.inputs.kind == "affine" and along is not None else self.inputs.kind
        ants = antspyx(self.inputs.seed)

        def tie(b0, mean):
            images = [to_ants(array, affine) for array in (b0, mean, near)]
            return _tie(ants, *images, str(Path(folder, "shell_")), self.inputs.sloppy)

        # One thread per volume and none inside: results do not depend on the number of threads.
        with threadpool_limits(1), ThreadPoolExecutor(self.inputs.threads) as executor:
            return align_series(
                frames,
                affine,
                near,
                bvals,
                bvecs,
                tie,
                free=free,
                sloppy=self.inputs.sloppy,
                run=executor.map,
                b0_threshold=self.inputs.b0_threshold,
            )


def _tie(ants, fixed, moving, mask, prefix, sloppy, **pyramid):
    """Register two contrasts of one head rigidly; return the matrix."""
    pyramid = pyramid or {
        "aff_iterations": (40, 0) if sloppy else (50, 20),
        "aff_shrink_factors": (2, 1),
        "aff_smoothing_sigmas": (1, 0),
    }
    registration = _register(
        ants,
        fixed,
        moving,
        "Rigid",
        prefix,
        initial_transform="Identity",
        mask=mask,
        mask_all_stages=True,
        **pyramid,
    )
    return to_matrix(ants.read_transform(registration["fwdtransforms"][0]))


def _mean_b0(path, low, change=lambda index, volume: volume):
    """Average the b0 volumes of a series after applying `change` to each."""
    total = 0.0
    for index, volume in enumerate(volumes(path)):
        if low[index]:
            total = total + change(index, volume)
    return total / low.sum()


def _check_count(path, shape, bvals, bvecs):
    """Refuse gradients that do not belong to a series."""
    if not len(bvals) == len(bvecs) == shape[3]:
        raise InputError(
            f"Found {len(bvals)} b-values and {len(bvecs)} b-vectors for the {shape[3]} volumes of "
            f"{path}, needed one of each per volume. Look for the files that belong to this series."
        )


def _write_json(content, folder, name):
    Path(folder, name).write_text(json.dumps(content))


class _MeanIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    bval = File(exists=True, mandatory=True)
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")


class _MeanOut(TraitedSpec):
    out_file = File(exists=True)


class MeanB0(SimpleInterface):
    """Average the b0 volumes of a series."""

    input_spec, output_spec = _MeanIn, _MeanOut

    def _run_interface(self, runtime):
        bvals = read_bvals(self.inputs.bval)
        b0 = _mean_b0(self.inputs.in_file, find_b0(bvals, self.inputs.b0_threshold))
        self._results["out_file"] = str(Path(runtime.cwd, "b0.nii.gz"))
        save(b0, open_series(self.inputs.in_file).affine, self._results["out_file"])
        return runtime


class _BiasIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="mean b0")
    mask = File(exists=True, mandatory=True)


class _BiasOut(TraitedSpec):
    out_file = File(exists=True, desc="the field, of geometric mean one in the mask")


class FindBias(SimpleInterface):
    """Estimate the bias field of a diffusion series by N4 on its mean b0, inside the mask.

    References
    ----------
    Tustison et al. 2010, doi:10.1109/TMI.2010.2046908.
    """

    input_spec, output_spec = _BiasIn, _BiasOut

    def _run_interface(self, runtime):
        ants = antspyx()
        b0, affine = load(self.inputs.in_file, ndim=3)
        mask = load(self.inputs.mask, ndim=3)[0] > 0
        size = np.linalg.norm(affine[:3, :3], axis=0)
        field = ants.n4_bias_field_correction(
            to_ants(b0, affine),
            mask=to_ants(mask, affine),
            # Voxels of about 8 mm suffice for such a smooth field.
            shrink_factor=max(1, round(8 / size.min())),
            convergence={"iters": [50, 50, 30], "tol": 1e-6},
            return_bias_field=True,
        ).numpy()
        field = np.where(np.isfinite(field) & (field > 0), field, 1.0)
        field /= np.exp(np.log(field[mask]).mean())
        # Far outside the head a spline extrapolates wildly: limit the change to a factor of ten.
        self._results["out_file"] = str(Path(runtime.cwd, "bias.nii.gz"))
        save(np.clip(field, 0.1, 10), affine, self._results["out_file"])
        return runtime


class _ResampleIn(_MeanIn):
    matrices = File(exists=True, desc="of `EstimateMotion`; none where volumes lie aligned")
    pose = File(exists=True, desc="JSON: reference to this series' head; of `AlignParts`")
    warp = File(exists=True, desc="ANTs displacement field on the grid of the series")
    jacobian = File(exists=True, desc="what the warp's stretch does to intensity; multiplied")
    bias = File(exists=True, desc="divided out")
    mask = File(exists=True, mandatory=True)
    threads = traits.Int(1, usedefault=True)


class _ResampleOut(_MeanOut):
    b0 = File(exists=True, desc="mean b0 of the series as it leaves")
    b0_brain = File(exists=True, desc="the same inside the mask")
    mask = File(exists=True, desc="what nearly all volumes hold of it")
    warp = File(exists=True, desc="ANTs displacement field: pose and warp in one")


class ResampleSeries(SimpleInterface):
    """Resample every volume once, through pose, distortion and motion, and divide by the bias.

    Mask and bias are on the head position of the reference; warp and jacobian on that of the
    series.
    """

    input_spec, output_spec = _ResampleIn, _ResampleOut

    def _run_interface(self, runtime):
        inputs = self.inputs
        image = open_series(inputs.in_file)
        shape, affine = image.shape, image.affine
        matrices = [np.eye(4)] * shape[3]
        if isdefined(inputs.matrices):
            matrices = np.array(json.loads(Path(inputs.matrices).read_text()))
        pose = self._pose()
        places, gain = self._places(shape, affine, pose), self._gain(affine, shape, pose)
        bvals = read_bvals(inputs.bval)
        low, total = find_b0(bvals, inputs.b0_threshold), 0.0
        path = str(Path(runtime.cwd, "dwi.nii.gz"))
        jobs = enumerate(volumes(inputs.in_file))

        def resampled(job):
            index, volume = job
            return index, resample_volume(volume, affine, matrices[index], places) * gain

        with (
            series_writer(path, shape, affine) as write,
            ThreadPoolExecutor(inputs.threads) as executor,
        ):
            while batch := list(islice(jobs, 2 * inputs.threads)):
                for index, volume in executor.map(resampled, batch):
                    write(volume)
                    total = total + volume * low[index]
        b0, mask = total / low.sum(), load(inputs.mask, ndim=3)[0] > 0
        mask = seen_mask(mask, affine, matrices, places)
        self._results["out_file"] = path
        for name, array in (("b0", b0), ("b0_brain", b0 * mask), ("mask", mask)):
            self._results[name] = str(Path(runtime.cwd, f"{name}.nii.gz"))
            save(array, affine, self._results[name])
        if isdefined(inputs.pose) and places is not None:
            self._results["warp"] = str(Path(runtime.cwd, "warp.nii.gz"))
            save_field(displacements(places, affine), affine, self._results["warp"])
        return runtime

    def _pose(self):
        """Read the pose; None where the head position is that of the reference."""
        if not isdefined(self.inputs.pose):
            return None
        pose = np.array(json.loads(Path(self.inputs.pose).read_text()))
        return None if np.allclose(pose, np.eye(4), atol=1e-9) else pose

    def _places(self, shape, affine, pose):
        """Return the positions at which each voxel is read; None without pose and distortion."""
        places = None
        if isdefined(self.inputs.warp):
            places = distorted_places(shape, affine, read_displacements(self.inputs.warp))
        return places if pose is None else through_pose(affine, pose, places, shape)

    def _gain(self, affine, shape, pose):
        """Return the factor by which every volume is multiplied, shape (X, Y, Z)."""
        from scipy.ndimage import map_coordinates

        gain = np.ones(shape[:3], np.float32)
        if isdefined(self.inputs.jacobian):
            gain *= self._on_grid("jacobian", affine, shape)
        if pose is not None:
            moved = through_pose(affine, pose, shape=shape)
            gain = map_coordinates(gain, moved, order=1, mode="nearest")
        if isdefined(self.inputs.bias):
            gain /= self._on_grid("bias", affine, shape)
        return gain

    def _on_grid(self, name, affine, shape):
        array, array_affine = load(getattr(self.inputs, name), ndim=3)
        check_same_grid(shape, affine, array.shape, array_affine, ("the series", f"its {name}"))
        return array


class _MaskIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)


class _MaskOut(TraitedSpec):
    out_file = File(exists=True, desc="the b0 inside the mask")
    mask_file = File(exists=True)


class MaskB0(SimpleInterface):
    """Mask the brain on the mean b0."""

    input_spec, output_spec = _MaskIn, _MaskOut

    def _run_interface(self, runtime):
        from bids_sexclf.anatomy.brain import b0_mask

        b0, affine = load(self.inputs.in_file, ndim=3)
        if not np.isfinite(b0).all():
            raise InputError(
                f"Found {int((~np.isfinite(b0)).sum())} voxels of the mean b0 that are not finite, "
                "needed a number in each. Look at the b0 volumes, and at the steps before."
            )
        mask = b0_mask(b0, np.linalg.norm(affine[:3, :3], axis=0))
        for name, array, file in (
            ("mask_file", mask, "mask.nii.gz"),
            ("out_file", b0 * mask, "b0brain.nii.gz"),
        ):
            self._results[name] = str(Path(runtime.cwd, file))
            save(array, affine, self._results[name])
        return runtime
