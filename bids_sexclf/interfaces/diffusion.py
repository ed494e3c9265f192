"""Diffusion series: alignment of volumes, mask, fits."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.errors import InputError
from bids_sexclf.interfaces.ants import _register, antspyx, rotation_of, to_ants
from bids_sexclf.volumes import load, save

HEAD_RADIUS = 50.0
"""Radius, mm, of the sphere on which displacements are measured."""


class _SeriesIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    bval = File(exists=True, mandatory=True)
    bvec = File(exists=True, mandatory=True)


def read_gradients(bval, bvec):
    """Read b-values and b-vectors in FSL's layout.

    Parameters
    ----------
    bval, bvec : path-like

    Returns
    -------
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
        Relative to the image axes; zero where the file is not finite (b0 volumes of some
        converters).
    """
    bvals = np.loadtxt(bval).ravel()
    bvecs = np.atleast_2d(np.loadtxt(bvec))
    if bvecs.shape[0] == 3 and bvecs.shape[1] == bvals.size:
        bvecs = bvecs.T
    return bvals, np.nan_to_num(bvecs)


def turn_gradients(bvecs, rotations, affine):
    """Turn b-vectors along with their volumes.

    Parameters
    ----------
    bvecs : ndarray, shape (N, 3)
        FSL's convention: along the image axes, the first one mirrored where the affine has a
        positive determinant.
    rotations : ndarray, shape (N, 3, 3)
        From the reference to each volume, in world space: a head that turned by R has its
        gradient turned back by the inverse of R.
    affine : ndarray, shape (4, 4)
        Voxel to world.

    Returns
    -------
    ndarray, shape (N, 3)

    References
    ----------
    Leemans and Jones 2009, doi:10.1002/mrm.21890.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        axes = axes * np.array([-1.0, 1.0, 1.0])
    return np.einsum("ji,nkj,kl,nl->ni", axes, rotations, axes, bvecs)


def displacement(first, second, centre):
    """Give the mean displacement between two linear transforms over a head-sized sphere.

    Parameters
    ----------
    first, second : ndarray, shape (4, 4)
        World to world, mm.
    centre : ndarray, shape (3,)
        Of the head, mm.

    Returns
    -------
    float
        Root mean square displacement over a sphere of 50 mm (Jenkinson 1999), mm. Stretch and
        shear, as eddy currents cause, do not count.
    """
    change = _rigid_part(second, centre) @ np.linalg.inv(_rigid_part(first, centre)) - np.eye(4)
    shift = change[:3, :3] @ centre + change[:3, 3]
    square = HEAD_RADIUS**2 * np.trace(change[:3, :3].T @ change[:3, :3]) / 5 + shift @ shift
    return float(np.sqrt(square))


def _rigid_part(matrix, centre):
    """Give the rigid transform with the same rotation that moves the centre alike."""
    from scipy.linalg import polar

    rigid = np.eye(4)
    rigid[:3, :3], _ = polar(matrix[:3, :3])
    rigid[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - rigid[:3, :3] @ centre
    return rigid


class _AlignIn(_SeriesIn):
    kind = traits.Enum("affine", "rigid", "none", usedefault=True)
    sloppy = traits.Bool(False, usedefault=True)
    seed = traits.Int(1, usedefault=True)


class _AlignOut(TraitedSpec):
    out_file = File(exists=True)
    bvec = File(exists=True, desc="turned along with the volumes")
    b0 = File(exists=True, desc="mean b0 of the aligned series")
    motion = File(exists=True, desc="JSON: displacement of each volume against the one before")


class AlignVolumes(SimpleInterface):
    """Align the volumes of a diffusion series with its mean b0, and turn the gradients along.

    b0 volumes are registered rigidly to the first one, each shell's mean rigidly
    to the mean b0, each volume to its shell's carried mean, all by mutual
    information inside the dilated brain mask. Every volume is resampled once.
    """

    input_spec, output_spec = _AlignIn, _AlignOut

    def _run_interface(self, runtime):
        data, affine = load(self.inputs.in_file, ndim=4)
        bvals, bvecs = read_gradients(self.inputs.bval, self.inputs.bvec)
        count = len(bvals)
        matrices = np.repeat(np.eye(4)[None], count, axis=0)
        rotations = np.repeat(np.eye(3)[None], count, axis=0)
        if self.inputs.kind != "none":
            matrices, rotations = self._align(data, bvals, affine, runtime.cwd)
        middle = affine[:3, :3] @ (np.array(data.shape[:3]) / 2) + affine[:3, 3]
        moved = [displacement(a, b, middle) for a, b in zip(matrices, matrices[1:], strict=False)]
        out = {name: str(Path(runtime.cwd, name)) for name in ("dwi.nii.gz", "b0.nii.gz")}
        save(data, affine, out["dwi.nii.gz"])
        save(data[..., bvals <= max(50, bvals.min())].mean(-1), affine, out["b0.nii.gz"])
        bvec, motion = Path(runtime.cwd, "dwi.bvec"), Path(runtime.cwd, "motion.json")
        np.savetxt(bvec, turn_gradients(bvecs, rotations, affine).T, fmt="%.6f")
        motion.write_text(json.dumps({"displacement_mm": [0.0, *moved]}))
        self._results |= {"out_file": out["dwi.nii.gz"], "b0": out["b0.nii.gz"]}
        self._results |= {"bvec": str(bvec), "motion": str(motion)}
        return runtime

    def _align(self, data, bvals, affine, folder):
        """Align the volumes in place; give each one's matrix and rotation in world space."""
        from scipy.ndimage import binary_dilation

        from bids_sexclf.brain import b0_mask, ball
        from bids_sexclf.diffusion import find_shells

        ants = antspyx(self.inputs.seed)
        matrices = np.repeat(np.eye(4)[None], len(bvals), axis=0)
        rotations = np.repeat(np.eye(3)[None], len(bvals), axis=0)
        low = np.flatnonzero(bvals <= max(50, bvals.min()))
        kind = self.inputs.kind.capitalize()
        size = np.linalg.norm(affine[:3, :3], axis=0)
        near = binary_dilation(b0_mask(data[..., low].mean(-1), size), ball(8, size))
        mask = to_ants(near, affine)

        def align(index, target, kind, start="Identity"):
            moving = to_ants(data[..., index], affine)
            found = self._linear(ants, target, moving, kind, folder, start, mask)
            data[..., index] = ants.apply_transforms(target, moving, [found]).numpy()
            matrices[index], rotations[index] = _matrix(ants, found), rotation_of(found)

        first = to_ants(data[..., low[0]], affine)
        for index in low[1:]:
            align(index, first, "Rigid")
        b0 = to_ants(data[..., low].mean(-1), affine)
        for _, members in find_shells(bvals):
            members = np.setdiff1d(members, low)
            if not members.size:
                continue
            mean = to_ants(data[..., members].mean(-1), affine)
            start = self._linear(ants, b0, mean, "Rigid", folder, "Identity", mask, "shell_")
            target = ants.apply_transforms(b0, mean, [start])
            for index in members:
                align(index, target, kind, start)
        return matrices, rotations

    def _linear(self, ants, fixed, moving, kind, folder, start, mask, prefix="volume_"):
        """Register two volumes of one head that nearly overlap already."""
        found = _register(
            ants,
            fixed,
            moving,
            kind,
            str(Path(folder, prefix)),
            initial_transform=start,
            mask=mask,
            mask_all_stages=True,
            aff_iterations=(40, 0) if self.inputs.sloppy else (50, 20),
            aff_shrink_factors=(2, 1),
            aff_smoothing_sigmas=(1, 0),
        )
        return found["fwdtransforms"][0]


def _matrix(ants, path):
    """Read a linear ANTs transform as a world-to-world matrix in RAS+ space."""
    transform = ants.read_transform(str(path))
    values = np.asarray(transform.parameters)
    linear, centre = values[:9].reshape(3, 3), np.asarray(transform.fixed_parameters[:3])
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = linear, values[9:] + centre - linear @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ lps @ flip


class _MaskIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)


class _MaskOut(TraitedSpec):
    out_file = File(exists=True, desc="the b0 inside the mask")
    mask_file = File(exists=True)


class MaskB0(SimpleInterface):
    """Mask the brain on the mean b0."""

    input_spec, output_spec = _MaskIn, _MaskOut

    def _run_interface(self, runtime):
        from bids_sexclf.brain import b0_mask

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


class _FitIn(_SeriesIn):
    mask = File(exists=True, mandatory=True)
    clip = traits.Tuple(traits.Float, traits.Float, desc="range of kurtosis values")


class _FitOut(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="one map each, named by its parameter")
    counts = File(exists=True, desc="JSON: what the fits had to repair")


class FitMaps(SimpleInterface):
    """Fit the tensor always, and kurtosis where the shells allow it."""

    input_spec, output_spec = _FitIn, _FitOut

    def _run_interface(self, runtime):
        from bids_sexclf.diffusion import count_impossible, fit_kurtosis, fit_tensor

        data, affine = load(self.inputs.in_file, ndim=4)
        bvals, bvecs = read_gradients(self.inputs.bval, self.inputs.bvec)
        mask = load(self.inputs.mask, ndim=3)[0] > 0
        fits = {"tensor": (fit_tensor(data, bvals, bvecs, mask, counts=True), "FA MD AD RD")}
        if kurtosis_possible(bvals, bvecs):
            low, high = self.inputs.clip
            maps = fit_kurtosis(
                data, bvals, bvecs, mask, counts=True, min_kurtosis=low, max_kurtosis=high
            )
            fits["dki"] = (maps, "MK AK RK KFA")
        files, counts = [], {}
        for model, (maps, kept) in fits.items():
            counts[model] = count_impossible(maps)
            for name in kept.split():
                files.append(str(Path(runtime.cwd, f"{model}_{name}.nii.gz")))
                save(maps[name], affine, files[-1])
        self._results["out_files"] = files
        self._results["counts"] = str(Path(runtime.cwd, "counts.json"))
        Path(self._results["counts"]).write_text(json.dumps(counts))
        return runtime


def kurtosis_possible(bvals, bvecs):
    """Say whether a series determines a kurtosis tensor.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)

    Returns
    -------
    bool
        True with two or more shells above b0 and at least 15 directions in all.
    """
    from bids_sexclf.diffusion import find_shells

    shells = [value for value, _ in find_shells(bvals) if value > 50]
    weighted = np.unique(np.round(bvecs[bvals > 50] * np.sign(bvecs[bvals > 50][:, :1]), 2), axis=0)
    return len(shells) >= 2 and len(weighted) >= 15
