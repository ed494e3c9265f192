"""Estimate one linear transform per volume by Gauss-Newton against the volume's prediction."""

from dataclasses import dataclass, field

import numpy as np

from bids_sexclf.motion.predict import fit_predictor, mean_predictor

LEVELS = ((8.0, 3), (4.0, 2), (0.0, 3))
"""Smoothing (FWHM, mm) and rounds of each level."""


@dataclass
class Pose:
    """The position of the head in one volume: ``place = stretch @ turn @ point + shift``.

    Points are in mm along the image axes, from the image's middle.

    Attributes
    ----------
    turn : ndarray, shape (3, 3)
        Rotation of the head.
    stretch : ndarray, shape (3, 3)
        Effect of eddy currents: identity except for the row of the phase-encoding axis.
    shift : ndarray, shape (3,)
        mm.
    """

    turn: np.ndarray = field(default_factory=lambda: np.eye(3))
    stretch: np.ndarray = field(default_factory=lambda: np.eye(3))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @property
    def matrix(self):
        """Reference to volume, shape (4, 4)."""
        whole = np.eye(4)
        whole[:3, :3], whole[:3, 3] = self.stretch @ self.turn, self.shift
        return whole


def estimate_poses(
    frames, size, mask, bvals, bvecs, *, free="rigid", levels=LEVELS, order=3, run=map, poses=None
):
    """Estimate the position of the head in each volume, so that volumes predict each other.

    Parameters
    ----------
    frames : ndarray of float32, shape (N, X, Y, Z)
        Volumes of one kind: b0, or diffusion-weighted.
    size : ndarray, shape (3,)
        Voxel size, mm.
    mask : ndarray of bool, shape (X, Y, Z)
        Where volumes are compared.
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
        Along the image axes; rotated with the head between rounds.
    free : {"rigid", 0, 1, 2, "affine"}
        Degrees of freedom of a volume: rigid motion; also shear and stretch along that axis (the
        phase-encoding one, as eddy currents cause); or any affine transform.
    levels : sequence of (float, int)
        Smoothing (FWHM, mm) and rounds.
    order : {1, 3}
        Interpolation while searching: linear, or cubic splines.
    run : callable
        A ``map`` that may use threads.
    poses : list of Pose, optional
        Where to start.

    Returns
    -------
    list of Pose
        Determined up to one transform that all volumes share.
    """
    poses = poses or [Pose() for _ in frames]
    weighted = bool((bvals > 0).all())
    grid = _grid(mask.shape, size)
    for fwhm, rounds in levels:
        smooth = list(run(lambda frame, width=fwhm: _smooth(frame, width, size, order), frames))
        for _ in range(rounds):
            resampled = list(
                run(lambda job: _look(*job, size, order), zip(smooth, poses, strict=True))
            )
            resampled = np.stack(resampled)
            inside = resampled[:, mask]
            if weighted:
                turned = np.stack([pose.turn.T @ g for pose, g in zip(poses, bvecs, strict=True)])
                predictor = fit_predictor(inside @ inside.T, bvals, turned)
            else:
                predictor = mean_predictor(len(frames))
            jobs = zip(predictor.astype(np.float32), inside, poses, strict=True)
            poses = list(
                run(
                    lambda job, resampled=resampled: _step(*job, resampled, grid, mask, size, free),
                    jobs,
                )
            )
    return poses


def _grid(shape, size):
    """Return the position of every voxel relative to the middle, mm, shape (3, X, Y, Z)."""
    axes = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * s for n, s in zip(shape, size, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _smooth(frame, fwhm, size, order):
    """Smooth a volume and return its spline coefficients."""
    from scipy.ndimage import gaussian_filter, spline_filter

    if fwhm:
        frame = gaussian_filter(frame, fwhm / 2.3548 / size)
    if order == 1:
        return frame
    return spline_filter(frame, order=order, output=np.float32, mode="nearest")


def _look(coefficients, pose, size, order):
    """Resample a volume at its pose."""
    from scipy.ndimage import affine_transform

    middle = (np.array(coefficients.shape) - 1) / 2
    linear = (pose.stretch @ pose.turn) * size / size[:, None]
    offset = middle + pose.shift / size - linear @ middle
    return affine_transform(
        coefficients,
        linear,
        offset,
        output=np.float32,
        order=order,
        prefilter=False,
        mode="nearest",
    )


def _step(weights, observed, pose, resampled, grid, mask, size, free):
    """Update the pose of one volume by one Gauss-Newton step towards its prediction."""
    prediction = np.tensordot(weights, resampled, axes=1)
    slope = np.stack([g[mask] for g in np.gradient(prediction, *size)])
    columns = _columns(pose, slope, grid[:, mask], free)
    expected = prediction[mask]
    # A volume may be brighter as a whole than its prediction.
    design = np.vstack([columns, expected[None]])
    difference = expected - observed
    width = 1.4826 * np.median(np.abs(difference)) + 1e-6
    trust = 1 / (1 + (difference / (3 * width)) ** 2)
    weighted = design * trust
    normal = weighted @ design.T
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-12))
    normal = normal / np.outer(scale, scale) + 1e-6 * np.eye(len(scale))
    change = np.linalg.solve(normal, weighted @ difference / scale) / scale
    # The other volumes move as well: with full steps, two volumes would exchange their positions.
    return _moved(pose, change[:-1] * (1 - 1 / len(resampled)), free)


def _columns(pose, slope, place, free):
    """Return the change of the resampled volume with each parameter of its pose."""
    linear = pose.stretch @ pose.turn
    slope = np.linalg.inv(linear).T @ slope
    if free == "affine":
        return np.vstack([slope, (slope[:, None] * place[None]).reshape(9, -1)])
    turned = pose.turn @ place
    columns = [slope, np.cross(turned, pose.stretch.T @ slope, axis=0)]
    if free != "rigid":
        columns.append(slope[free] * turned)
    return np.vstack(columns)


def _moved(pose, change, free):
    """Add a change of parameters to a pose."""
    from scipy.spatial.transform import Rotation

    shift = pose.shift + change[:3]
    if free == "affine":
        linear = pose.stretch @ pose.turn + change[3:12].reshape(3, 3)
        left, stretched, right = np.linalg.svd(linear)
        return Pose(left @ right, left * stretched @ left.T, shift)
    turn = Rotation.from_rotvec(change[3:6]).as_matrix() @ pose.turn
    stretch = pose.stretch.copy()
    if free != "rigid":
        stretch[free] += change[6:9]
    return Pose(turn, stretch, shift)
