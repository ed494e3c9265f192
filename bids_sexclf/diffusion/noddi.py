"""Fit NODDI: neurite density (ICVF), orientation dispersion (ODI) and free water (ISOVF)."""

import numpy as np

from bids_sexclf.diffusion._gradients import (
    Gradients,
    find_shells,
)
from bids_sexclf.diffusion._least_squares import (
    SIGNAL_FLOOR,
    LinearModel,
    check_method,
    log_signal,
    solve,
)
from bids_sexclf.diffusion._maps import MapRecord
from bids_sexclf.diffusion._neurites import (
    DISPERSION_RANGE,
    HIGHEST,
    LOWEST,
    ShellSignals,
    fit_shells,
    reduce_shells,
    turn,
)
from bids_sexclf.diffusion._voxels import alone, check_scan, fit_voxels
from bids_sexclf.diffusion.tensor import MAPS as TENSOR_MAPS
from bids_sexclf.diffusion.tensor import (
    MAX_DIFFUSIVITY,
    MIN_DIFFUSIVITY,
    TENSOR_POWERS,
    blank,
    check_tensor,
    choose_volumes,
    declare,
    decompose,
    split_tensor,
)
from bids_sexclf.errors import InputError
from bids_sexclf.texts import count_noun

N_TURNS = 2
"""Number of improvements of the mean direction, which starts as that of the tensor."""

CHUNK_SIZE = 500
"""Voxels fitted at once: each takes more memory than with a linear model."""

SOURCE = "10.1016/j.neuroimage.2012.03.072"

MAPS = (
    MapRecord(
        "ICVF",
        "1",
        (0.0, 1.0),
        "Intracellular volume fraction of the tissue (neurite density): the part of the water "
        "that is not free which lies within neurites.",
        SOURCE,
    ),
    MapRecord(
        "ODI",
        "1",
        DISPERSION_RANGE,
        "Orientation dispersion index of neurites: near 0 is parallel, 1 is in all directions.",
        SOURCE,
    ),
    MapRecord(
        "ISOVF",
        "1",
        (0.0, 1.0),
        "Isotropic volume fraction: the part of the water that is free, as in cerebrospinal fluid.",
        SOURCE,
    ),
    TENSOR_MAPS[4],
)
"""The maps of `fit_noddi`, one record per map."""


@alone
def fit_noddi(
    dwi,
    bvals,
    bvecs,
    mask=None,
    *,
    b_max=None,
    b0_threshold=50,
    signal_floor=SIGNAL_FLOOR,
    counts=False,
    chunk_size=CHUNK_SIZE,
    n_threads=1,
):
    """Fit NODDI per voxel: neurite density, orientation dispersion and free water.

    Parameters
    ----------
    dwi : numpy.ndarray or sliceable, shape (X, Y, Z, N)
    bvals : array-like, shape (N,)
        b-values, s/mm², of b0 and two or more shells. Volumes of one shell
        are fitted with its mean.
    bvecs : array-like, shape (N, 3)
        Unit b-vectors; those of b0 volumes count as zero unless they are unit.
    mask : array-like of bool, shape (X, Y, Z), optional
        Voxels to fit; all by default.
    b_max : float, optional
        Use volumes up to this b-value, s/mm²; all by default.
    signal_floor : float, default 0.001
        Signals that are not finite or under this fraction of the voxel's mean
        b0 signal are counted; those that are not finite count as 0.
    counts : bool, default False
        Add ``"n_floored"``, such signals in each voxel, and ``"n_clipped"``,
        its parameters that ended at a limit (int32).
    b0_threshold, chunk_size, n_threads
        As in `fit_tensor` (s/mm²; voxels; threads), with chunks of 500.

    Returns
    -------
    dict of numpy.ndarray
        float32 arrays of shape (X, Y, Z), one for each record in `MAPS`; 0
        outside the mask and in voxels without b0 signal.

    Raises
    ------
    InputError
        If shapes, b-values or b-vectors do not fit together, or if b0 volumes,
        two shells, or enough directions for a tensor are missing.

    Notes
    -----
    Neurites are sticks with Watson-distributed directions, the water around
    them a tensor with the same dispersion and a tortuosity of 1 - ICVF, free
    water a sphere. With their mean direction given, the signal of a shell
    depends on one angle: each voxel is reduced to Legendre coefficients per
    shell, and ICVF, ODI and ISOVF minimise the squared error. The mean
    direction starts as that of the tensor (AMICO, Daducci et al. 2015, keeps
    it there), and is then improved in turn with the others. Nothing is
    regularised, and noise is assumed Gaussian: signals near the noise floor
    are not corrected.

    Where ISOVF is near 1 there is no tissue to determine ICVF and ODI.

    References
    ----------
    Zhang et al. (2012), doi:10.1016/j.neuroimage.2012.03.072; Daducci et al.
    (2015), doi:10.1016/j.neuroimage.2014.10.026
    """
    check_method("WLS", signal_floor)
    scan = check_scan(dwi, bvals, bvecs, mask, b0_threshold, b_max)
    gradients, groups = _group(scan.gradients, b0_threshold)
    scan = scan._replace(gradients=gradients)
    find_directions = _direction_finder(gradients, signal_floor)
    signals = ShellSignals([gradients.bvals[rows].mean() for rows in groups])

    def fit_chunk(signal):
        signal = signal.astype(float)
        signal[~np.isfinite(signal)] = 0
        s0 = np.maximum(signal[gradients.reference], 0).mean(axis=0)
        empty = s0 == 0
        floored = (signal < signal_floor * s0) | empty
        directions = find_directions(signal)
        signal /= np.where(empty, 1, s0)
        reduced = reduce_shells(signal, gradients.bvecs @ directions, groups, signals.orders)
        fitted = fit_shells(signals, *reduced)
        for _ in range(N_TURNS):
            directions = turn(signals, signal, gradients.bvecs, directions, groups, *fitted)
            reduced = reduce_shells(signal, gradients.bvecs @ directions, groups, signals.orders)
            fitted = fit_shells(signals, *reduced, start=fitted[0])
        shape, amounts = fitted
        total = amounts.sum(axis=0)
        maps = {
            "ICVF": shape[0],
            "ODI": shape[1],
            "ISOVF": amounts[1] / np.where(total > 0, total, 1),
            "S0": s0 * total,
            "n_floored": floored.sum(axis=0),
            "n_clipped": ((shape <= LOWEST) | (shape >= HIGHEST)).sum(axis=0),
        }
        return blank(maps, empty)

    return fit_voxels(
        fit_chunk, scan, declare(MAPS, counts), chunk_size=chunk_size, n_threads=n_threads
    )


def _group(gradients, b0_threshold):
    """Return the indices of volumes sorted by shell, b0 first, and the slice of each shell."""
    shells = find_shells(gradients.bvals, b0_threshold)
    low = np.flatnonzero(gradients.bvals <= b0_threshold)
    if len(shells) < 2 or not low.size:
        raise InputError(
            f"The scan has {count_noun(low.size, 'b0 volume')} and "
            f"{count_noun(len(shells), 'shell')} over {b0_threshold} "
            f"s/mm² ({', '.join(f'{mean:.0f}' for mean, _ in shells)}); NODDI needs b0 and two "
            "shells or more, for instance 700 and 2000; leave NODDI out for this scan."
        )
    members = [low, *(rows for _, rows in shells)]
    ends = np.cumsum([rows.size for rows in members])
    groups = [slice(end - rows.size, end) for end, rows in zip(ends, members, strict=True)]
    order = np.concatenate(members)
    return Gradients(*(part[order] for part in gradients)), groups


def _direction_finder(gradients, signal_floor):
    """Return a function from signals (n, n_voxels) to principal directions (3, n_voxels)."""
    renumbered = gradients._replace(volumes=np.arange(gradients.bvals.size))
    low = choose_volumes(renumbered, None)
    check_tensor(low)
    model = LinearModel.from_powers(low, TENSOR_POWERS)

    def find_directions(signal):
        logs, _, floored, _ = log_signal(signal[low.volumes], low.reference, signal_floor)
        _, tensors = split_tensor(solve(model, logs, floored, "WLS", signal_floor))
        return decompose(tensors, MIN_DIFFUSIVITY, MAX_DIFFUSIVITY)[1][:, 0]

    return find_directions
