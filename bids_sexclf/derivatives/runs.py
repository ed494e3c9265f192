"""Several runs of one scan: which is the sharpest, and how series are joined."""

import numpy as np

from bids_sexclf.errors import InputError


def entropy_focus(volume):
    """Measure how far the signal is smeared over the image: lower is sharper.

    Motion takes signal from the head and spreads ghosts and blur over the
    image, which raises the Shannon entropy of the intensities.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Negative values count as 0.

    Returns
    -------
    float
        In [0, 1]: 0 where one voxel holds all signal, 1 where all voxels hold the same. It does
        not depend on the unit of the signal, but on the field of view: it compares scans of one
        protocol only.

    Raises
    ------
    InputError
        If there is no signal.

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
    most = np.sqrt(values.size) * np.log(np.sqrt(values.size))
    return float(-(share * np.log(share)).sum() / most) if most > 0 else 0.0


def sharpest(volumes):
    """Choose the run with the lowest entropy focus.

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
        If a run's b-values and b-vectors differ in number.
    """
    counts = [(len(low), len(vectors)) for low, vectors in zip(bvals, bvecs, strict=True)]
    if any(first != second for first, second in counts):
        raise InputError(
            f"Found runs with {counts} b-values and b-vectors, needed as many of one as of the "
            "other. Correct the files, or take --dwi-runs first."
        )
    return np.concatenate(bvals), np.concatenate(bvecs)
