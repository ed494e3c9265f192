"""The field between two scans whose phase was encoded in opposite directions.

An offset of the field moves signal along the phase-encoding axis, in opposite directions in the
two scans, and compresses or stretches it. The estimated field is the one that makes the two scans
alike after unwarping. Gauss-Newton steps from coarse to fine estimate it, in turn with the rigid
motion between the scans.
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.errors import InputError

LEVELS = ((10.0, 12.0, 2.0), (7.0, 6.0, 0.7), (4.0, 6.0, 0.2), (2.0, 3.0, 0.07), (0.0, 3.0, 0.02))
"""Coarse to fine: smoothing of the scans (full width at half maximum, mm), spacing of the field's
nodes (mm; at least one voxel), weight of the field's roughness."""

PARALLEL = 0.9
"""Least cosine between the phase axes of two scans that one displacement can explain."""


@dataclass(frozen=True)
class Scan:
    """A b0 volume and how its phase was encoded.

    Attributes
    ----------
    array : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    axis : int
        Phase-encoding axis of the array.
    readout : float
        Total readout time, s, or any common multiple of it in both scans; negative where the
        phase was encoded against the axis.
    """

    array: np.ndarray
    affine: np.ndarray
    axis: int
    readout: float

    @property
    def size(self):
        """Voxel size, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def estimate_shift(first, second, *, motion=True, levels=LEVELS, steps=5):
    """Estimate the shift and the motion that make two oppositely encoded scans alike.

    Parameters
    ----------
    first, second : Scan
        Of one head, phase axes parallel in the world. Grids may differ.
    motion : bool
        Estimate also the rigid motion between the scans, without the shift along the phase axis,
        which is equivalent to a constant field.
    levels : sequence of (float, float, float)
        As `LEVELS`.
    steps : int
        Most Gauss-Newton steps per level.

    Returns
    -------
    shift : ndarray, shape of the first scan
        Voxels along the first scan's phase axis: the signal of ``v`` appears at ``v + shift``.
    motion : ndarray, shape (4, 4)
        World to world, mm: maps points of the first scan to the second.

    Raises
    ------
    InputError
        If the scans were not encoded in opposite directions, or hold no signal.

    Notes
    -----
    Minimises the sum of squared differences of the two unwarped, Jacobian-modulated scans plus the
    squared Laplacian of the displacement. Written from the papers, with neither topup's splines
    nor HySCO's bound on the Jacobian.

    References
    ----------
    Andersson et al. 2003, doi:10.1016/S1053-8119(03)00336-7. Ruthotto et al. 2012,
    doi:10.1088/0031-9155/57/18/5715.
    """
    first_axis, second_axis = (
        scan.affine[:3, scan.axis] * scan.readout for scan in (first, second)
    )
    cosine = (
        first_axis
        @ second_axis
        / max(np.linalg.norm(first_axis) * np.linalg.norm(second_axis), 1e-12)
    )
    if cosine > -PARALLEL:
        raise InputError(
            f"Found two scans whose phase-encoding directions have a cosine of {cosine:.2f}, "
            "needed opposite directions (-1). Check PhaseEncodingDirection in the sidecars."
        )
    pair, field, pose = _Pair(first, second), None, np.zeros(6)
    for width, spacing, rough in levels:
        level = _Level(pair, width, spacing, rough)
        field = level.start(field)
        for _ in range(steps):
            if motion:
                pose = level.turn(field, pose)
            field, settled = level.step(field, pose)
            if settled:
                break
        field = level.full(field)
    return pair.moves[0] * field, pair.motion(pose)


def unwarp_second(first, second, shift, motion):
    """Unwarp the second scan onto the first one's grid.

    Parameters
    ----------
    first, second : Scan
    shift : ndarray, shape of the first scan
    motion : ndarray, shape (4, 4)
        As `estimate_shift` returns them.

    Returns
    -------
    ndarray, shape of the first scan
        Jacobian-modulated.
    """
    from scipy import ndimage

    field = shift * (second.readout / first.readout)
    route = np.linalg.inv(second.affine) @ motion @ first.affine
    places = (
        np.tensordot(route[:3, :3], np.indices(shift.shape), 1) + route[:3, 3, None, None, None]
    )
    places[second.axis] += field
    slope = np.linalg.inv(route)[first.axis, second.axis] * np.gradient(field, axis=first.axis)
    return ndimage.map_coordinates(second.array, places, order=1, mode="nearest") * (1 + slope)


def carry_shift(first, second, shift, motion):
    """Compute the shift of the second scan from that of the first: both have one field.

    Parameters
    ----------
    first, second : Scan
    shift : ndarray, shape of the first scan
    motion : ndarray, shape (4, 4)
        As `estimate_shift` returns them.

    Returns
    -------
    ndarray, shape of the second scan
        Voxels along the second scan's phase axis.
    """
    from scipy import ndimage

    back = np.linalg.inv(first.affine) @ np.linalg.inv(motion) @ second.affine
    field = shift * (second.readout / first.readout)
    return ndimage.affine_transform(
        field, back[:3, :3], back[:3, 3], second.array.shape, order=1, mode="nearest"
    )


class _Pair:
    """Two scans of one intensity scale, and the transforms between their voxels."""

    def __init__(self, first, second, inside=None):
        self.inside = np.ones(first.array.shape) if inside is None else inside
        self.scans, self.size = (first, second), first.size
        # Voxels by which each scan shows a displacement of one voxel, the first's readout taken
        # as positive.
        self.moves = [np.sign(first.readout), second.readout / abs(first.readout)]
        self.arrays = [_scaled(scan.array) for scan in self.scans]
        weight = self.arrays[0] / self.arrays[0].sum()
        voxel = np.array([(weight * axis).sum() for axis in np.indices(weight.shape)])
        self.centre = first.affine[:3, :3] @ voxel + first.affine[:3, 3]
        # Motion is expressed along the first scan's axes, so that the phase axis can be left out.
        self.axes = first.affine[:3, :3] / self.size
        self.free = [k for k in range(6) if k != 3 + first.axis]

    def motion(self, pose):
        """Return the rigid motion of three angles (rad) and three shifts (mm) about the centre."""
        from scipy.spatial.transform import Rotation

        turn, matrix = Rotation.from_rotvec(pose[:3]).as_matrix(), np.eye(4)
        matrix[:3, :3] = self.axes @ turn @ np.linalg.inv(self.axes)
        matrix[:3, 3] = self.centre + self.axes @ pose[3:] - matrix[:3, :3] @ self.centre
        return matrix

    def route(self, index, pose):
        """Return the transform from voxels of the first scan to those of one of the two."""
        first, second = self.scans
        if index == 0:
            return np.eye(4)
        return np.linalg.inv(second.affine) @ self.motion(pose) @ first.affine


class _Level:
    """One level of the pyramid: smoothed scans, the nodes of the field, and its update steps."""

    def __init__(self, pair, width, spacing, rough):
        from scipy import ndimage

        self.pair, self.axis = pair, pair.scans[0].axis
        self.volumes, self.slopes = [], []
        for scan, array in zip(pair.scans, pair.arrays, strict=True):
            volume = ndimage.gaussian_filter(array, width / 2.3548 / scan.size) if width else array
            self.volumes.append(volume)
            self.slopes.append(np.gradient(volume, axis=scan.axis))
        self.stride = np.maximum(1, np.round(spacing / pair.size)).astype(int)
        ticks = [
            np.arange(0, n, s, dtype=float)
            for n, s in zip(pair.scans[0].array.shape, self.stride, strict=True)
        ]
        self.shape = tuple(len(t) for t in ticks)
        self.points = np.stack(np.meshgrid(*ticks, indexing="ij")).reshape(3, -1)
        self.inside = pair.inside[tuple(self.points.astype(int))]
        self.along = _on_axis(self.shape, self.axis, _first_difference) / self.stride[self.axis]
        step = pair.size * self.stride
        laplacian = sum(
            _on_axis(self.shape, k, _second_difference) / step[k] ** 2 for k in range(3)
        )
        self.rough = (laplacian.T @ laplacian) * (rough * pair.size[self.axis] ** 2)

    def start(self, field):
        """Resample a field from the grid of the first scan to the nodes of this level."""
        if field is None:
            return np.zeros(self.points.shape[1])
        return field[tuple(self.points.astype(int))]

    def full(self, field):
        """Resample a field from the nodes of this level to the grid of the first scan."""
        from scipy import ndimage

        shape = self.pair.scans[0].array.shape
        grid = np.indices(shape) / self.stride[:, None, None, None]
        order = 3 if self.stride.max() > 1 else 1
        return ndimage.map_coordinates(field.reshape(self.shape), grid, order=order, mode="nearest")

    def look(self, index, field, pose, *volumes):
        """Interpolate a scan's volumes at the positions to which the field moves its signal.

        Return their values, and the factor of the field's derivative in the Jacobian.
        """
        from scipy import ndimage

        route, axis = self.pair.route(index, pose), self.pair.scans[index].axis
        places = route[:3, :3] @ self.points + route[:3, 3:]
        places[axis] += self.pair.moves[index] * field
        values = [
            ndimage.map_coordinates(volume[index], places, order=1, mode="nearest")
            for volume in volumes
        ]
        return *values, self.pair.moves[index] * np.linalg.inv(route)[self.axis, axis]

    def residual(self, field, pose):
        """Return the difference of the two unwarped scans."""
        squeeze = self.along @ field
        (first_value, first), (second_value, second) = (
            self.look(k, field, pose, self.volumes) for k in range(2)
        )
        return self.inside * (
            first_value * (1 + first * squeeze) - second_value * (1 + second * squeeze)
        )

    def cost(self, field, pose):
        """Return the cost: squared difference of the scans plus roughness of the field."""
        residual = self.residual(field, pose)
        return (residual @ residual + field @ (self.rough @ field)) / 2

    def turn(self, field, pose):
        """Take one Gauss-Newton step of the rigid motion."""
        residual, free = self.residual(field, pose), self.pair.free
        small = np.array([1e-3] * 3 + [0.05] * 3)
        slopes = np.stack(
            [(self.residual(field, pose + small * (np.arange(6) == k)) - residual) for k in free], 1
        )
        change = np.linalg.lstsq(slopes, -residual, rcond=1e-6)[0] * small[free]
        moved = pose.copy()
        moved[free] += change
        return moved if self.cost(field, moved) < self.cost(field, pose) else pose

    def step(self, field, pose):
        """Take one Gauss-Newton step of the field; return whether it has converged."""
        from scipy import sparse
        from scipy.sparse.linalg import cg

        squeeze, before = self.along @ field, self.cost(field, pose)
        (first_value, left, first), (second_value, right, second) = (
            self.look(k, field, pose, self.volumes, self.slopes) for k in range(2)
        )
        residual = first_value * (1 + first * squeeze) - second_value * (1 + second * squeeze)
        residual, weight = self.inside * residual, sparse.diags(self.inside)
        moves = self.pair.moves
        value = moves[0] * left * (1 + first * squeeze) - moves[1] * right * (1 + second * squeeze)
        slope = (
            sparse.diags(value)
            + sparse.diags(first * first_value - second * second_value) @ self.along
        )
        slope = weight @ slope
        normal = (slope.T @ slope + self.rough).tocsr()
        scale = sparse.diags(1 / np.maximum(normal.diagonal(), 1e-9))
        downhill = -(slope.T @ residual + self.rough @ field)
        change, _ = cg(normal, downhill, rtol=0.1, maxiter=80, M=scale)
        for part in (1.0, 0.5, 0.25, 0.125):
            after = self.cost(field + part * change, pose)
            if after < before:
                return field + part * change, (before - after) < 5e-3 * before
        return field, True


def _scaled(array):
    """Scale a volume so that bright voxels have the value 1."""
    array = np.nan_to_num(np.asarray(array, dtype=np.float64)).clip(0)
    top = np.percentile(array, 98)
    if not top > 0:
        raise InputError(
            "Found a b0 volume without signal, needed a head. Look at the b0 volumes of both "
            "phase-encoding directions."
        )
    return array / top


def _first_difference(count):
    """Return the matrix of central differences, one-sided at the ends."""
    from scipy import sparse

    matrix = sparse.diags([-0.5, 0.5], [-1, 1], shape=(count, count)).tolil()
    matrix[0, 0], matrix[0, 1], matrix[-1, -1], matrix[-1, -2] = -1, 1, 1, -1
    return matrix


def _second_difference(count):
    """Return the matrix of second differences, with slopes of zero at the ends."""
    from scipy import sparse

    matrix = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(count, count)).tolil()
    matrix[0, 0] = matrix[-1, -1] = -1
    return matrix


def _on_axis(shape, axis, make):
    """Return the matrix of a difference along one axis, for the whole grid."""
    from scipy import sparse

    parts = [make(n) if k == axis else sparse.identity(n) for k, n in enumerate(shape)]
    return sparse.kron(sparse.kron(parts[0], parts[1]), parts[2], format="csr")
