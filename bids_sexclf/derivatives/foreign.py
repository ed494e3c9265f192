"""Read numbers of other tools: motion, and diffusivities with their units."""

from pathlib import Path

import numpy as np

from bids_sexclf.cells import to_numbers
from bids_sexclf.errors import InputError
from bids_sexclf.tables import read_text, read_tsv

UNITS = "mm²/s"
FREE_WATER = 3e-3
"""Diffusivity of free water at body temperature, mm²/s: tissue lies below."""


def read_motion(path):
    """Read the displacement of each volume relative to the one before.

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
        Description of the measure.

    Raises
    ------
    InputError
        If the file has neither format.
    """
    if Path(path).suffix == ".tsv":
        column = "framewise_displacement"
        table = read_tsv(path, text=(column,))
        if column in table and len(table):
            texts = table[column].fillna("nan").tolist()
            moved = _displacements(["0" if texts[:1] == ["nan"] else texts[0], *texts[1:]], path)
            return moved, "framewise displacement (sum of absolute translations and rotations)"
    else:
        rows = [line.split() for line in read_text(path).split("\n") if line.strip()]
        if {len(row) for row in rows} == {2}:
            moved = _displacements(["0", *(row[1] for row in rows[1:])], path)
            return moved, "RMS displacement relative to the volume before"
    raise InputError(
        f"Found {path} without a column framewise_displacement and not of two columns, needed the "
        "confounds of QSIPrep or the movement RMS of FSL eddy. Remove or replace the file."
    )


def _displacements(texts, path):
    """Convert the displacements of all volumes to numbers, mm."""
    try:
        moved = to_numbers(texts).tolist()
    except ValueError as fault:
        raise InputError(
            f"Found {path} with text where displacements are needed ({fault}); needed numbers, mm. "
            "Remove or replace the file."
        ) from fault
    wrong = [place for place, mm in enumerate(moved, start=1) if not 0 <= mm < np.inf]
    if wrong:
        raise InputError(
            f"Found {path} without the displacement of {len(wrong)} of {len(texts)} volumes (the "
            f"first is volume {wrong[0]}), needed a number of at least 0 for each. Remove or "
            "replace the file."
        )
    return moved


def in_mm2_per_s(values):
    """Convert diffusivities in mm²/s or in µm²/ms (10⁻³ mm²/s) to mm²/s.

    The units differ by a factor of 1000, and the values show which one is used:
    nothing in a head diffuses faster than free water, 0.003 mm²/s or 3 µm²/ms.

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
