"""Other orientations in which a head may lie, where its header does not say the truth."""

import itertools

import numpy as np

from bids_sexclf.anatomy.brain import agreement, overlap
from bids_sexclf.volumes import turn_axes

STEP = 8.0
"""Edge of the voxels on which brains are compared, mm: coarse, as only a start is sought."""


def list_turns():
    """List the 24 ways in which axes can be exchanged and turned without a mirror.

    Returns
    -------
    list of ndarray, shape (3, 3)
        The first one is the identity.

    Notes
    -----
    A header that is lost may also have been mirrored; no image can tell, as brains are nearly
    symmetric, and a mirrored head looks like one that is turned.
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
    """Turn a head about the middle of its image, as if its header had said so.

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
        Carries points of the head as it was to where they lie now, mm.
    """
    import nibabel as nib

    middle = affine @ np.append((np.array(t1w.shape) - 1) / 2, 1)
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = middle[:3] - turn @ middle[:3]
    image = nib.as_closest_canonical(nib.Nifti1Image(t1w, matrix @ affine))
    return np.asarray(image.dataobj), image.affine, matrix


def turn_back(mask, turned_affine, affine, matrix):
    """Carry a mask of a turned head back to the voxels that it came from.

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
    """Describe how well a brain lies like the template's, without a search.

    Both are laid with their centres on each other and made equally large.

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
    every = max(1, round(STEP / float(np.linalg.norm(grid[:3, 0]))))
    cut = (slice(None, None, every),) * 3
    places = np.indices(brain.shape)[(slice(None), *cut)].reshape(3, -1)
    world = grid[:3, :3] @ places + grid[:3, 3:]
    scaled = centre[:, None] + (volume / whole) ** (1 / 3) * (world - middle[:, None])
    back = np.linalg.inv(affine)
    voxels = back[:3, :3] @ scaled + back[:3, 3:]
    smooth = STEP / 2.3548 / np.linalg.norm(affine[:3, :3], axis=0)
    there = [
        ndimage.map_coordinates(
            ndimage.gaussian_filter(np.where(mask, part, 0).astype(np.float32), smooth),
            voxels,
            order=1,
        ).reshape(brain[cut].shape)
        for part in (t1w, 1)
    ]
    held = inside[cut]
    return agreement(there[0], brain[cut], held) + overlap(there[1] > 0.5, held)


def _centre(mask, affine):
    """Return the centre (mm) and the volume (mm³) of a mask."""
    voxel = np.argwhere(mask).mean(axis=0)
    return (affine @ np.append(voxel, 1))[:3], mask.sum() * abs(np.linalg.det(affine[:3, :3]))
