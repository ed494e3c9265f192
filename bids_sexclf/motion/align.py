"""Align a series: b0 volumes with each other, weighted ones with each other, then both sets."""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.diffusion import find_shells
from bids_sexclf.diffusion.scheme import B0_THRESHOLD, find_b0
from bids_sexclf.motion.estimate import LEVELS, estimate_poses
from bids_sexclf.motion.geometry import image_axes, image_centre, rotation_part
from bids_sexclf.motion.resample import resample_volume
from bids_sexclf.volumes import series_gb

SLOPPY = ((8.0, 2), (4.0, 1))
"""Smoothing (FWHM, mm) and rounds of a coarse estimate, for tests: by linear interpolation, on
every other voxel along each axis."""

SMALLEST_GROUP = 6
"""Weighted volumes whose mean is registered with the mean b0; smaller shells join a neighbour."""

FINEST = 2.5
"""Voxels, mm, on which motion is estimated: smaller ones are averaged to at most this size."""


@dataclass(frozen=True)
class Alignment:
    """One transform per volume.

    Attributes
    ----------
    matrices : ndarray, shape (N, 4, 4)
        From the reference (the first b0) to each volume, world to world, mm.
    rotations : ndarray, shape (N, 3, 3)
        The rotations of the head among them, in world space.
    """

    matrices: np.ndarray
    rotations: np.ndarray


def coarsen(shape, affine):
    """Choose how many voxels to average along each axis before motion is estimated.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray, shape (4, 4)

    Returns
    -------
    factors : tuple of int
    affine : ndarray, shape (4, 4)
        Of the averaged volume.

    Examples
    --------
    >>> coarsen((144, 174, 144), np.diag([1.25, 1.25, 1.25, 1]))[0]
    (2, 2, 2)
    """
    size = np.linalg.norm(affine[:3, :3], axis=0)
    factors = tuple(
        int(max(1, min(np.floor(FINEST / s + 1e-3), n // 8)))
        for n, s in zip(shape, size, strict=False)
    )
    wider = np.diag([*factors, 1.0])
    wider[:3, 3] = (np.array(factors) - 1) / 2
    return factors, affine @ wider


def motion_gb(path):
    """Compute the memory that the motion estimate of a series needs, GB, from its header.

    Five copies of the series are in memory, on the averaged voxels of `coarsen`.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        factors, _ = coarsen(image.shape[:3], image.affine)
    except Exception:  # a damaged header is reported when the series is read
        factors = (1,)
    return 5 * series_gb(path) / float(np.prod(factors))


def average_blocks(volume, factors):
    """Average blocks of voxels; leave out incomplete blocks at the far edge."""
    n_blocks = [n // f for n, f in zip(volume.shape, factors, strict=True)]
    cut = volume[tuple(slice(0, n * f) for n, f in zip(n_blocks, factors, strict=True))]
    (x, y, z), (a, b, c) = n_blocks, factors
    return cut.reshape(x, a, y, b, z, c).mean(axis=(1, 3, 5))


def align_series(
    frames,
    affine,
    mask,
    bvals,
    bvecs,
    tie,
    *,
    free="rigid",
    sloppy=False,
    run=map,
    b0_threshold=B0_THRESHOLD,
):
    """Estimate one transform per volume of a diffusion series.

    b0 volumes are registered with their mean and each weighted volume with its
    prediction from all others, by Gauss-Newton; then the mean of each group of
    weighted volumes with the mean b0, by `tie`.

    Parameters
    ----------
    frames : ndarray of float32, shape (N, X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world.
    mask : ndarray of bool, shape (X, Y, Z)
        Head, with some room to move.
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
        As FSL writes them.
    tie : callable
        ``tie(mean_b0, mean_of_group)`` returns a rigid matrix, shape (4, 4), from the first to
        the second, world to world.
    free : {"rigid", 0, 1, 2, "affine"}
        The model of eddy currents in weighted volumes; see `estimate.estimate_poses`.
    sloppy : bool
    run : callable
        A ``map`` that may use threads.
    b0_threshold : float
        s/mm².

    Returns
    -------
    Alignment
        It does not depend on the number of threads.
    """
    axes, centre = image_axes(affine), image_centre(mask.shape, affine)
    size = np.linalg.norm(affine[:3, :3], axis=0)
    along = bvecs * ([-1, 1, 1] if np.linalg.det(axes) > 0 else [1, 1, 1])
    low = find_b0(bvals, b0_threshold)
    bvals = np.where(low, 0.0, bvals)
    options = {"levels": LEVELS, "order": 3, "run": run}
    if sloppy:
        options |= {"levels": SLOPPY, "order": 1}
        mask = _every_other(mask)
    matrices = np.repeat(np.eye(4)[None], len(bvals), axis=0)
    rotations = np.repeat(np.eye(3)[None], len(bvals), axis=0)
    for chosen, kind in ((low, "rigid"), (~low, free)):
        if chosen.sum() < 2:
            continue
        poses = estimate_poses(
            frames[chosen], size, mask, bvals[chosen], along[chosen], free=kind, **options
        )
        for index, pose in zip(np.flatnonzero(chosen), poses, strict=True):
            matrices[index] = _to_world(pose.matrix, axes, centre)
            rotations[index] = axes @ pose.turn @ axes.T
    first = np.flatnonzero(low)[0]
    _follow(matrices, rotations, low, np.linalg.inv(matrices[first]), rotations[first].T)

    def mean(members):
        moved = (
            resample_volume(frames[i], affine, matrices[i], order=options["order"]) for i in members
        )
        return sum(moved) / len(members)

    b0 = mean(np.flatnonzero(low))
    for members in groups(bvals):
        moved = tie(b0, mean(members))
        _follow(matrices, rotations, members, moved, rotation_part(moved[:3, :3]))
    return Alignment(matrices, rotations)


def _every_other(mask):
    """Keep every other voxel of a mask along each axis."""
    thin = np.zeros_like(mask)
    thin[::2, ::2, ::2] = mask[::2, ::2, ::2]
    return thin


def groups(bvals):
    """Group weighted volumes by b-value; join groups that are too small for a mean.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm²; b0 volumes are in no group.

    Returns
    -------
    list of ndarray of int
        Indices of volumes.

    Examples
    --------
    >>> [len(group) for group in groups(np.repeat([0, 300, 1000, 2000], [2, 3, 8, 8]))]
    [11, 8]
    """
    shells = [members for _, members in find_shells(bvals)]
    joined = []
    for members in shells:
        if joined and min(len(joined[-1]), len(members)) < SMALLEST_GROUP:
            joined[-1] = np.concatenate([joined[-1], members])
        else:
            joined.append(members)
    return joined


def _to_world(matrix, axes, centre):
    """Convert a transform along image axes about the middle to world space."""
    world = np.eye(4)
    world[:3, :3] = axes @ matrix[:3, :3] @ axes.T
    world[:3, 3] = centre + axes @ matrix[:3, 3] - world[:3, :3] @ centre
    return world


def _follow(matrices, rotations, members, matrix, rotation):
    """Compose a transform with those of some volumes, in place."""
    matrices[members] = matrices[members] @ matrix
    rotations[members] = rotations[members] @ rotation
