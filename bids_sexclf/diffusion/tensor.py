"""Fit the diffusion tensor and compute FA, MD, AD and RD."""

import numpy as np

from bids_sexclf.diffusion._gradients import (
    check_design,
    check_gradients,
    check_mask,
    find_rank,
    limit_bvals,
    monomials,
)
from bids_sexclf.diffusion._least_squares import (
    CHUNK_SIZE,
    SIGNAL_FLOOR,
    LinearModel,
    check_options,
    log_signal,
    map_chunks,
    solve,
)
from bids_sexclf.diffusion._maps import COUNTS, MapRecord

MIN_DIFFUSIVITY = 1e-9
"""Lowest eigenvalue, mm²/s: positive, and far below what a scan can resolve (as in dipy)."""

MAX_DIFFUSIVITY = 1e-2
"""Highest eigenvalue, mm²/s: three times free water at body temperature (3e-3)."""

TENSOR_B_MAX = 1550
"""Volumes up to this b-value (s/mm²) make the tensor when the choice is left to the fit.

The logarithm of the signal bends with b (kurtosis), and a straight line through higher
shells reads that bend as slower diffusion: MD falls by about ``b MD MK / 6`` of itself,
some 13 % at b = 1000 and 40 % at b = 3000 s/mm² where MD is 0.9e-3 mm²/s and MK 0.9. The
50 above 1500 is the scatter of b-values that scanners report.
"""

MIN_DIRECTIONS = 15
"""Diffusion-weighted volumes a scan must have under `TENSOR_B_MAX` to do without the others."""

MAX_S0 = float(np.finfo(np.float32).max)

TENSOR_SOURCE = "10.1006/jmrb.1996.0086"
RADIAL_SOURCE = "10.1006/nimg.2002.1267"

MAPS = (
    MapRecord(
        "FA",
        "1",
        (0.0, 1.0),
        "Fractional anisotropy: how far diffusion is from equal in all directions; 0 is equal, "
        "1 is along one line only.",
        TENSOR_SOURCE,
    ),
    MapRecord(
        "MD",
        "mm²/s",
        (0.0, MAX_DIFFUSIVITY),
        "Mean diffusivity: mean of the three eigenvalues of the diffusion tensor.",
        TENSOR_SOURCE,
    ),
    MapRecord(
        "AD",
        "mm²/s",
        (0.0, MAX_DIFFUSIVITY),
        "Axial diffusivity: the largest eigenvalue, along the principal direction.",
        RADIAL_SOURCE,
    ),
    MapRecord(
        "RD",
        "mm²/s",
        (0.0, MAX_DIFFUSIVITY),
        "Radial diffusivity: mean of the two smaller eigenvalues, across the principal direction.",
        RADIAL_SOURCE,
    ),
    MapRecord(
        "S0",
        "arbitrary",
        (0.0, MAX_S0),
        "Fitted signal without diffusion weighting, in the units of the scan.",
        TENSOR_SOURCE,
    ),
)
"""What `fit_tensor` computes, one record per map."""


def fit_tensor(
    dwi,
    bvals,
    bvecs,
    mask=None,
    *,
    method="WLS",
    b_max=None,
    b0_threshold=50,
    signal_floor=SIGNAL_FLOOR,
    min_diffusivity=MIN_DIFFUSIVITY,
    max_diffusivity=MAX_DIFFUSIVITY,
    directions=False,
    counts=False,
    chunk_size=CHUNK_SIZE,
    n_threads=1,
):
    """Fit one diffusion tensor per voxel and compute its scalar maps.

    Parameters
    ----------
    dwi : numpy.ndarray, shape (X, Y, Z, N)
        Signals of any real type, in any order in memory.
    bvals : array-like, shape (N,)
        b-values, s/mm².
    bvecs : array-like, shape (N, 3)
        Unit b-vectors; those of b0 volumes count as zero unless they are unit.
    mask : array-like of bool, shape (X, Y, Z), optional
        Voxels to fit; all by default.
    method : {"WLS", "OLS"}
        Least squares on log signals, weighted by the squared prediction of an
        unweighted fit, or unweighted.
    b_max : float, optional
        Use volumes up to this b-value, s/mm² (``numpy.inf`` for all). By
        default up to 1550 where at least 15 diffusion-weighted volumes lie
        there and determine the tensor, else all: kurtosis at higher b-values
        biases the tensor (see `TENSOR_B_MAX`).
    b0_threshold : float, default 50
        Volumes up to this b-value, s/mm², are b0 volumes.
    signal_floor : float, default 0.001
        Signals that are not finite or under this fraction of the voxel's mean
        b0 signal are raised to it before the logarithm, counted, and hardly
        weighted by WLS.
    min_diffusivity, max_diffusivity : float
        Eigenvalues are clipped to this range, mm²/s, and counted.
    directions : bool, default False
        Add ``"V1"``, the principal direction, shape (X, Y, Z, 3): a unit
        vector in the frame of `bvecs`, its sign without meaning.
    counts : bool, default False
        Add ``"n_floored"`` and ``"n_clipped"``, how many samples and
        eigenvalues of each voxel were pushed to a limit (int32); see
        `count_impossible`.
    chunk_size : int, default 2000
        Voxels held at once per thread; changes memory, not maps.
    n_threads : int, default 1
        Chunks fitted at the same time.

    Returns
    -------
    dict of numpy.ndarray
        float32 arrays of shape (X, Y, Z), one for each record in `MAPS`; 0
        outside the mask and in voxels without b0 signal.

    Raises
    ------
    InputError
        If shapes, b-values or b-vectors do not fit together, or do not
        determine a tensor (6 non-collinear directions and a second b-value).

    References
    ----------
    Basser and Pierpaoli (1996), doi:10.1006/jmrb.1996.0086; Chung, Lu and
    Henry (2006), doi:10.1016/j.neuroimage.2006.07.001
    """
    dwi = np.asarray(dwi)
    check_options(method, signal_floor, chunk_size, n_threads)
    gradients = _choose_volumes(check_gradients(dwi, bvals, bvecs, b0_threshold), b_max)
    mask = check_mask(mask, dwi.shape[:3])
    design = tensor_design(gradients)
    check_design(design, "tensor", "6 non-collinear directions and b0 or a second b-value")
    model = LinearModel.from_design(design)

    def fit_chunk(signal):
        logs, floored, empty = log_signal(signal, gradients.reference, signal_floor)
        estimate = solve(model, logs, floored, method, signal_floor)
        evals, evecs, n_clipped = decompose(estimate[:, 1:7], min_diffusivity, max_diffusivity)
        maps = tensor_maps(estimate[:, 0], evals)
        maps |= {
            "V1": evecs[..., 0],
            "n_floored": np.count_nonzero(floored, axis=1),
            "n_clipped": n_clipped,
        }
        return blank(maps, empty)

    maps = allocate(MAPS, dwi.shape[:3], counts)
    if directions:
        maps["V1"] = np.zeros(dwi.shape[:3] + (3,), dtype=np.float32)
    volumes = gradients.volumes
    map_chunks(fit_chunk, dwi, mask, volumes, maps, chunk_size=chunk_size, n_threads=n_threads)
    return maps


def _choose_volumes(gradients, b_max):
    if b_max is not None:
        return limit_bvals(gradients, b_max)
    low = limit_bvals(gradients, TENSOR_B_MAX)
    weighted = np.count_nonzero(low.bvecs.any(axis=1) & ~low.reference)
    enough = weighted >= MIN_DIRECTIONS and find_rank(tensor_design(low)) == 7
    return low if enough else gradients


def tensor_design(gradients):
    """Return the columns that turn (log S0, six tensor elements in µm²/ms) into log signals.

    Parameters
    ----------
    gradients : Gradients

    Returns
    -------
    numpy.ndarray, shape (n, 7)
        Elements in the order xx, xy, xz, yy, yz, zz.
    """
    # b in ms/µm² keeps all columns near 1, which the normal equations need.
    b = gradients.bvals[:, None] / 1000
    return np.hstack([np.ones_like(b), -b * monomials(gradients.bvecs, 2)])


def decompose(elements, low, high):
    """Return the eigenvalues and directions of tensors.

    Parameters
    ----------
    elements : numpy.ndarray, shape (n_voxels, 6)
        xx, xy, xz, yy, yz, zz in µm²/ms.
    low, high : float
        Limits to which eigenvalues are clipped, mm²/s.

    Returns
    -------
    evals : numpy.ndarray, shape (n_voxels, 3)
        mm²/s, largest first.
    evecs : numpy.ndarray, shape (n_voxels, 3, 3)
        Unit vectors in columns.
    n_clipped : numpy.ndarray of int, shape (n_voxels,)
        Eigenvalues that were outside the limits.
    """
    tensors = elements[:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]] / 1000
    evals, evecs = np.linalg.eigh(tensors)
    evals, evecs = evals[:, ::-1], evecs[:, :, ::-1]
    n_clipped = np.count_nonzero((evals < low) | (evals > high), axis=1)
    return np.clip(evals, low, high), evecs, n_clipped


def tensor_maps(log_s0, evals):
    """Return FA, MD, AD, RD and S0 from eigenvalues.

    Parameters
    ----------
    log_s0 : numpy.ndarray, shape (n_voxels,)
    evals : numpy.ndarray, shape (n_voxels, 3)
        Positive, largest first, mm²/s.

    Returns
    -------
    dict of numpy.ndarray, shape (n_voxels,)

    Examples
    --------
    >>> maps = tensor_maps(np.zeros(1), np.array([[2e-3, 1e-3, 1e-3]]))
    >>> float(maps["FA"][0].round(4)), float(maps["RD"][0])
    (0.4082, 0.001)
    """
    mean = evals.mean(axis=1)
    spread = ((evals - mean[:, None]) ** 2).sum(axis=1)
    fa = np.sqrt(1.5 * spread / (evals**2).sum(axis=1))
    return {
        "FA": np.clip(fa, 0, 1),
        "MD": mean,
        "AD": evals[:, 0],
        "RD": evals[:, 1:].mean(axis=1),
        "S0": np.exp(np.minimum(log_s0, np.log(MAX_S0))),
    }


def allocate(records, shape, counts):
    """Return zero maps for `records`, and for the counts where these are asked for."""
    maps = {record.name: np.zeros(shape, dtype=np.float32) for record in records}
    if counts:
        maps |= {name: np.zeros(shape, dtype=np.int32) for name in COUNTS}
    return maps


def blank(maps, empty):
    """Set every map but the count of floored samples to 0 where a voxel holds no signal."""
    for name, values in maps.items():
        if name != "n_floored":
            values[empty] = 0
    return maps
