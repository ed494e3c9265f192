"""Numbers that other tools have written: motion, diffusivities in their units."""

from pathlib import Path

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.tables import read_tsv

UNITS = "mm²/s"
FREE_WATER = 3e-3
"""Diffusivity of free water at body temperature, mm²/s: tissue lies below."""


def read_motion(path):
    """Read the displacement of each volume against the one before.

    Parameters
    ----------
    path : path-like
        A table with a column ``framewise_displacement`` (QSIPrep), or two columns of numbers
        without a header, the second relative to the volume before (FSL ``eddy``'s
        ``eddy_movement_rms``).

    Returns
    -------
    moved : list of float
        mm; 0 for the first volume.
    measure : str
        What was measured, in words.

    Raises
    ------
    InputError
        If it is neither.
    """
    if Path(path).suffix == ".tsv":
        table = read_tsv(path)
        if "framewise_displacement" in table:
            moved = table["framewise_displacement"].fillna(0).astype(float).tolist()
            return moved, "framewise displacement (sum of absolute translations and rotations)"
    else:
        rows = np.loadtxt(path, ndmin=2)
        if rows.shape[1] == 2:
            return [0.0, *rows[1:, 1].tolist()], "RMS displacement relative to the volume before"
    raise InputError(
        f"Found {path} without a column framewise_displacement and not of two columns, needed the "
        "confounds of QSIPrep or the movement RMS of FSL eddy. Remove or replace the file."
    )


def in_mm2_per_s(values):
    """Give diffusivities in mm²/s, whether they come so or in µm²/ms (10⁻³ mm²/s).

    The two differ by a thousand, and free water tells them apart: nothing in a
    head diffuses faster than 0.003 mm²/s or 3 µm²/ms.

    Parameters
    ----------
    values : ndarray

    Returns
    -------
    ndarray

    Examples
    --------
    >>> in_mm2_per_s(np.array([0.7, 0.8])).round(5).tolist()
    [0.0007, 0.0008]
    >>> in_mm2_per_s(np.array([0.0007, 0.0008])).round(5).tolist()
    [0.0007, 0.0008]
    """
    inside = values[values > 0]
    middle = float(np.median(inside)) if inside.size else 0.0
    return values / 1000 if middle > 10 * FREE_WATER else values
