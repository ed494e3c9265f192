"""Fit the diffusion kurtosis tensor and compute MK, AK, RK, KFA and the tensor's maps."""

import numpy as np

from bids_sexclf.diffusion._gradients import (
    check_design,
    find_shells,
    monomials,
    multiplicities,
    powers_of,
    symmetric_indices,
)
from bids_sexclf.diffusion._least_squares import (
    SIGNAL_FLOOR,
    LinearModel,
    check_method,
    log_signal,
    solve,
)
from bids_sexclf.diffusion._maps import MapRecord
from bids_sexclf.diffusion._voxels import CHUNK_SIZE, alone, check_scan, fit_voxels
from bids_sexclf.diffusion.tensor import MAPS as TENSOR_MAPS
from bids_sexclf.diffusion.tensor import (
    MAX_DIFFUSIVITY,
    MIN_DIFFUSIVITY,
    TENSOR_POWERS,
    blank,
    declare,
    decompose,
    split_tensor,
    tensor_maps,
)
from bids_sexclf.errors import InputError
from bids_sexclf.texts import count_noun

KURTOSIS_RANGE = (-3 / 7, 10.0)
"""Limits of MK, AK and RK: -3/7 is water in spherical pores, 10 as in QSIRecon."""

UNDEFINED_DIFFUSIVITY = 2e-7
"""Eigenvalue (mm²/s) under which a kurtosis, divided by its square, is undefined (as in dipy)."""

NODES, WEIGHTS = (part[12:] for part in np.polynomial.legendre.leggauss(24))
"""Heights over [0, 1] at which circles of directions are averaged, and their shares."""

MIN_MEAN_KURTOSIS = 1e-8
"""Mean of the kurtosis tensor up to which KFA is 0 (as in dipy)."""

KURTOSIS_SOURCE = "10.1002/mrm.22655"
KFA_SOURCE = "10.1002/nbm.3271"

MAPS = (
    *TENSOR_MAPS[:4],
    MapRecord(
        "MK",
        "1",
        KURTOSIS_RANGE,
        "Mean kurtosis: excess kurtosis of water displacement, averaged over all directions; 0 "
        "is free diffusion.",
        KURTOSIS_SOURCE,
    ),
    MapRecord(
        "AK",
        "1",
        KURTOSIS_RANGE,
        "Axial kurtosis: excess kurtosis along the principal direction of the tensor.",
        KURTOSIS_SOURCE,
    ),
    MapRecord(
        "RK",
        "1",
        KURTOSIS_RANGE,
        "Radial kurtosis: excess kurtosis averaged over the circle across the principal direction.",
        KURTOSIS_SOURCE,
    ),
    MapRecord(
        "KFA",
        "1",
        (0.0, 1.0),
        "Kurtosis fractional anisotropy: how far the kurtosis tensor is from equal in all "
        "directions.",
        KFA_SOURCE,
    ),
    TENSOR_MAPS[4],
)
"""The maps of `fit_kurtosis`, one record per map."""

KURTOSIS_POWERS = np.vstack([TENSOR_POWERS, powers_of(2, 4)])
"""Monomials of the log signal with kurtosis: those of the tensor, and b² MD² W / 6."""

# Cell (ij, kl) of the kurtosis tensor as a 6 x 6 matrix, as an index into its 15 elements.
_PAIRS = symmetric_indices(2)
_ELEMENTS = {index: place for place, index in enumerate(symmetric_indices(4))}
_MATRIX = np.array([[_ELEMENTS[tuple(sorted(ij + kl))] for kl in _PAIRS] for ij in _PAIRS])
_DIAGONAL = [_ELEMENTS[index] for index in [(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)]]
_CROSS = [_ELEMENTS[index] for index in [(0, 0, 1, 1), (0, 0, 2, 2), (1, 1, 2, 2)]]


@alone
def fit_kurtosis(
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
    min_kurtosis=KURTOSIS_RANGE[0],
    max_kurtosis=KURTOSIS_RANGE[1],
    counts=False,
    chunk_size=CHUNK_SIZE,
    n_threads=1,
):
    """Fit diffusion and kurtosis tensors per voxel and compute their scalar maps.

    Parameters
    ----------
    dwi : numpy.ndarray or sliceable, shape (X, Y, Z, N)
    bvals : array-like, shape (N,)
        b-values, s/mm², of two or more shells.
    bvecs : array-like, shape (N, 3)
        Unit b-vectors; those of b0 volumes count as zero unless they are unit.
    mask : array-like of bool, shape (X, Y, Z), optional
        Voxels to fit; all by default.
    b_max : float, optional
        Use volumes up to this b-value, s/mm²; all by default. The expansion
        holds up to about 3000 in the brain.
    min_kurtosis, max_kurtosis : float
        MK, AK and RK are clipped to this range, and counted.
    method, b0_threshold, signal_floor, min_diffusivity, max_diffusivity
        As in `fit_tensor`; diffusivities in mm²/s, b-values in s/mm².
    counts, chunk_size, n_threads
        As in `fit_tensor`.

    Returns
    -------
    dict of numpy.ndarray
        float32 arrays of shape (X, Y, Z), one for each record in `MAPS`; 0
        outside the mask and in voxels without b0 signal.

    Raises
    ------
    InputError
        If shapes, b-values or b-vectors do not fit together, or do not
        determine both tensors (two shells, 15 directions).

    Notes
    -----
    All three kurtosis averages are computed by formula, not over sampled
    directions (see `mean_kurtosis` for its error).
    Where an eigenvalue is not above 2e-7 mm²/s they are undefined: they are
    set to 0 as in dipy, and counted as clipped. The tensor is not constrained
    to physical values, so noise can make MK low in single voxels.

    References
    ----------
    Jensen et al. (2005), doi:10.1002/mrm.20508; Tabesh et al. (2011),
    doi:10.1002/mrm.22655; Veraart et al. (2013),
    doi:10.1016/j.neuroimage.2013.05.028
    """
    check_method(method, signal_floor)
    scan = check_scan(dwi, bvals, bvecs, mask, b0_threshold, b_max)
    gradients = scan.gradients
    check_kurtosis(gradients, b0_threshold)
    model = LinearModel.from_powers(gradients, KURTOSIS_POWERS)

    def fit_chunk(signal):
        logs, log_s0, floored, empty = log_signal(signal, gradients.reference, signal_floor)
        coefficients = solve(model, logs, floored, method, signal_floor)
        change, tensors = split_tensor(coefficients)
        quartics = 6 * coefficients[7:] / multiplicities(4)
        evals, evecs, n_clipped = decompose(tensors, min_diffusivity, max_diffusivity)
        averages, n_out = _averages(evals, evecs, quartics, (min_kurtosis, max_kurtosis))
        maps = tensor_maps(log_s0 + change, evals) | averages
        maps["KFA"] = kurtosis_anisotropy(quartics, maps["MD"])
        maps |= {"n_floored": floored.sum(axis=0), "n_clipped": n_clipped + n_out}
        return blank(maps, empty)

    return fit_voxels(
        fit_chunk, scan, declare(MAPS, counts), chunk_size=chunk_size, n_threads=n_threads
    )


def check_kurtosis(gradients, b0_threshold):
    """Raise InputError if the volumes do not determine both tensors."""
    shells = find_shells(gradients.bvals, b0_threshold)
    if len(shells) < 2:
        raise InputError(
            f"The b-values form {count_noun(len(shells), 'shell')} over {b0_threshold} s/mm² "
            f"({', '.join(f'{mean:.0f}' for mean, _ in shells)}); kurtosis needs two or more, for "
            "instance 1000 and 2000; fit a tensor instead."
        )
    check_design(
        monomials(gradients, KURTOSIS_POWERS),
        "kurtosis model",
        "15 directions on two shells, and b0 or a third shell,",
    )


def _averages(evals, evecs, elements, limits):
    """Return MK, AK and RK clipped to limits, and the number of clipped values."""
    defined = evals[2] > UNDEFINED_DIFFUSIVITY
    evals = np.where(defined, 1000 * evals, 1.0)
    quartic = in_eigenframe(elements, evecs)
    values = {
        "MK": mean_kurtosis(evals, quartic),
        "AK": axial_kurtosis(evals, quartic),
        "RK": radial_kurtosis(evals, quartic),
    }
    n_out = np.zeros(defined.size, dtype=int)
    for name, kurtosis in values.items():
        n_out += (kurtosis < limits[0]) | (kurtosis > limits[1]) | ~defined
        values[name] = np.clip(np.where(defined, kurtosis, 0.0), *limits)
    return values, n_out


def in_eigenframe(elements, evecs):
    """Return the elements aabb of fourth-order tensors in the frame of the eigenvectors.

    Parameters
    ----------
    elements : numpy.ndarray, shape (15, n_voxels)
        In the order of ``symmetric_indices(4)``.
    evecs : numpy.ndarray, shape (3, 3, n_voxels)
        Unit vectors: component, then the eigenvalue they belong to.

    Returns
    -------
    numpy.ndarray, shape (3, 3, n_voxels)
        Cell (a, b) holds element aabb; averages over directions depend on
        these only.
    """
    rows, columns = np.transpose(_PAIRS)
    squares = evecs[rows] * evecs[columns] * multiplicities(2)[:, None]
    half = np.einsum("ijv,jav->iav", elements[_MATRIX], squares)
    return np.einsum("iav,ibv->abv", squares, half)


def mean_kurtosis(evals, quartic):
    """Return kurtosis averaged over all directions.

    Parameters
    ----------
    evals : numpy.ndarray, shape (3, n_voxels)
        Positive, largest first.
    quartic : numpy.ndarray, shape (3, 3, n_voxels)
        MD² W from `in_eigenframe`, in the squared units of `evals`.

    Returns
    -------
    numpy.ndarray, shape (n_voxels,)

    Notes
    -----
    Instead of the elliptic integrals of the paper, which divide vanishing terms where two
    eigenvalues are equal: the average over a circle around the principal direction has a closed
    form (that of radial kurtosis), and the average over heights u of the circles is Gauss and
    Legendre's in the logarithm t of ``u = sinh(t) sqrt(c / (a - c))``, which keeps the poles of
    the integrand away however unequal the largest eigenvalue a and the smallest c are. Twelve
    circles leave a relative error under 1e-7 up to a = 100 c, 1e-5 up to 1000 c, and 1e-3 up to
    50 000 c, the widest range that the limits of `fit_kurtosis` allow.

    References
    ----------
    Tabesh et al. (2011), doi:10.1002/mrm.22655
    """
    a, b, c = evals
    top = np.maximum(np.sqrt((a - c) / c), 1e-3)
    length = np.arcsinh(top)
    grown = np.exp(np.multiply.outer(NODES, length))
    shrunk = 1 / grown
    share = WEIGHTS[:, None] * (grown + shrunk) * (length / (2 * top))
    square = ((grown - shrunk) / (2 * top)) ** 2
    complement = 1 - square
    # Diffusivity along the two axes of an ellipse; its mean over the circle is needed.
    p, q = b + (a - b) * square, c + (a - c) * square
    root = np.sqrt(p * q)
    common = p + q + 2 * root
    total = square**2 * (p + q) * common / (p * q) * quartic[0, 0]
    total += 6 * square * complement * common * (quartic[0, 1] / p + quartic[0, 2] / q)
    total += complement**2 * (
        (q + 2 * root) / p * quartic[1, 1] + (p + 2 * root) / q * quartic[2, 2]
    )
    total += 6 * complement**2 * quartic[1, 2]
    return np.einsum("kv,kv->v", total, share / (2 * root * common))


def axial_kurtosis(evals, quartic):
    """Return kurtosis along the principal direction; arguments as in `mean_kurtosis`."""
    return quartic[0, 0] / evals[0] ** 2


def radial_kurtosis(evals, quartic):
    """Return kurtosis averaged over the circle across the principal direction.

    Parameters
    ----------
    evals, quartic : numpy.ndarray
        As in `mean_kurtosis`.

    Returns
    -------
    numpy.ndarray, shape (n_voxels,)

    Notes
    -----
    G1 and G2 of the paper, with s and t the roots of the two smaller
    eigenvalues and the common factor (s - t)² cancelled, so that equal
    eigenvalues need no special case.

    References
    ----------
    Tabesh et al. (2011), doi:10.1002/mrm.22655
    """
    s, t = np.sqrt(evals[1:])
    common = (s + t) ** 2
    return (
        (2 * s + t) / (2 * s**3 * common) * quartic[1, 1]
        + (2 * t + s) / (2 * t**3 * common) * quartic[2, 2]
        + 3 / (s * t * common) * quartic[1, 2]
    )


def kurtosis_anisotropy(elements, md):
    """Return the fractional anisotropy of kurtosis tensors.

    Parameters
    ----------
    elements : numpy.ndarray, shape (15, n_voxels)
        MD² W in (µm²/ms)².
    md : numpy.ndarray, shape (n_voxels,)
        Mean diffusivity, mm²/s.

    Returns
    -------
    numpy.ndarray, shape (n_voxels,)
        In [0, 1]; 0 where the mean of the kurtosis tensor is not positive.

    Notes
    -----
    The isotropic part is orthogonal to the rest and its squared norm is
    5 mean², which leaves one norm to compute.

    References
    ----------
    Glenn et al. (2015), doi:10.1002/nbm.3271
    """
    norm = (multiplicities(4) * elements**2).sum(axis=0)
    mean = (elements[_DIAGONAL].sum(axis=0) + 2 * elements[_CROSS].sum(axis=0)) / 5
    defined = mean > MIN_MEAN_KURTOSIS * (1000 * md) ** 2
    share = 1 - 5 * mean**2 / np.where(defined, norm, 1.0)
    return np.where(defined, np.sqrt(np.clip(share, 0, 1)), 0.0)
