"""Several runs of one scan: choose the sharpest, and join series."""

import numpy as np

from bids_sexclf.errors import InputError


def entropy_focus(volume):
    """Compute the entropy focus of a volume: lower is sharper.

    Motion spreads ghosts and blur over the image, which raises the Shannon
    entropy of the intensities.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Negative values count as 0.

    Returns
    -------
    float
        In [0, 1]: 0 where one voxel holds all signal, 1 where all voxels are equal. It does not
        depend on the unit of the signal, but on the field of view: compare scans of one protocol
        only.

    Raises
    ------
    InputError
        If the volume has no signal.

    References
    ----------
    Atkinson et al. 1997, doi:10.1109/42.650886.
    """
    values = np.maximum(np.nan_to_num(np.asarray(volume, dtype=float)), 0).ravel()
    energy = np.sqrt((values**2).sum())
    if not energy > 0:
        raise InputError(
            "Found a volume without any signal, needed a scan of a head. Look at the run, or leave "
            "it out with --bids-filter-file."
        )
    share = values[values > 0] / energy
    largest = np.sqrt(values.size) * np.log(np.sqrt(values.size))
    return float(-(share * np.log(share)).sum() / largest) if largest > 0 else 0.0


def sharpest(volumes):
    """Return the index of the run with the lowest entropy focus.

    Parameters
    ----------
    volumes : iterable of ndarray, shape (X, Y, Z)
        Runs of one protocol.

    Returns
    -------
    chosen : int
        The first where several are equal.
    scores : list of float
    """
    scores = [entropy_focus(volume) for volume in volumes]
    return int(np.argmin(scores)), scores


def join_gradients(bvals, bvecs):
    """Join the b-values and b-vectors of several runs.

    Parameters
    ----------
    bvals : list of ndarray, shape (N,)
        s/mm².
    bvecs : list of ndarray, shape (N, 3)

    Returns
    -------
    bvals : ndarray, shape (sum of N,)
    bvecs : ndarray, shape (sum of N, 3)

    Raises
    ------
    InputError
        If the numbers of b-values and b-vectors of a run differ.
    """
    counts = [(len(low), len(vectors)) for low, vectors in zip(bvals, bvecs, strict=True)]
    if any(first != second for first, second in counts):
        raise InputError(
            f"Found runs with {counts} b-values and b-vectors, needed as many of one as of the "
            "other. Correct the files, or take --dwi-runs first."
        )
    return np.concatenate(bvals), np.concatenate(bvecs)
