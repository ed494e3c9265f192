"""Fit the diffusion tensor and compute FA, MD, AD and RD."""

import numpy as np

from bids_sexclf.diffusion._frames import eigenframes
from bids_sexclf.diffusion._gradients import (
    check_design,
    check_gradients,
    find_rank,
    limit_bvals,
    monomials,
    multiplicities,
    powers_of,
)
from bids_sexclf.diffusion._least_squares import (
    SIGNAL_FLOOR,
    LinearModel,
    check_method,
    log_signal,
    solve,
)
from bids_sexclf.diffusion._maps import COUNTS, MapRecord
from bids_sexclf.diffusion._voxels import CHUNK_SIZE, alone, check_scan, fit_voxels

MIN_DIFFUSIVITY = 1e-9
"""Lowest eigenvalue, mm²/s: positive, and far below what a scan can resolve (as in dipy)."""

MAX_DIFFUSIVITY = 1e-2
"""Highest eigenvalue, mm²/s: three times free water at body temperature (3e-3)."""

TENSOR_B_MAX = 1550
"""Largest b-value (s/mm²) of the volumes in a tensor fit, by default.

The logarithm of the signal is curved in b (kurtosis), and a straight line through higher
shells interprets this as slower diffusion: MD decreases by about ``b MD MK / 6`` of itself,
some 13 % at b = 1000 and 40 % at b = 3000 s/mm² where MD is 0.9e-3 mm²/s and MK 0.9. The
50 above 1500 is the scatter of b-values that scanners report.
"""

MIN_DIRECTIONS = 15
"""Diffusion-weighted volumes below `TENSOR_B_MAX` that a scan needs to omit higher ones."""

TENSOR_POWERS = np.vstack([powers_of(0, 0), powers_of(1, 2)])
"""Monomials of the log signal of a tensor: log S0, and -b times its six elements."""

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
"""The maps of `fit_tensor`, one record per map."""


@alone
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
    dwi : numpy.ndarray or sliceable, shape (X, Y, Z, N)
        Signals of any real type, in any order in memory. A sliceable object,
        such as the ``dataobj`` of a NIfTI file opened by nibabel, is read slab
        by slab and is never in memory as a whole.
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
    check_method(method, signal_floor)
    scan = check_scan(dwi, bvals, bvecs, mask, b0_threshold)
    gradients = choose_volumes(scan.gradients, b_max)
    scan = scan._replace(gradients=gradients)
    check_tensor(gradients)
    model = LinearModel.from_powers(gradients, TENSOR_POWERS)

    def fit_chunk(signal):
        logs, log_s0, floored, empty = log_signal(signal, gradients.reference, signal_floor)
        change, tensors = split_tensor(solve(model, logs, floored, method, signal_floor))
        evals, evecs, n_clipped = decompose(tensors, min_diffusivity, max_diffusivity)
        maps = tensor_maps(log_s0 + change, evals)
        maps |= {"V1": evecs[:, 0], "n_floored": floored.sum(axis=0), "n_clipped": n_clipped}
        return blank(maps, empty)

    outputs = declare(MAPS, counts) | ({"V1": (np.float32, 3)} if directions else {})
    return fit_voxels(fit_chunk, scan, outputs, chunk_size=chunk_size, n_threads=n_threads)


def check_tensor(gradients):
    """Raise InputError if the volumes do not determine a tensor."""
    check_design(
        monomials(gradients, TENSOR_POWERS),
        "tensor",
        "6 non-collinear directions and b0 or a second b-value",
    )


def volumes_for_tensor(bvals, bvecs, b0_threshold=50):
    """Return the volumes that `fit_tensor` uses if ``b_max`` is not given.

    Parameters
    ----------
    bvals : array-like, shape (N,)
        s/mm².
    bvecs : array-like, shape (N, 3)
    b0_threshold : float

    Returns
    -------
    numpy.ndarray of int, ascending

    Examples
    --------
    >>> bvecs = np.random.default_rng(0).normal(size=(40, 3))
    >>> bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
    >>> int(volumes_for_tensor(np.repeat([0, 1000, 2000], [4, 18, 18]), bvecs)[-1])
    21
    """
    voxel = np.ones((1, 1, 1, len(bvals)))
    return choose_volumes(check_gradients(voxel, bvals, bvecs, b0_threshold), None).volumes


def choose_volumes(gradients, b_max):
    """Return the gradients of the volumes in a tensor fit; see ``b_max`` of `fit_tensor`."""
    if b_max is not None:
        return limit_bvals(gradients, b_max)
    low = limit_bvals(gradients, TENSOR_B_MAX)
    weighted = np.count_nonzero(low.bvecs.any(axis=1) & ~low.reference)
    enough = weighted >= MIN_DIRECTIONS and find_rank(monomials(low, TENSOR_POWERS)) == 7
    return low if enough else gradients


def split_tensor(coefficients):
    """Split the coefficients of a fit of `TENSOR_POWERS` into log S0 and tensor elements.

    Parameters
    ----------
    coefficients : numpy.ndarray, shape (p, n_voxels)
        Further rows are ignored.

    Returns
    -------
    log_s0 : numpy.ndarray, shape (n_voxels,)
    elements : numpy.ndarray, shape (6, n_voxels)
        xx, xy, xz, yy, yz, zz in µm²/ms.
    """
    return coefficients[0], -coefficients[1:7] / multiplicities(2)


def decompose(elements, low, high):
    """Return the eigenvalues and directions of tensors.

    Parameters
    ----------
    elements : numpy.ndarray, shape (6, n_voxels)
        xx, xy, xz, yy, yz, zz in µm²/ms.
    low, high : float
        Limits to which eigenvalues are clipped, mm²/s.

    Returns
    -------
    evals : numpy.ndarray, shape (3, n_voxels)
        mm²/s, largest first.
    evecs : numpy.ndarray, shape (3, 3, n_voxels)
        Unit vectors: component, then the eigenvalue they belong to.
    n_clipped : numpy.ndarray of int, shape (n_voxels,)
        Eigenvalues that were outside the limits.
    """
    evals, evecs = eigenframes(elements / 1000)
    n_clipped = ((evals < low) | (evals > high)).sum(axis=0)
    return np.clip(evals, low, high), evecs, n_clipped


def tensor_maps(log_s0, evals):
    """Return FA, MD, AD, RD and S0 from eigenvalues.

    Parameters
    ----------
    log_s0 : numpy.ndarray, shape (n_voxels,)
    evals : numpy.ndarray, shape (3, n_voxels)
        Positive, largest first, mm²/s.

    Returns
    -------
    dict of numpy.ndarray, shape (n_voxels,)

    Examples
    --------
    >>> maps = tensor_maps(np.zeros(1), np.array([[2e-3], [1e-3], [1e-3]]))
    >>> float(maps["FA"][0].round(4)), float(maps["RD"][0])
    (0.4082, 0.001)
    """
    mean = evals.mean(axis=0)
    spread = ((evals - mean) ** 2).sum(axis=0)
    fa = np.sqrt(1.5 * spread / (evals**2).sum(axis=0))
    return {
        "FA": np.clip(fa, 0, 1),
        "MD": mean,
        "AD": evals[0],
        "RD": evals[1:].mean(axis=0),
        "S0": np.exp(np.minimum(log_s0, np.log(MAX_S0))),
    }


def declare(records, counts):
    """Return the type and size of the maps of `records`, and of the counts if requested."""
    outputs = {record.name: (np.float32, 1) for record in records}
    return outputs | (dict.fromkeys(COUNTS, (np.int32, 1)) if counts else {})


def blank(maps, empty):
    """Set all maps except the count of floored samples to 0 in voxels without signal."""
    if not empty.any():
        return maps
    for name, values in maps.items():
        if name != "n_floored":
            values[..., empty] = 0
    return maps
