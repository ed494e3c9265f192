"""Names and meanings of maps, and counts of voxels with impossible values."""

from typing import NamedTuple

import numpy as np

from bids_sexclf.errors import InputError

COUNTS = ("n_floored", "n_clipped")
"""Keys of the counting maps that a fit adds when it is asked for ``counts``."""


class MapRecord(NamedTuple):
    """Description of one map, so that no map is written without its meaning.

    Attributes
    ----------
    name : str
        The key of the map in the result of the fit.
    units : str
        Units of its values; ``"1"`` for a pure number.
    range : tuple of float
        Lowest and highest value the map can hold with the default limits.
    description : str
        What the value means, in one sentence.
    source : str
        DOI of the paper that defines it.
    """

    name: str
    units: str
    range: tuple[float, float]
    description: str
    source: str


def count_impossible(maps):
    """Count the samples and estimates that a fit had to repair, for a quality record.

    Parameters
    ----------
    maps : dict of numpy.ndarray
        Result of a fit with ``counts=True``.

    Returns
    -------
    dict of int
        ``floored_samples``: signals that were zero, negative, not finite or
        under the floor, and were raised to it; ``floored_voxels``: voxels
        holding at least one of these; ``clipped_estimates``: eigenvalues,
        kurtosis values and parts of NODDI held at a limit, or undefined and set to 0;
        ``clipped_voxels``: voxels holding at least one of these;
        ``empty_voxels``: voxels in the mask without any signal to refer to,
        whose maps are 0.

    Raises
    ------
    InputError
        If the maps hold no counts.
    """
    missing = [key for key in COUNTS if key not in maps]
    if missing:
        raise InputError(
            f"The maps {sorted(maps)} lack {missing}; impossible values are counted while "
            f"fitting. Call the fit with counts=True."
        )
    floored, clipped = (np.asarray(maps[key]) for key in COUNTS)
    # Every model has one map that is positive in all fitted voxels (MD, ODI).
    unfitted = np.logical_and.reduce([maps[key] == 0 for key in ("MD", "ODI") if key in maps])
    return {
        "floored_samples": int(floored.sum()),
        "floored_voxels": int(np.count_nonzero(floored)),
        "clipped_estimates": int(clipped.sum()),
        "clipped_voxels": int(np.count_nonzero(clipped)),
        "empty_voxels": int(np.count_nonzero((floored > 0) & unfitted)),
    }
