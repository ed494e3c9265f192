"""How the voxel values of a map become the numbers that a model reads.

Diffusion maps have units, and keep them. T1w has none: each brain is scaled by its own values.
"""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.volumes import resample

UNITS, OWN_MEAN, OWN_SPREAD = "units", "own_mean", "own_spread"
KINDS = {
    UNITS: "values as they are, in the units of the map",
    OWN_MEAN: "values divided by the mean of the positive values in the participant's brain",
    OWN_SPREAD: "values less their mean in the participant's brain, divided by their SD there",
}
"""Each kind of scaling, in words."""

OF_MAPS = {"T1w": OWN_SPREAD, "T1wAffine": OWN_SPREAD, "T1wACPC": OWN_MEAN}


def find(name):
    """Return the kind of scaling of a map.

    Parameters
    ----------
    name : str
        Of the map, e.g. ``"FA"``.

    Returns
    -------
    str
        A key of `KINDS`.

    Examples
    --------
    >>> find("T1w"), find("FA")
    ('own_spread', 'units')
    """
    return OF_MAPS.get(name, UNITS)


def learn(kind, values):
    """Return what to subtract from the values of one participant, and what to divide them by.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    values : ndarray, shape (n,)
        Of the voxels of the brain that were measured.

    Returns
    -------
    centre, spread : float
        In the precision of the values.

    Raises
    ------
    InputError
        If there is no such kind, or the values are constant, not finite or nowhere positive.
    """
    if kind not in KINDS:
        raise InputError(
            f"Found scaling {kind!r}, needed one of {', '.join(KINDS)}. Fit the model again with "
            "this version."
        )
    if not values.size or not np.isfinite(values).all() or values.std() == 0 or values.max() <= 0:
        raise InputError("constant or not finite inside the brain")
    if kind == OWN_MEAN:
        return values.dtype.type(0), values[values > 0].mean()
    if kind == OWN_SPREAD:
        return values.mean(), values.std()
    return values.dtype.type(0), values.dtype.type(1)


def carry(whole, affine, covered, grid, inside, kind):
    """Carry a map to the grid of a study, and scale it.

    Parameters
    ----------
    whole : ndarray, shape (X, Y, Z)
        The map as it was prepared.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    covered : ndarray of bool, shape (X, Y, Z), or None
        Voxels that were measured; None where all were.
    grid : volumes.Grid
        Of the study.
    inside : ndarray of bool, shape grid.shape
        The brain of the template; values outside become 0.
    kind : str
        A key of `KINDS`.

    Returns
    -------
    whole : ndarray, shape (X, Y, Z)
        The map on its own grid, scaled by the same numbers; 0 stays 0.
    volume : ndarray, shape grid.shape
        The map on the grid of the study, scaled.
    gap : ndarray of bool, shape grid.shape
        Voxels of the brain that were not measured.

    Raises
    ------
    InputError
        If values cannot be scaled; the message is for the caller to put the name of the map before.
    """
    volume, known = resample(whole, affine, grid) * inside, inside
    if covered is not None:
        known = inside & (resample(covered.astype(np.float32), affine, grid, order=0) > 0.5)
    centre, spread = learn(kind, volume[known])
    if kind != UNITS:
        whole = np.where(whole != 0, (whole - centre) / spread, 0)
        volume = np.where(inside, (volume - centre) / spread, 0)
    return whole, volume, inside & ~known
