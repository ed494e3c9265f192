"""Divide the MNI152 brain into 24 lobes: the one atlas that needs no file.

Hemisphere x (anterior, middle, posterior) x (inferior, superior) x (grey,
white). The cuts are planes in MNI152 world coordinates, placed where they
divide the tissue about evenly; they follow no anatomical border.
"""

from functools import lru_cache
from itertools import product

import numpy as np

from bids_sexclf.errors import GridError

NAME = "Lobes"
"""Name of the atlas in file names."""

PURE_WHITE, PURE_GREY = 0.75, 0.5
"""Least share of a tissue at a point that belongs to it; grey matter is thin and rarely pure."""

FRONT_MM, BACK_MM, TOP_MM = 0.0, -44.0, 8.0
"""Planes between anterior and middle, middle and posterior (y), inferior and superior (z)."""

HEMISPHERES = ("left", "right")
DEPTHS = ("anterior", "middle", "posterior")
HEIGHTS = ("inferior", "superior")
TISSUES = ("grey", "white")

_MAP_MM = 2


def list_lobes() -> list[dict]:
    """List the regions without making an image.

    Returns
    -------
    list of dict
        ``index`` (1 to 24), ``name``, ``hemisphere`` (``L`` or ``R``) and
        ``tissue`` (``grey`` or ``white``), in the order of the index.

    Examples
    --------
    >>> list_lobes()[0]["name"]
    'Left anterior inferior grey matter'
    """
    kinds = product(HEMISPHERES, DEPTHS, HEIGHTS, TISSUES)
    return [
        {
            "index": index,
            "name": f"{hemisphere} {depth} {height} {tissue} matter".capitalize(),
            "hemisphere": hemisphere[0].upper(),
            "tissue": tissue,
        }
        for index, (hemisphere, depth, height, tissue) in enumerate(kinds, start=1)
    ]


def make_lobes(shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    """Compute the lobes on a grid in MNI152 space.

    Parameters
    ----------
    shape : tuple of int, length 3
    affine : array, shape (4, 4)
        Voxel to MNI152 world coordinates, RAS, mm.

    Returns
    -------
    labels : numpy.ndarray of int16, shape `shape`
        0 outside grey and white matter, otherwise the index of the region.
        Left is x < 0.
    table : list of dict
        As from `list_lobes`; every index is in the volume and vice versa.

    Raises
    ------
    GridError
        If a region has no voxel on this grid.
    """
    grey, white, _ = sample_tissues(shape, affine)
    labels = assign_lobes(grey, white, _world(shape, affine))
    table = list_lobes()
    counts = np.bincount(labels.ravel(), minlength=len(table) + 1)
    empty = [row["name"] for row in table if counts[row["index"]] == 0]
    if empty:
        raise GridError(
            f"Found no voxel of {len(empty)} of {len(table)} lobes ({', '.join(empty[:3])}, ...) "
            f"on a grid of shape {tuple(shape)}, needed a grid that covers the brain in MNI152 "
            "space. Check its affine, or use smaller voxels."
        )
    return labels, table


def assign_lobes(grey: np.ndarray, white: np.ndarray, world) -> np.ndarray:
    """Return the lobe of every point, from its tissue and position.

    Parameters
    ----------
    grey, white : array, shape S
        Share of grey and of white matter, in [0, 1].
    world : sequence of three arrays, each broadcastable to S
        MNI152 coordinates x, y, z of the points, mm.

    Returns
    -------
    numpy.ndarray of int16, shape S
        Index of the lobe, or 0 where no tissue dominates: points with both tissues belong to no
        lobe, so that an effect in one lobe does not leak into its neighbour.
    """
    x, y, z = world
    right = (x >= 0).astype(np.int16)
    depth = (y < FRONT_MM).astype(np.int16) + (y < BACK_MM)
    superior = (z >= TOP_MM).astype(np.int16)
    cell = (right * len(DEPTHS) + depth) * len(HEIGHTS) + superior
    labels = cell * len(TISSUES) + (white > grey) + 1
    pure = (white > PURE_WHITE) | ((grey > PURE_GREY) & (white < 1 - PURE_WHITE))
    return np.where(pure, labels, 0).astype(np.int16)


def sample_tissues(shape, affine):
    """Sample the MNI152 tissue maps that nilearn ships.

    Parameters
    ----------
    shape : tuple of int, length 3
    affine : array, shape (4, 4)
        Voxel to MNI152 world coordinates, RAS, mm.

    Returns
    -------
    grey, white, brain : numpy.ndarray of float32, shape `shape`
        Share of each, in [0, 1], by linear interpolation; zero off the maps. Grey and
        white matter together never exceed the brain.

    Notes
    -----
    The maps are the ICBM152 2009a symmetric non-linear averages [1]_.

    References
    ----------
    .. [1] Fonov et al. (2011), NeuroImage 54:313-327. doi:10.1016/j.neuroimage.2010.07.033
    """
    from scipy.ndimage import affine_transform

    *maps, map_affine = _mni_maps()
    step = np.linalg.inv(map_affine) @ np.asarray(affine, float)
    grey, white, brain = (
        affine_transform(volume, step, output_shape=tuple(shape), order=1) for volume in maps
    )
    over = np.maximum((grey + white) / np.maximum(brain, 1e-6), 1)
    return grey / over, white / over, brain


@lru_cache(maxsize=1)
def _mni_maps():
    """Load grey matter, white matter and brain, float32 in [0, 1], and their affine."""
    from nilearn import datasets

    images = [
        datasets.load_mni152_gm_template(resolution=_MAP_MM),
        datasets.load_mni152_wm_template(resolution=_MAP_MM),
        datasets.load_mni152_brain_mask(resolution=_MAP_MM),
    ]
    volumes = [np.clip(image.get_fdata(dtype=np.float32), 0, 1) for image in images]
    return *volumes, images[0].affine


def _world(shape, affine):
    """Return the world coordinates x, y, z of a grid, one axis at a time."""
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    for row in np.asarray(affine, float)[:3]:
        yield row[0] * i + row[1] * j + row[2] * k + row[3]
