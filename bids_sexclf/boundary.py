"""The border of white matter, and where a b0 shows it: pose and distortion found by it.

On a b0 grey matter is brighter than white. A T1w tells where the two meet; the b0 lies right where
its signal rises across that border all over the brain. What is dark, bright or missing elsewhere
does not count, so a b0 that ends inside the head or has lost its frontal pole can still be aligned.

References
----------
Greve and Fischl 2009, doi:10.1016/j.neuroimage.2009.06.060.
"""

from dataclasses import dataclass

import numpy as np

COUNT = 10_000
"""Points of the border that are looked at."""

STEP = 2.0
"""How far from the border both tissues are looked up, mm."""

STEEP = 0.01
"""How much one percent of contrast counts; shallow, so that no point is all or nothing."""

SILENT = 0.97
"""Cost above which a b0 does not show the border: 1 is what no contrast at all costs."""

REACH = 8.0
"""Furthest that a pose is moved from its start, mm and degrees."""

WAVES = ((3.0, 4.0, 120.0), (2.0, 2.0, 80.0))
"""Levels of the search for a shift: distance from the border (mm), smoothing of the b0 (full width
at half maximum, mm), shortest wavelength of the shift (mm)."""

STIFF = 1e-4
"""Weight of the shift's bending, lengths counted in 100 mm and the shift in voxels."""


@dataclass(frozen=True)
class Border:
    """Points where white matter ends.

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
    """Find where a T1w's white matter ends.

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
        None where there are no three tissues to be told apart.
    """
    from scipy import ndimage
    from skimage.filters import threshold_multiotsu
    from skimage.measure import marching_cubes

    inside, size = t1w > 0, np.linalg.norm(affine[:3, :3], axis=0)
    if np.unique(t1w[inside][:10_000]).size < 3:
        return None
    values = np.clip(t1w[inside], *np.percentile(t1w[inside], [0.5, 99.5]))
    white = threshold_multiotsu(values, 3)[1]
    # The rim of the mask is bright dura, and its edge no border of tissues.
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
    # Where the T1w is flat the border runs anywhere.
    kept = np.flatnonzero(length > np.percentile(length, 20))
    kept = np.random.default_rng(0).permutation(kept)[:count]
    points = places[kept] @ affine[:3, :3].T + affine[:3, 3]
    return Border(points, normals[kept] / length[kept, None])


def border_cost(b0, affine, border, matrix, step=STEP):
    """Say how badly a b0 shows a border.

    Parameters
    ----------
    b0 : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    border : Border
    matrix : ndarray, shape (4, 4)
        Carries the border's points to the b0, world to world.
    step : float
        mm.

    Returns
    -------
    float
        In (0, 2): below 1 where grey matter is brighter than white; points that the b0 does not
        show count as 1.
    """
    from scipy import ndimage

    values, seen = [], True
    for places in _both_sides(border, np.linalg.inv(affine) @ matrix, step):
        seen = seen & _inside(places, b0.shape)
        values.append(ndimage.map_coordinates(b0, places.T, order=1, mode="nearest"))
    return float(np.where(seen, _cost(*values)[0], 1).mean())


def find_pose(b0, affine, border, starts):
    """Find the rigid motion by which a b0 shows a border best.

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
        Carries the border's points to the b0, world to world.
    cost : float
        As of `border_cost`; above `SILENT` the pose means nothing.
    """
    from scipy.optimize import minimize

    best, least = None, np.inf
    for start in starts:
        found = minimize(
            lambda pose, start=start: border_cost(
                b0, affine, border, _motion(pose, border.centre, start)
            ),
            np.zeros(6),
            method="Powell",
            bounds=[(-REACH, REACH)] * 6,
            options={"xtol": 0.01, "ftol": 1e-5, "maxiter": 20},
        )
        if found.fun < least:
            best, least = _motion(found.x, border.centre, start), float(found.fun)
    return best, least


def hold_axis(matrix, start, centre, direction):
    """Take back what a rigid motion moved the middle along one axis.

    Distortion shifts a whole brain along the phase-encoding axis: a pose that follows it would
    leave that part out of the shift.

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
        Moves the centre along the axis as far as `start` does.
    """
    moved = (matrix - start)[:3] @ np.append(centre, 1)
    held = matrix.copy()
    held[:3, 3] -= direction * (moved @ direction)
    return held


def find_shift(b0, affine, border, matrix, axis, *, levels=WAVES, stiff=STIFF):
    """Find the smooth shift along one axis by which a b0 shows a border best.

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
        Voxels along the axis: what lies at ``v`` shows at ``v + shift``.
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
        seen = _inside(sides[0], b0.shape) & _inside(sides[1], b0.shape)
        sides = [side[seen] for side in sides]
        spread = [_waves(side, b0.shape, counts) for side in sides]
        bend = _bending(counts, length) * stiff
        begin = np.zeros(counts)
        begin[tuple(slice(n) for n in waves.shape)] = waves
        look = _Look(smooth, slope, axis, sides, spread, bend)
        found = minimize(look, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 60})
        waves = found.x.reshape(counts)
    along = [
        np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(k)) / n)
        for n, k in zip(b0.shape, waves.shape, strict=True)
    ]
    return np.einsum("xi,yj,zk,ijk->xyz", *along, waves, optimize=True)


@dataclass(frozen=True)
class _Look:
    """The cost of a shift, and how it changes with the height of each wave."""

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
    """Give the cost of each point, and its change with the signal of either tissue."""
    both = np.maximum(white + grey, 1e-6 * max(float(np.max(white + grey, initial=0)), 1e-6))
    rise = np.tanh(STEEP * 200 * (grey - white) / both)
    steep = STEEP * 400 * (1 - rise**2) / both**2
    return 1 - rise, steep * grey, -steep * white


def _both_sides(border, route, step):
    """Give the voxels on the white and on the grey side of a border, shape (n, 3) each."""
    for away in (-step, step):
        yield (border.points + away * border.normals) @ route[:3, :3].T + route[:3, 3]


def _inside(places, shape):
    return ((places >= 0) & (places <= np.array(shape) - 1)).all(1)


def _motion(pose, centre, start):
    """Move a start by shifts (mm) and turns (degrees) about where it leads the centre."""
    from scipy.spatial.transform import Rotation

    middle, change = start[:3, :3] @ centre + start[:3, 3], np.eye(4)
    change[:3, :3] = Rotation.from_rotvec(np.radians(pose[3:])).as_matrix()
    change[:3, 3] = middle + pose[:3] - change[:3, :3] @ middle
    return change @ start


def _waves(places, shape, counts):
    """Give the cosine waves of a box at some of its voxels, shape (n, product of counts)."""
    along = [
        np.cos(np.pi * np.outer(places[:, k] + 0.5, np.arange(counts[k])) / shape[k])
        for k in range(3)
    ]
    return np.einsum("ni,nj,nk->nijk", *along).reshape(len(places), -1)


def _bending(counts, length):
    """Give the squared curvature of each wave, lengths in 100 mm."""
    turns = [np.pi * np.arange(k) * 100 / n for k, n in zip(counts, length, strict=True)]
    square = sum(np.meshgrid(*[turn**2 for turn in turns], indexing="ij"))
    return (square**2).ravel()
