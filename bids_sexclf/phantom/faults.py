"""Damage the files of a participant on purpose, as archives and scanners do."""

import numpy as np

KEPT_SHARE = 0.6
"""Share of the bytes that a truncated file keeps."""

FAULTS = {
    "truncated_t1w": "The compressed T1w file ends early.",
    "bval_count": "There is one b-value fewer than volumes.",
    "nan_slab": "One slab of the T1w scan is not a number.",
    "missing_sex": "participants.tsv does not say the sex.",
}
"""Every fault and what it is, in the order in which they are dealt out."""


def truncate(path):
    """Truncate a file.

    Parameters
    ----------
    path : pathlib.Path
    """
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * KEPT_SHARE)])


def drop_last(values):
    """Remove the last b-value.

    Parameters
    ----------
    values : array, shape (V,)

    Returns
    -------
    array, shape (V - 1,)
    """
    return values[:-1]


def blank_slab(volume):
    """Replace a tenth of the slices, in the middle, by NaN.

    Parameters
    ----------
    volume : array, shape (X, Y, Z)

    Returns
    -------
    numpy.ndarray of float32, shape (X, Y, Z)
    """
    blanked = np.array(volume, np.float32)
    middle, thickness = volume.shape[2] // 2, max(1, volume.shape[2] // 10)
    blanked[:, :, middle : middle + thickness] = np.nan
    return blanked
