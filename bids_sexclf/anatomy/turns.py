"""Other orientations of a head, to be tried where its header is wrong."""

import itertools

import numpy as np

from bids_sexclf.anatomy.brain import agreement, overlap
from bids_sexclf.volumes import turn_axes

STEP = 8.0
"""Edge of the voxels on which brains are compared, mm: coarse, since only a start is needed."""


def list_turns():
    """List the 24 rotations that map the image axes to each other, without mirroring.

    Returns
    -------
    list of ndarray, shape (3, 3)
        The first one is the identity.

    Notes
    -----
    A wrong header may also be mirrored; no image can show this, since brains are nearly
    symmetric, and a mirrored head looks like a rotated one.
    """
    turns = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                turns.append(turn)
    return turns


def turn_head(t1w, affine, turn):
    """Rotate a head about the middle of its image, as another header would.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Axes RAS+.
    turn : ndarray, shape (3, 3)
        Of `list_turns`.

    Returns
    -------
    turned : ndarray
        The same voxels, axes RAS+ again.
    turned_affine : ndarray, shape (4, 4)
    matrix : ndarray, shape (4, 4)
        Maps points of the head from the old to the new position, mm.
    """
    import nibabel as nib

    middle = affine @ np.append((np.array(t1w.shape) - 1) / 2, 1)
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = middle[:3] - turn @ middle[:3]
    image = nib.as_closest_canonical(nib.Nifti1Image(t1w, matrix @ affine))
    return np.asarray(image.dataobj), image.affine, matrix


def turn_back(mask, turned_affine, affine, matrix):
    """Bring a mask of a rotated head back to the grid of the scan.

    Parameters
    ----------
    mask : ndarray, shape (I, J, K)
    turned_affine : ndarray, shape (4, 4)
    affine : ndarray, shape (4, 4)
        Of the scan.
    matrix : ndarray, shape (4, 4)
        As `turn_head` returns it.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        On the grid of the scan.
    """
    return turn_axes(mask, np.linalg.inv(matrix) @ turned_affine, affine)[0]


def score_start(t1w, affine, mask, template):
    """Score how well a brain matches the template without registration.

    Both are centred on each other and scaled to the same volume.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    mask : ndarray of bool, shape (X, Y, Z)
    template : triple of ndarray
        The template's brain, its mask as bool, and their affine.

    Returns
    -------
    float
        Correlation inside the template's brain plus Dice overlap of the masks; -1 for none.
    """
    from scipy import ndimage

    brain, inside, grid = template
    if not mask.any():
        return -1.0
    centre, volume = _centre(mask, affine)
    middle, whole = _centre(inside, grid)
    stride = max(1, round(STEP / float(np.linalg.norm(grid[:3, 0]))))
    cut = (slice(None, None, stride),) * 3
    places = np.indices(brain.shape)[(slice(None), *cut)].reshape(3, -1)
    world = grid[:3, :3] @ places + grid[:3, 3:]
    scaled = centre[:, None] + (volume / whole) ** (1 / 3) * (world - middle[:, None])
    back = np.linalg.inv(affine)
    voxels = back[:3, :3] @ scaled + back[:3, 3:]
    smooth = STEP / 2.3548 / np.linalg.norm(affine[:3, :3], axis=0)
    moved = [
        ndimage.map_coordinates(
            ndimage.gaussian_filter(np.where(mask, part, 0).astype(np.float32), smooth),
            voxels,
            order=1,
        ).reshape(brain[cut].shape)
        for part in (t1w, 1)
    ]
    inside_cut = inside[cut]
    return agreement(moved[0], brain[cut], inside_cut) + overlap(moved[1] > 0.5, inside_cut)


def _centre(mask, affine):
    """Return the centre (mm) and the volume (mm³) of a mask."""
    voxel = np.argwhere(mask).mean(axis=0)
    return (affine @ np.append(voxel, 1))[:3], mask.sum() * abs(np.linalg.det(affine[:3, :3]))
