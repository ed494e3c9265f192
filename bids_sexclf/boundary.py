"""Boundary-based alignment: estimate pose and distortion of a b0 by the border of white matter.

On a b0, grey matter is brighter than white matter. A T1w shows the border between the two; the b0
is aligned where its signal rises across that border all over the brain. Other voxels do not count,
so a b0 that ends inside the head or has lost its frontal pole can still be aligned.

References
----------
Greve and Fischl 2009, doi:10.1016/j.neuroimage.2009.06.060.
"""

from dataclasses import dataclass

import numpy as np

COUNT = 10_000
"""Number of points of the border."""

STEP = 2.0
"""Distance from the border at which both tissues are sampled, mm."""

STEEP = 0.01
"""Slope of the cost per percent of contrast; small, so that no single point decides."""

SILENT = 0.97
"""Cost above which a b0 does not show the border; 1 is the cost without contrast."""

REACH = 8.0
"""Largest change of a pose from its start, mm and degrees."""

WAVES = ((3.0, 4.0, 120.0), (2.0, 2.0, 80.0))
"""Levels of the search for a shift: distance from the border (mm), smoothing of the b0 (full width
at half maximum, mm), shortest wavelength of the shift (mm)."""

STIFF = 1e-4
"""Weight of the shift's bending, lengths counted in 100 mm and the shift in voxels."""


@dataclass(frozen=True)
class Border:
    """Points on the border of white matter.

    Attributes
    ----------
    points : ndarray, shape (n, 3)
        World, mm.
    normals : ndarray, shape (n, 3)
        Unit vectors from white to grey matter.
    """

    points: np.ndarray
    normals: np.ndarray

    @property
    def centre(self):
        """Middle of all points, shape (3,), mm."""
        return self.points.mean(0)


def find_border(t1w, affine, count=COUNT):
    """Find the border of white matter in a T1w.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
        Brain, 0 outside; free of its bias field.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    count : int
        Most points; drawn evenly from all, always the same ones.

    Returns
    -------
    Border or None
        None where three tissues cannot be separated.
    """
    from scipy import ndimage
    from skimage.filters import threshold_multiotsu
    from skimage.measure import marching_cubes

    inside, size = t1w > 0, np.linalg.norm(affine[:3, :3], axis=0)
    if np.unique(t1w[inside][:10_000]).size < 3:
        return None
    values = np.clip(t1w[inside], *np.percentile(t1w[inside], [0.5, 99.5]))
    white = threshold_multiotsu(values, 3)[1]
    # The rim of the mask is bright dura, and its edge is not a border of tissues.
    core = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=size)[1:-1, 1:-1, 1:-1] > 8
    smooth = ndimage.gaussian_filter(t1w, 1.4 / size)
    if not smooth[core].size or not smooth[core].min() < white < smooth[core].max():
        return None
    places = marching_cubes(ndimage.gaussian_filter(t1w, 1.0 / size), white, mask=core)[0]
    slopes = [
        ndimage.map_coordinates(slope, places.T, order=1) / step
        for slope, step in zip(np.gradient(smooth), size, strict=True)
    ]
    normals = -np.stack(slopes, 1) @ (affine[:3, :3] / size).T
    length = np.linalg.norm(normals, axis=1)
    # Where the T1w has no gradient, the border is undefined.
    chosen = np.flatnonzero(length > np.percentile(length, 20))
    chosen = np.random.default_rng(0).permutation(chosen)[:count]
    points = places[chosen] @ affine[:3, :3].T + affine[:3, 3]
    return Border(points, normals[chosen] / length[chosen, None])


def border_cost(b0, affine, border, matrix, step=STEP):
    """Compute the boundary-based cost of a b0.

    Parameters
    ----------
    b0 : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    border : Border
    matrix : ndarray, shape (4, 4)
        Maps the points of the border to the b0, world to world, mm.
    step : float
        mm.

    Returns
    -------
    float
        In (0, 2): below 1 where grey matter is brighter than white; points outside the b0 count
        as 1.
    """
    from scipy import ndimage

    values, visible = [], True
    for places in _both_sides(border, np.linalg.inv(affine) @ matrix, step):
        visible = visible & _inside(places, b0.shape)
        values.append(ndimage.map_coordinates(b0, places.T, order=1, mode="nearest"))
    return float(np.where(visible, _cost(*values)[0], 1).mean())


def find_pose(b0, affine, border, starts):
    """Estimate the rigid motion with the least boundary-based cost.

    Parameters
    ----------
    b0 : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    border : Border
    starts : list of ndarray, shape (4, 4)
        World to world; each is searched around, within `REACH`.

    Returns
    -------
    matrix : ndarray, shape (4, 4)
        Maps the points of the border to the b0, world to world, mm.
    cost : float
        As `border_cost` returns it; above `SILENT` the pose is meaningless.
    """
    from scipy.optimize import minimize

    best, least_cost = None, np.inf
    for start in starts:
        fit = minimize(
            lambda pose, start=start: border_cost(
                b0, affine, border, _motion(pose, border.centre, start)
            ),
            np.zeros(6),
            method="Powell",
            bounds=[(-REACH, REACH)] * 6,
            options={"xtol": 0.01, "ftol": 1e-5, "maxiter": 20},
        )
        if fit.fun < least_cost:
            best, least_cost = _motion(fit.x, border.centre, start), float(fit.fun)
    return best, least_cost


def hold_axis(matrix, start, centre, direction):
    """Remove the motion of the centre along one axis from a rigid motion.

    Distortion shifts the whole brain along the phase-encoding axis. A pose that follows it would
    hide this part of the shift.

    Parameters
    ----------
    matrix, start : ndarray, shape (4, 4)
        World to world.
    centre : ndarray, shape (3,)
    direction : ndarray, shape (3,)
        Unit vector, where `matrix` leads to.

    Returns
    -------
    ndarray, shape (4, 4)
        Moves the centre along the axis as `start` does.
    """
    moved = (matrix - start)[:3] @ np.append(centre, 1)
    corrected = matrix.copy()
    corrected[:3, 3] -= direction * (moved @ direction)
    return corrected


def find_shift(b0, affine, border, matrix, axis, *, levels=WAVES, stiff=STIFF):
    """Estimate the smooth shift along one axis with the least boundary-based cost.

    Parameters
    ----------
    b0 : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    border : Border
    matrix : ndarray, shape (4, 4)
        Carries the border's points to the undistorted b0, world to world.
    axis : int
        Of the array: along it the phase was encoded.
    levels : sequence of (float, float, float)
        As `WAVES`.
    stiff : float
        As `STIFF`.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        Voxels along the axis: the signal of ``v`` appears at ``v + shift``.
    """
    from scipy import ndimage
    from scipy.optimize import minimize

    size, waves = np.linalg.norm(affine[:3, :3], axis=0), np.zeros((1, 1, 1))
    length = np.array(b0.shape) * size
    for step, width, shortest in levels:
        smooth = ndimage.gaussian_filter(b0, width / 2.3548 / size)
        slope = ndimage.gaussian_filter1d(smooth, 0.5, axis=axis, order=1)
        counts = np.maximum(2 * length / shortest, 0).astype(int) + 1
        sides = list(_both_sides(border, np.linalg.inv(affine) @ matrix, step))
        visible = _inside(sides[0], b0.shape) & _inside(sides[1], b0.shape)
        sides = [side[visible] for side in sides]
        spread = [_waves(side, b0.shape, counts) for side in sides]
        bend = _bending(counts, length) * stiff
        begin = np.zeros(counts)
        begin[tuple(slice(n) for n in waves.shape)] = waves
        look = _Look(smooth, slope, axis, sides, spread, bend)
        fit = minimize(look, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 60})
        waves = fit.x.reshape(counts)
    along = [
        np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(k)) / n)
        for n, k in zip(b0.shape, waves.shape, strict=True)
    ]
    return np.einsum("xi,yj,zk,ijk->xyz", *along, waves, optimize=True)


@dataclass(frozen=True)
class _Look:
    """The cost of a shift, and its gradient with respect to the height of each wave."""

    b0: np.ndarray
    slope: np.ndarray
    axis: int
    sides: list
    spread: list
    bend: np.ndarray

    def __call__(self, waves):
        from scipy import ndimage

        values, slopes = [], []
        for side, spread in zip(self.sides, self.spread, strict=True):
            places = side.T.copy()
            places[self.axis] += spread @ waves
            for array, looked in ((self.b0, values), (self.slope, slopes)):
                looked.append(ndimage.map_coordinates(array, places, order=1, mode="nearest"))
        cost, *changes = _cost(*values)
        pull = sum(
            spread.T @ (change * slope)
            for spread, change, slope in zip(self.spread, changes, slopes, strict=True)
        )
        count = max(len(cost), 1)
        whole = cost.sum() / count + self.bend @ waves**2
        return whole, pull / count + 2 * self.bend * waves


def _cost(white, grey):
    """Return the cost of each point, and its derivatives by the signals of both tissues."""
    total = np.maximum(white + grey, 1e-6 * max(float(np.max(white + grey, initial=0)), 1e-6))
    rise = np.tanh(STEEP * 200 * (grey - white) / total)
    steep = STEEP * 400 * (1 - rise**2) / total**2
    return 1 - rise, steep * grey, -steep * white


def _both_sides(border, route, step):
    """Return the voxels on the white and on the grey side of a border, shape (n, 3) each."""
    for away in (-step, step):
        yield (border.points + away * border.normals) @ route[:3, :3].T + route[:3, 3]


def _inside(places, shape):
    return ((places >= 0) & (places <= np.array(shape) - 1)).all(1)


def _motion(pose, centre, start):
    """Return a start pose moved by shifts (mm) and rotations (degrees) about the moved centre."""
    from scipy.spatial.transform import Rotation

    middle, change = start[:3, :3] @ centre + start[:3, 3], np.eye(4)
    change[:3, :3] = Rotation.from_rotvec(np.radians(pose[3:])).as_matrix()
    change[:3, 3] = middle + pose[:3] - change[:3, :3] @ middle
    return change @ start


def _waves(places, shape, counts):
    """Return the cosine waves of a box at some of its voxels, shape (n, product of counts)."""
    along = [
        np.cos(np.pi * np.outer(places[:, k] + 0.5, np.arange(counts[k])) / shape[k])
        for k in range(3)
    ]
    return np.einsum("ni,nj,nk->nijk", *along).reshape(len(places), -1)


def _bending(counts, length):
    """Return the squared curvature of each wave, lengths in 100 mm."""
    turns = [np.pi * np.arange(k) * 100 / n for k, n in zip(counts, length, strict=True)]
    square = sum(np.meshgrid(*[turn**2 for turn in turns], indexing="ij"))
    return (square**2).ravel()
