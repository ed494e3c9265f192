"""Read the maps of the cohort, and bring them to the scale and the grid of a study."""

import numpy as np

from bids_sexclf.cohort.coverage import read_coverage
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import load, resample


def read_map(derivatives, path, mask_path=None):
    """Read a map, and what of it was measured.

    Parameters
    ----------
    derivatives : pathlib.Path
    path : str
    mask_path : str, optional
        Mask of what was measured.

    Returns
    -------
    whole : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    covered : ndarray of bool, shape (X, Y, Z), or None
        None where everything was measured.
    """
    whole, affine = load(derivatives / path, ndim=3)
    return whole, affine, read_coverage(derivatives, mask_path, whole.shape)


def scale_map(path, whole, affine, covered, grid, inside, name):
    """Scale a map, and carry it to the grid of a study.

    Parameters
    ----------
    path : str
        For messages.
    whole, affine, covered
        As `read_map` returns them.
    grid : volumes.Grid
        Of the study.
    inside : ndarray of bool, shape grid.shape
        The template's brain.
    name : str
        Of the map.

    Returns
    -------
    whole : ndarray, shape (X, Y, Z)
        The map as it was prepared, scaled.
    volume : ndarray, shape grid.shape
        The map on the grid of the study, scaled.
    gap : ndarray of bool, shape grid.shape
        Voxels of the brain that were not measured.

    Raises
    ------
    InputError
        If the map is constant or not finite where it was measured.
    """
    volume, known = resample(whole, affine, grid) * inside, inside
    if covered is not None:
        known = inside & (resample(covered.astype(np.float32), affine, grid, order=0) > 0.5)
    values = volume[known]
    if not values.size or not np.isfinite(values).all() or values.std() == 0 or values.max() <= 0:
        raise InputError(f"{path} is constant or not finite inside the brain")
    if name == "T1wACPC":
        volume = volume / values[values > 0].mean()
    elif name.startswith("T1w"):
        mean, sd = values.mean(), values.std()
        whole = np.where(whole != 0, (whole - mean) / sd, 0)
        volume = np.where(inside, (volume - mean) / sd, 0)
    return whole, volume, inside & ~known
