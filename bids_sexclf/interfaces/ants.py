"""ANTs through antspyx: bias field, brain extraction, registration, resampling.

Every call has a seed. Results are identical to the last bit with one thread per
process, which is the default; with more threads, the order of sums varies.
"""

from dataclasses import dataclass
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

from bids_sexclf.errors import ToolError
from bids_sexclf.seeds import native_seed
from bids_sexclf.volumes import Grid, check_written, load, resample, rescale_grid, save

LPS = np.diag([-1.0, -1.0, 1.0])


def antspyx(seed=None):
    """Import antspyx; with a seed, every later registration of this process starts from it.

    Parameters
    ----------
    seed : int, optional
        None for what needs no random numbers; who registers gives one.

    Returns
    -------
    module
    """
    import ants

    if seed is not None:
        ants.config.set_ants_deterministic(on=False, seed_value=native_seed(seed))
    return ants


def to_ants(array, affine):
    """Turn an array in RAS+ world space into an ANTs image.

    Parameters
    ----------
    array : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)

    Returns
    -------
    ants.ANTsImage
    """
    import ants

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return ants.from_numpy(
        np.ascontiguousarray(array, dtype=np.float32),
        origin=tuple(float(x) for x in LPS @ affine[:3, 3]),
        spacing=tuple(float(x) for x in spacing),
        direction=LPS @ (affine[:3, :3] / spacing),
    )


class _In(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)


class _Out(TraitedSpec):
    out_file = File(exists=True)


ROUGH_MM = 4.0
"""Smallest voxels on which N4 sees a head; it then looks at every second of them."""


class BiasCorrect(SimpleInterface):
    """Divide a T1w by the coarse bias field that N4 estimates inside the head.

    This helps to find the brain; `bids_sexclf.interfaces.tissues.Unbias` later removes the rest
    inside the brain.

    References
    ----------
    Tustison et al. 2010, doi:10.1109/TMI.2010.2046908.
    """

    input_spec, output_spec = _In, _Out

    def _run_interface(self, runtime):
        ants = antspyx()
        scan, affine = load(self.inputs.in_file, ndim=3)
        grid = Grid(scan.shape, affine)
        coarse = rescale_grid(grid, np.maximum(grid.voxel_size, ROUGH_MM))
        small = to_ants(resample(scan, affine, coarse), coarse.affine)
        field = ants.n4_bias_field_correction(
            small,
            mask=ants.get_mask(small),
            shrink_factor=2,
            convergence={"iters": [50, 50, 30], "tol": 1e-6},
            return_bias_field=True,
        )
        field = ants.resample_image_to_target(field, to_ants(scan, affine), "linear").numpy()
        self._results["out_file"] = str(Path(runtime.cwd, "biascorrected.nii.gz"))
        save(scan / np.where(field > 0, field, 1), affine, self._results["out_file"])
        return runtime


class _NormalizeIn(_In):
    fixed = File(exists=True, mandatory=True, desc="brain template")
    initial = File(desc="linear start; found first where there is none")
    metric = traits.Enum("mattes", "CC", usedefault=True)
    sloppy = traits.Bool(False, usedefault=True)
    seed = traits.Int(1, usedefault=True)


class _NormalizeOut(TraitedSpec):
    forward = File(exists=True, desc="carries images to the template (composite, .h5)")
    inverse = File(exists=True, desc="carries images from the template (composite, .h5)")


class Normalize(SimpleInterface):
    """Register a brain to a brain template: linear, then symmetric diffeomorphic (SyN).

    References
    ----------
    Avants et al. 2008, doi:10.1016/j.media.2007.06.004.
    """

    input_spec, output_spec = _NormalizeIn, _NormalizeOut

    def _run_interface(self, runtime):
        from nipype.interfaces.base import isdefined

        ants = antspyx(self.inputs.seed)
        moving, fixed = (ants.image_read(p) for p in (self.inputs.in_file, self.inputs.fixed))
        fixed = coarse(ants, fixed) if self.inputs.sloppy else fixed
        prefix, initial = str(Path(runtime.cwd, "brain_")), self.inputs.initial
        if not isdefined(initial):
            initial = find_affine(ants, fixed, moving, prefix)
        _register(
            ants,
            fixed,
            moving,
            "SyNOnly",
            prefix,
            initial_transform=initial,
            syn_metric=self.inputs.metric,
            syn_sampling=32 if self.inputs.metric == "mattes" else 2,
            reg_iterations=(20, 10, 0) if self.inputs.sloppy else (40, 20, 0),
            write_composite_transform=True,
        )
        self._results["forward"] = prefix + "Composite.h5"
        self._results["inverse"] = prefix + "InverseComposite.h5"
        return runtime


class _AlignIn(_In):
    fixed = File(exists=True, mandatory=True, desc="the T1w's brain")
    mask = File(exists=True, mandatory=True, desc="the brain on the mean b0")
    seed = traits.Int(1, usedefault=True)


class _AlignOut(TraitedSpec):
    transform = File(exists=True, desc="carries images to the fixed one (rigid, .mat)")


class AlignRigid(SimpleInterface):
    """Estimate the rigid transform from a mean b0 to the T1w of the same head."""

    input_spec, output_spec = _AlignIn, _AlignOut

    def _run_interface(self, runtime):
        from bids_sexclf.volumes import load

        ants = antspyx(self.inputs.seed)
        t1w, b0 = (load(path, ndim=3) for path in (self.inputs.fixed, self.inputs.in_file))
        inside = load(self.inputs.mask, ndim=3)[0] > 0
        aligned = align_t1w(ants, t1w, b0, inside, str(Path(runtime.cwd, "t1w_")))
        path = str(Path(runtime.cwd, "rigid.mat"))
        self._results["transform"] = write_linear(aligned.matrix, path)
        return runtime


@dataclass(frozen=True)
class Aligned:
    """The alignment of a T1w with a b0.

    Attributes
    ----------
    matrix : ndarray, shape (4, 4)
        Carries points of the T1w to the b0, world to world, mm.
    start : ndarray, shape (4, 4)
        Where the search began: the identity where the scanner's own coordinates make both meet.
    border : boundary.Border or None
        Of the T1w's white matter; None where the b0 does not show it.
    """

    matrix: np.ndarray
    start: np.ndarray
    border: object


def align_t1w(ants, t1w, b0, inside, prefix):
    """Align a T1w's brain rigidly with the mean b0 of the same head.

    The cost is boundary-based: the b0 should change most at the border of the T1w's white matter.
    The search starts from the scanner's coordinates, if both scans overlap there, and from a
    registration by mutual information inside the brain mask of the b0. Where the b0 does not show
    the border, the result of mutual information is used.

    Parameters
    ----------
    ants : module
        As `antspyx` returns it.
    t1w : pair of ndarray
        Volume, 0 outside the brain, and affine.
    b0 : pair of ndarray
        Volume, shape (X, Y, Z), and affine.
    inside : ndarray of bool, shape (X, Y, Z)
        The brain on the b0.
    prefix : str
        Of the files that ANTs writes.

    Returns
    -------
    Aligned

    References
    ----------
    Greve and Fischl 2009, doi:10.1016/j.neuroimage.2009.06.060.
    """
    from bids_sexclf.boundary import SILENT, find_border, find_pose
    from bids_sexclf.distortion.fieldmaps import flatten

    volume, affine = b0
    size, brain = np.linalg.norm(affine[:3, :3], axis=0), to_ants(*t1w)
    # A mask avoids wrong alignment of outlines where the b0 ends inside the head.
    flat = to_ants(flatten(volume, inside, size), affine)
    meet = (ants.apply_transforms(flat, brain, []).numpy()[inside] > 0).mean() > 0.5
    registration = _register(
        ants,
        flat,
        brain,
        "Rigid",
        prefix,
        initial_transform="Identity" if meet else None,
        mask=to_ants(inside, affine),
        mask_all_stages=True,
        aff_iterations=(60, 40, 20),
        aff_shrink_factors=(4, 2, 1),
        aff_smoothing_sigmas=(2, 1, 0),
    )
    guess = np.linalg.inv(to_matrix(ants.read_transform(registration["fwdtransforms"][0])))
    start, border = np.eye(4) if meet else guess, find_border(*t1w)
    if border is not None:
        pose, cost = find_pose(volume, affine, border, [start, guess] if meet else [guess])
        if cost < SILENT:
            return Aligned(pose, start, border)
    return Aligned(guess, start, None)


def to_matrix(transform):
    """Convert a linear ANTs transform to a matrix in RAS+ world space.

    Parameters
    ----------
    transform : ants.ANTsTransform
        Carries points of the fixed image to the moving one.

    Returns
    -------
    ndarray, shape (4, 4)
        mm.
    """
    numbers, centre = np.asarray(transform.parameters), np.asarray(transform.fixed_parameters)
    linear = numbers[:9].reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3] = LPS @ linear @ LPS
    matrix[:3, 3] = LPS @ (numbers[9:] + centre - linear @ centre)
    return matrix


def write_linear(matrix, path):
    """Write a linear transform in the format of ANTs and ITK.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        Carries points of the fixed image to the moving one, RAS, mm.
    path : path-like
        Ends in ``.mat``.

    Returns
    -------
    str
        The path.
    """
    import ants

    transform = ants.create_ants_transform(
        matrix=LPS @ matrix[:3, :3] @ LPS, translation=LPS @ matrix[:3, 3]
    )
    ants.write_transform(transform, str(path))
    return str(path)


class _CarryIn(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True)
    reference = File(exists=True, mandatory=True, desc="the grid to carry to")
    transforms = InputMultiObject(File(exists=True), mandatory=True, desc="last applied first")
    interpolation = traits.Enum("linear", "nearestNeighbor", "lanczosWindowedSinc", usedefault=True)
    threshold = traits.Bool(False, usedefault=True, desc="give a mask: values above one half")


class _CarryOut(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True))


class Carry(SimpleInterface):
    """Resample images to another grid through any number of transforms in one interpolation."""

    input_spec, output_spec = _CarryIn, _CarryOut

    def _run_interface(self, runtime):
        ants = antspyx()
        reference, carried = ants.image_read(self.inputs.reference), []
        for path in self.inputs.in_files:
            image = ants.apply_transforms(
                reference,
                ants.image_read(path),
                [str(t) for t in self.inputs.transforms],
                whichtoinvert=[False] * len(self.inputs.transforms),
                interpolator=self.inputs.interpolation,
            )
            kind = "float"
            if self.inputs.threshold:
                image, kind = (
                    image.new_image_like((image.numpy() > 0.5).astype("f4")),
                    "unsigned char",
                )
            carried.append(_write(image, runtime.cwd, f"carried_{Path(path).name}", kind))
        self._results["out_files"] = carried
        return runtime


def _register(ants, fixed, moving, kind, prefix, **options):
    """Register two images; raise ToolError where ANTs returns no transform."""
    try:
        registration = ants.registration(fixed, moving, kind, outprefix=prefix, **options)
    except Exception as fault:  # antspyx raises its own exceptions for failures of the C++ code
        raise ToolError(
            f"Found that ANTs could not register ({kind}): {' '.join(str(fault).split())[:300]} "
            "Needed two overlapping images of a head. Look at the scan and its orientation."
        ) from fault
    return registration


def find_affine(ants, fixed, moving, prefix):
    """Estimate a linear transform in three steps, each from the one before; return its file.

    A direct affine search can stretch a head that is tilted or has a long neck until its face lies
    on the template's brain. Only the last step uses fine voxels: the others are its start, and are
    much faster on coarse voxels.
    """
    transform = None
    for kind, levels in zip(("Rigid", "Similarity", "Affine"), (2, 2, 4), strict=True):
        stage = _register(
            ants,
            fixed,
            moving,
            kind,
            f"{prefix}{kind}_",
            initial_transform=transform,
            aff_iterations=(200, 200, 100, 10)[:levels],
            aff_shrink_factors=(6, 4, 2, 1)[:levels],
            aff_smoothing_sigmas=(3, 2, 1, 0)[:levels],
        )
        transform = stage["fwdtransforms"][0]
    return transform


def coarse(ants, template):
    """Return a template at 4 mm, on which a registration is much faster."""
    return ants.resample_image(template, (4.0, 4.0, 4.0))


def _write(image, folder, name, kind="float"):
    """Write an ANTs image into a node's folder."""
    path = str(Path(folder, name))
    image.clone(kind).to_filename(path)
    return check_written(path)
