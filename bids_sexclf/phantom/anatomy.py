"""Draw each participant's head as a deformed template head, and sample it on a scan grid.

Three frames, all in mm. *Template*: MNI152 world coordinates. *Gantry*: along the axes of
the scan, origin in the middle of the field of view. *World*: coordinates of the NIfTI header:
the gantry rotated slightly, so that scans are oblique.
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.lobes import assign_lobes
from bids_sexclf.phantom.population import MEAN_BRAIN_ML, has_twin, mix_twins, streams
from bids_sexclf.phantom.template import HEAD_MM, HEAD_ORIGIN_MM, HEAD_SHAPE

FIELD_OF_VIEW_MM = (176.0, 208.0, 192.0)
CENTRE_MM = (0.0, -16.0, -1.0)
"""Template point that lies in the middle of the field of view, before the head moves."""

KNOT_MM = 30.0
KNOT_SD_MM = 5.5
KNOT_MAX_MM = KNOT_MM / 2.48
"""Uniform cubic B-splines whose coefficients stay below spacing / 2.48 are injective [1]_.

References
----------
.. [1] Choi & Lee (2000), Graphical Models 62:411-427. doi:10.1006/gmod.2000.0531
"""

POSE_SD_MM, POSE_SD_DEG, OBLIQUE_DEG = 2.0, 2.5, 3.0


@dataclass(frozen=True)
class Body:
    """The difference of one participant's head from the template.

    Attributes
    ----------
    form : numpy.ndarray, shape (3, 3)
        Gantry to template, linear: size, proportions and pose of the head.
    shift : numpy.ndarray, shape (3,)
        Gantry point that shows `CENTRE_MM`, mm.
    pose : numpy.ndarray, shape (3, 3)
        Rotation of the head in the gantry.
    oblique : numpy.ndarray, shape (3, 3)
        Rotation of the gantry in the world.
    knots : numpy.ndarray, shape (3, a, b, c)
        B-spline coefficients of the displacement in template space, mm.
    """

    form: np.ndarray
    shift: np.ndarray
    pose: np.ndarray
    oblique: np.ndarray
    knots: np.ndarray


@dataclass(frozen=True)
class Tissues:
    """The tissues in the voxels of one scan; every array has the shape of the scan.

    Attributes
    ----------
    grey, white, fluid, brain : numpy.ndarray of float32
        Share of each, in [0, 1].
    t1w, b0 : numpy.ndarray of float32
        Signal of everything else, relative to white matter.
    labels : numpy.ndarray of int16
        Index of the lobe, 0 outside grey and white matter.
    place : numpy.ndarray of float32, shape (3, X, Y, Z)
        Template coordinates, mm.
    """

    grey: np.ndarray
    white: np.ndarray
    fluid: np.ndarray
    brain: np.ndarray
    t1w: np.ndarray
    b0: np.ndarray
    labels: np.ndarray
    place: np.ndarray


def draw_body(options, person, head):
    """Draw the anatomy of a participant with the requested brain volume.

    Parameters
    ----------
    options : PhantomOptions
    person : Person
    head : Head

    Returns
    -------
    Body
        Twins differ little in anatomy; the head position in the scanner is independent.
    """
    own_stream, shared_stream = streams(options, person)
    knots = tuple(int(np.ceil(extent / KNOT_MM)) + 4 for extent in FIELD_OF_VIEW_MM)
    sizes = [6, 3 * int(np.prod(knots))]
    alone = not has_twin(options, person)
    proportions, bends = (
        mix_twins(own_stream.standard_normal(size), shared_stream.standard_normal(size), alone)
        for size in sizes
    )
    stretch = np.exp(np.diag(0.025 * (proportions[:3] - proportions[:3].mean())))
    stretch = np.where(np.eye(3, dtype=bool), stretch, 0)
    stretch[[0, 0, 1], [1, 2, 2]] = 0.02 * proportions[3:]
    pose = rotation(POSE_SD_DEG * np.clip(own_stream.standard_normal(3), -2.5, 2.5))
    shift = POSE_SD_MM * np.clip(own_stream.standard_normal(3), -2.5, 2.5)
    oblique = rotation(OBLIQUE_DEG * own_stream.uniform(-1, 1, 3))
    bends = np.clip(KNOT_SD_MM * bends, -KNOT_MAX_MM, KNOT_MAX_MM).reshape(3, *knots)
    return _with_volume(Body(stretch @ pose.T, shift, pose, oblique, bends), head, person.volume_ml)


def _with_volume(body, head, volume_ml):
    """Scale a body until its brain has a volume, to within a fraction of a percent."""
    spacing, goal = 5.0, volume_ml
    grid, affine = scan_grid(spacing, np.eye(3))
    template_ml = float(head.brain.sum()) * HEAD_MM**3 / 1000
    factor = (template_ml / MEAN_BRAIN_ML) ** (1 / 3)
    # The displacement does not scale, so correct the first guess by the measured volume.
    for _ in range(3):
        scaled = Body(body.form * factor, body.shift, body.pose, body.oblique, body.knots)
        place = template_coordinates(scaled, grid, spacing)
        volume = float(_sample(head.brain, place).sum()) * spacing**3 / 1000
        factor *= (volume / goal) ** (1 / 3)
    return Body(body.form * factor, body.shift, body.pose, body.oblique, body.knots)


def rotation(degrees):
    """Return the rotation about x, y and z, in this order.

    Parameters
    ----------
    degrees : array, shape (3,)

    Returns
    -------
    numpy.ndarray, shape (3, 3)
    """
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def scan_grid(voxel_mm, oblique):
    """Compute the grid of a scan.

    Parameters
    ----------
    voxel_mm : float
        Edge of the isotropic voxels, mm.
    oblique : array, shape (3, 3)
        Rotation of the gantry in the world.

    Returns
    -------
    shape : tuple of int, length 3
        Even numbers that cover `FIELD_OF_VIEW_MM`.
    affine : numpy.ndarray, shape (4, 4)
        Voxel to world, mm; the middle of the field of view is the origin.
    """
    shape = tuple(2 * int(np.ceil(extent / voxel_mm / 2)) for extent in FIELD_OF_VIEW_MM)
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(oblique) * voxel_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape, affine


def gantry_axes(shape, voxel_mm):
    """Return the gantry coordinates of a grid, one array per axis.

    Parameters
    ----------
    shape : tuple of int, length 3
    voxel_mm : float

    Returns
    -------
    list of numpy.ndarray, shapes (X,), (Y,), (Z,)
        mm from the middle of the field of view.
    """
    return [(np.arange(n) - (n - 1) / 2) * voxel_mm for n in shape]


def template_coordinates(body, shape, voxel_mm):
    """Compute the template point of each voxel of a scan.

    Parameters
    ----------
    body : Body
    shape : tuple of int, length 3
    voxel_mm : float

    Returns
    -------
    numpy.ndarray of float32, shape (3, X, Y, Z)
        MNI152 coordinates, mm.
    """
    axes = gantry_axes(shape, voxel_mm)
    bases = [_spline_basis(axis, n) for axis, n in zip(axes, body.knots.shape[1:], strict=True)]
    place = np.einsum("dabc,xa,yb,zc->dxyz", body.knots.astype(np.float32), *bases, optimize=True)
    offset = np.array(CENTRE_MM) - body.form @ body.shift
    linear = body.form.astype(np.float32)
    for d in range(3):
        rows = [linear[d, i] * axes[i].astype(np.float32) for i in range(3)]
        place[d] += rows[0][:, None, None] + rows[1][:, None] + rows[2] + np.float32(offset[d])
    return place


def _spline_basis(axis, n_knots):
    """Return uniform cubic B-splines, centred on the axis; shape (points, n_knots)."""
    knots = np.arange(n_knots) - (n_knots - 1) / 2
    u = abs(axis[:, None] / KNOT_MM - knots)
    near, far = 2 / 3 - u**2 + u**3 / 2, np.clip(2 - u, 0, None) ** 3 / 6
    return np.where(u < 1, near, far).astype(np.float32)


def scan_tissues(head, body, shape, voxel_mm, loss=0.0):
    """Fill the voxels of a scan with the participant's tissues.

    Parameters
    ----------
    head : Head
    body : Body
    shape : tuple of int, length 3
    voxel_mm : float
    loss : float
        Share of grey matter that has become fluid, in [0, 1].

    Returns
    -------
    Tissues
    """
    place = template_coordinates(body, shape, voxel_mm)
    volumes = (head.grey, head.white, head.fluid, head.brain, head.t1w, head.b0)
    grey, white, fluid, brain, t1w, b0 = (_sample(volume, place) for volume in volumes)
    labels = assign_lobes(grey, white, place)
    return Tissues(grey * (1 - loss), white, fluid + loss * grey, brain, t1w, b0, labels, place)


def unwarped(head, labels):
    """Fill the voxels of the template's own grid.

    Parameters
    ----------
    head : Head
    labels : array of int16, shape `HEAD_SHAPE`

    Returns
    -------
    Tissues
    """
    axes = [HEAD_ORIGIN_MM[d] + HEAD_MM * np.arange(n) for d, n in enumerate(HEAD_SHAPE)]
    place = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    return Tissues(head.grey, head.white, head.fluid, head.brain, head.t1w, head.b0, labels, place)


def _sample(volume, place):
    """Interpolate a volume of the template linearly at template points."""
    from scipy.ndimage import map_coordinates

    origin = np.array(HEAD_ORIGIN_MM, np.float32).reshape(3, 1, 1, 1)
    voxels = (place - origin) / np.float32(HEAD_MM)
    return map_coordinates(volume, voxels, order=1, mode="nearest", output=np.float32)
