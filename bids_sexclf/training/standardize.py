"""Compute the centre and scale of volumes in the training part, one participant at a time."""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.texts import count_noun

FLOOR = 1.0
"""Smallest scale of a voxel, as a share of the median standard deviation of those that vary.

Voxels that vary less than the typical one are not blown up. Otherwise background, fluid and the
rim of the mask, which hold noise, weigh as much as tissue, and a few dozen participants are
learnt by heart from them.
"""


def learn(rows, method):
    """Compute the centre and scale of volumes.

    Memory holds a few volumes, for any number of participants.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, X, Y, Z), or volumes.Channels
        The training part; each of several maps is centred and scaled by itself.
    method : {"voxel", "map", "none"}
        ``voxel``: mean and standard deviation over participants, voxel by voxel; a voxel that
        is constant in training becomes 0. ``map``: one mean and one standard deviation over
        all non-zero voxels. ``none``: 0 and 1.

    Returns
    -------
    centre, scale : ndarray of float32, shape (X, Y, Z) for ``voxel``, else ()
        With the maps as a first axis where there are several: (channels, X, Y, Z), or
        (channels, 1, 1, 1).

    Raises
    ------
    InputError
        If volumes contain non-finite values, or do not vary.
    """
    if method == "none":
        return np.zeros((), np.float32), np.ones((), np.float32)
    if len(getattr(rows, "shape", ())) == 5:
        learnt = [learn(rows.channel(number), method) for number in range(rows.shape[1])]
        shape = (len(learnt), *(rows.shape[2:] if method == "voxel" else (1, 1, 1)))
        return tuple(np.stack(one).reshape(shape) for one in zip(*learnt, strict=True))
    centre, deviation = (_per_voxel if method == "voxel" else _over_map)(_checked(rows))
    if not deviation.any():
        raise InputError(
            f"Found {count_noun(len(rows), 'training volume')} that do not vary, needed some that "
            "do. Check the maps, or set standardize to 'none'."
        )
    floor = FLOOR * np.median(deviation[deviation > 0])
    return centre.astype(np.float32), np.maximum(deviation, floor).astype(np.float32)


def _checked(rows):
    """Yield volumes in double precision; raise InputError with the count of non-finite values."""
    bad = 0
    for index in range(len(rows)):
        volume = np.asarray(rows[index], dtype=np.float64)
        if np.isfinite(volume).all():
            yield volume
        else:
            bad += 1
    if bad:
        raise InputError(
            f"Found non-finite voxels in {bad} of {len(rows)} training volumes, needed numbers "
            "everywhere. Make these maps again, or leave the participants out."
        )


def _per_voxel(volumes):
    # Deviations from the first volume are exactly zero for constant voxels, and have small
    # rounding errors elsewhere; this is not true for sums of raw squares.
    n, first, total, squares = 0, None, 0.0, 0.0
    for volume in volumes:
        first = volume if first is None else first
        deviation = volume - first
        n, total, squares = n + 1, total + deviation, squares + deviation**2
    return first + total / n, np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))


def _over_map(volumes):
    n, first, total, squares = 0, None, 0.0, 0.0
    for volume in volumes:
        values = volume[volume != 0]
        if values.size:
            first = values[0] if first is None else first
            values = values - first
            n, total, squares = n + values.size, total + values.sum(), squares + values @ values
    if n == 0:
        return np.zeros(()), np.zeros(())
    return first + total / n, np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))
