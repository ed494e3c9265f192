"""Residuals of a tensor fit, by slice and volume, to find slices that lost signal."""

import numpy as np

from bids_sexclf.diffusion._gradients import find_shells

LEAST_VOXELS = 20
"""Voxels of brain that a slice needs to be judged."""

LEAST_SPARE = 3
"""Volumes beyond the seven unknowns of a tensor that a series needs to be judged."""

ROUNDS = 5
"""Fits with new weights."""

FLAG_AT = 5.0
"""Robust standard deviations from the shell beyond which a slice is an outlier."""

LEAST_CHANGE = 0.05
"""Least relative difference of an outlying slice."""


def slice_residuals(dwi, bvals, bvecs, mask, b0_threshold=50):
    """Compute the relative residual of each slice of each volume from a tensor fit.

    A tensor is fitted to the logarithms of the signal of each slice by robust least squares
    (Huber weights), so that a fault has less influence on the fit. The mean residual of the brain
    in a slice is divided by its mean predicted signal. The median over a shell is subtracted,
    since a tensor does not model kurtosis and the noise floor.

    Parameters
    ----------
    dwi : ndarray, shape (X, Y, Z, N)
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
        Unit vectors; zero for b0 volumes.
    mask : ndarray of bool, shape (X, Y, Z)
    b0_threshold : float, default 50
        s/mm².

    Returns
    -------
    ndarray, shape (Z, N)
        A share of the signal: -0.3 is a slice that lost 30 %. NaN where a slice holds fewer than
        20 voxels of brain with finite values, and everywhere for a series of fewer than ten
        volumes, which a tensor fits almost exactly. With few directions the fit partly follows a
        fault, so shares are lower bounds. A volume that is alone in its shell has 0.
    """
    bvals, bvecs = np.asarray(bvals, float), np.asarray(bvecs, float)
    design, groups = _tensor_design(bvals, bvecs), _groups(bvals, b0_threshold)
    shares = np.full((dwi.shape[2], len(bvals)), np.nan)
    spread = None
    if len(bvals) < design.shape[1] + LEAST_SPARE:
        return shares
    # The first round estimates the usual residual; the second one judges slices by it.
    for _ in range(2):
        for index in range(dwi.shape[2]):
            signal = np.asarray(dwi[:, :, index][mask[:, :, index]], float)
            signal = signal[np.isfinite(signal).all(1)]
            if len(signal) >= LEAST_VOXELS:
                shares[index] = _judge(signal, design, groups, spread)
        spread = np.ones(len(bvals))
        for members in groups:
            finite = shares[:, members][np.isfinite(shares[:, members])]
            spread[members] = _spread(finite) if finite.size else 1.0
    return shares


def _judge(signal, design, groups, spread):
    """Return the relative residual of each volume in one slice, whose signal is (V, N)."""
    floor = max(float(signal.mean()) * 1e-3, 1e-12)
    logs, weights = np.log(np.maximum(signal, floor)), np.ones(len(design))
    for _ in range(1 if spread is None else ROUNDS):
        predicted = np.exp(np.clip(_predict(logs, design, weights), -50, 50))
        share = (signal - predicted).mean(0) / np.maximum(predicted.mean(0), floor)
        for members in groups:
            share[members] -= np.median(share[members])
        if spread is not None:
            weights = np.minimum(1, 2 * spread / np.maximum(np.abs(share), 1e-12))
    return share


def _spread(values):
    """Return the robust standard deviation of values, at least 0.001."""
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), 1e-3)


def _tensor_design(bvals, bvecs):
    """Return the design matrix from tensor elements to log signals, with scaled columns."""
    x, y, z = bvecs.T
    products = (x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z)
    columns = [np.ones_like(bvals), *(-bvals * product for product in products)]
    design = np.stack(columns, axis=1)
    return design / np.maximum(np.abs(design).max(0), 1e-12)


def _predict(logs, design, weights):
    """Predict log signals by least squares with one weight per volume."""
    root = np.sqrt(weights)[:, None]
    solve = np.linalg.pinv(design * root) * root.T
    return logs @ solve.T @ design.T


def _groups(bvals, b0_threshold):
    """Group volumes of equal contrast: b0, and each shell."""
    groups = [members for _, members in find_shells(bvals, b0_threshold)]
    low = np.setdiff1d(np.arange(len(bvals)), np.concatenate([*groups, np.array([], int)]))
    return [members for members in (low, *groups) if len(members)]


def flag_slices(residuals, bvals, b0_threshold=50):
    """Return the slices that are outliers among their neighbours and within their shell.

    Parameters
    ----------
    residuals : ndarray, shape (Z, N)
        As `slice_residuals` returns them.
    bvals : ndarray, shape (N,)
        s/mm².
    b0_threshold : float, default 50
        s/mm².

    Returns
    -------
    ndarray of bool, shape (Z, N)
        True where a slice lies more than five robust standard deviations (of all slices of the
        shell's volumes) and 5 % of the signal off, in either direction, both from the shell's
        median and from that of the slices around it (two to either side): the misfit of a tensor
        changes little from slice to slice, and is no fault of a slice.
    """
    local = residuals - _around(residuals)
    flagged = np.zeros(residuals.shape, bool)
    for members in _groups(np.asarray(bvals, float), b0_threshold):
        part, finite = residuals[:, members], np.isfinite(residuals[:, members])
        if finite.sum() < 8:
            continue
        limit = max(FLAG_AT * _spread(part[finite]), LEAST_CHANGE)
        far = np.abs(np.nan_to_num(part - np.median(part[finite]))) > limit
        flagged[:, members] = far & (np.abs(np.nan_to_num(local[:, members])) > limit) & finite
    return flagged


def _around(residuals):
    """Return the median over each slice and its two neighbours on either side, without NaN."""
    padded = np.pad(residuals, ((2, 2), (0, 0)), constant_values=np.nan)
    near = np.stack([padded[shift : shift + len(residuals)] for shift in range(5)])
    finite = np.isfinite(near).any(0)
    return np.where(finite, np.nanmedian(np.where(finite, near, 0), axis=0), np.nan)
