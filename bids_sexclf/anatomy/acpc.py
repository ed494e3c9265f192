"""Turn a head upright without changing its size: rigid alignment by AC, PC and midline."""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.volumes import Grid

SPACE = "ACPC"
"""Name of the space in file names."""

LANDMARKS = np.array([[0.0, 2.6, -5.3], [0.0, -25.5, -2.3], [0.0, 2.6, 55.0]])
"""Anterior commissure, posterior commissure and a point above on the midline, mm (RAS), in
MNI152NLin6Asym. The commissures are where raters placed them on that template (Taha et al. 2023,
doi:10.1038/s41597-023-02330-9: [0.4, 2.6, -5.3] and [0.5, -25.5, -2.3]), on the plane x = 0; the
other versions of MNI152 have them within 0.6 mm of there."""


def fit_affine(points, moved):
    """Find the affine transform that maps points to their new positions, by least squares.

    Parameters
    ----------
    points, moved : array-like, shape (n, 3)
        At least four points that do not lie in one plane, and their new positions, mm.

    Returns
    -------
    ndarray, shape (4, 4)
        The least-squares solution.

    Raises
    ------
    InputError
        If the points do not span space.

    Examples
    --------
    >>> corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> fit_affine(corners, 2 * corners + 1)[0].round(6).tolist()
    [2.0, 0.0, 0.0, 1.0]
    """
    points, moved = np.asarray(points, float), np.asarray(moved, float)
    design = np.c_[points, np.ones(len(points))]
    solution, _, rank, _ = np.linalg.lstsq(design, moved, rcond=None)
    if rank < 4:
        raise InputError(
            f"Found {len(points)} points that do not span space, needed at least four that do not "
            "lie in one plane. Check the template's mask."
        )
    affine = np.eye(4)
    affine[:3] = solution.T
    return affine


def rigid_from_affine(affine, landmarks=LANDMARKS):
    """Find the rigid transform that maps the landmarks of a head to those of the template.

    The first landmark is mapped exactly; the line to the second gets the template's direction,
    and the third lies in the template's midline plane. Distances do not change.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Carries points of the template to the scan, mm.
    landmarks : ndarray, shape (3, 3)
        Points of the template, mm: anterior and posterior commissure, a point above.

    Returns
    -------
    ndarray, shape (4, 4)
        Carries points of the scan to the upright frame; a rotation and a translation.

    Notes
    -----
    The landmarks of the scan are the template's, carried by the affine transform: the linear
    transform averages over the whole brain, so that the angle of a line of 26 mm does not depend
    on one voxel. The Human Connectome Project aligns its T1w in the same manner [1]_.

    References
    ----------
    .. [1] Glasser et al. 2013, doi:10.1016/j.neuroimage.2013.04.127.
    """
    landmarks = np.asarray(landmarks, float)
    scan_landmarks = landmarks @ affine[:3, :3].T + affine[:3, 3]
    rotation = _frame(landmarks) @ _frame(scan_landmarks).T
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = landmarks[0] - rotation @ scan_landmarks[0]
    return rigid


def _frame(landmarks):
    """Return the axes of three landmarks as columns: forward, upward, across."""
    front, back, above = landmarks
    forward = (front - back) / np.linalg.norm(front - back)
    upward = above - front
    upward = upward - (upward @ forward) * forward
    upward /= np.linalg.norm(upward)
    return np.column_stack([forward, upward, np.cross(forward, upward)])


def native_grid(template_grid, voxel_size):
    """Cover a template's field of view, about its centre, with voxels of another size.

    Parameters
    ----------
    template_grid : volumes.Grid
    voxel_size : float
        Edge, mm.

    Returns
    -------
    volumes.Grid
        Axes as the template's. The shape is rounded up, and the excess is split between both
        ends.

    Examples
    --------
    The field of view of MNI152 at 3.14 mm has the shape that Kan et al. 2020 give their network.

    >>> native_grid(Grid((182, 218, 182), np.eye(4)), 3.14).shape
    (58, 70, 58)
    """
    extent = np.asarray(template_grid.shape[:3]) * template_grid.voxel_size
    shape = np.ceil(extent / voxel_size - 1e-6).astype(int)
    axes = template_grid.affine[:3, :3] / template_grid.voxel_size
    middle = (np.asarray(template_grid.shape[:3]) - 1) / 2
    centre = template_grid.affine[:3, :3] @ middle + template_grid.affine[:3, 3]
    affine = np.eye(4)
    affine[:3, :3] = axes * voxel_size
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(tuple(int(size) for size in shape), affine)
