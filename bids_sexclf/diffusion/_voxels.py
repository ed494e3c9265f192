"""Fit the voxels of a scan slab by slab and chunk by chunk, in memory or from a file."""

from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import NamedTuple

import numpy as np

from bids_sexclf.diffusion._gradients import Gradients, check_gradients, limit_bvals
from bids_sexclf.errors import InputError

CHUNK_SIZE = 2000
"""Voxels fitted at once: small enough for the cache, large enough for matrix products."""

SLAB_BYTES = 2**27
"""Memory that one slab of a scan on disk may take, as float64; one plane at least."""


STRIP = 64
"""Voxels transposed at once: their samples fit the nearest cache."""


def alone(fit):
    """Make a fit compute each matrix product in one thread; chunks run in parallel instead.

    Small products gain nothing from more threads, which would wait for each other.
    """

    @wraps(fit)
    def fit_alone(*args, **options):
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):
            return fit(*args, **options)

    return fit_alone


class Scan(NamedTuple):
    """A scan whose parts were checked to fit together.

    Attributes
    ----------
    dwi : numpy.ndarray or sliceable, shape (X, Y, Z, N)
    mask : numpy.ndarray of bool, shape (X, Y, Z)
        Voxels to fit.
    gradients : Gradients
        Of the volumes that enter the fit.
    """

    dwi: object
    mask: np.ndarray
    gradients: Gradients


def check_scan(dwi, bvals, bvecs, mask, b0_threshold, b_max=None):
    """Check the inputs of a fit, and return them as a Scan.

    Parameters
    ----------
    dwi, bvals, bvecs, mask, b0_threshold, b_max
        As in `fit_tensor`; no `b_max` means all volumes.

    Raises
    ------
    InputError
        If shapes, b-values or b-vectors do not fit together.
    """
    whole = all(hasattr(dwi, name) for name in ("shape", "ndim", "dtype", "__getitem__"))
    dwi = dwi if whole else np.asarray(dwi)
    gradients = limit_bvals(check_gradients(dwi, bvals, bvecs, b0_threshold), b_max)
    return Scan(dwi, _check_mask(mask, dwi.shape[:3]), gradients)


def _check_mask(mask, shape):
    """Return the mask as a bool array of `shape` (all True for None), or raise InputError."""
    if mask is None:
        return np.ones(shape, dtype=bool)
    mask = np.asarray(mask)
    if mask.shape != tuple(shape):
        raise InputError(
            f"mask has shape {mask.shape} but the volumes have shape {tuple(shape)}; one value per "
            f"voxel is needed; resample the mask to the grid of the scan."
        )
    return mask.astype(bool)


def fit_voxels(fit_chunk, scan, outputs, *, chunk_size, n_threads):
    """Fit all voxels and return their maps; hold one slab of the scan and a chunk per thread.

    Parameters
    ----------
    fit_chunk : callable
        Takes signals of float32 and shape (n, n_voxels), which it may overwrite; returns a dict
        of arrays whose last axis is voxels, with at least the keys of `outputs`.
    scan : Scan
    outputs : dict of str to tuple
        Name of each map to the type of its values, and how many of them a voxel has.
    chunk_size, n_threads : int

    Returns
    -------
    dict of numpy.ndarray, shape (X, Y, Z) or (X, Y, Z, k)
        0 outside the mask.

    Raises
    ------
    InputError
        If chunks or threads are fewer than one.
    """
    if chunk_size < 1 or n_threads < 1:
        raise InputError(
            f"chunk_size is {chunk_size} and n_threads {n_threads}; both must be at least 1; the "
            f"defaults are {CHUNK_SIZE} and 1."
        )
    dwi, mask, volumes = scan.dwi, scan.mask, scan.gradients.volumes
    by_voxel = _runs_along_volumes(dwi)
    wanted = mask.ravel("C" if by_voxel else "F")
    maps = {name: np.zeros((mask.size, k), dtype) for name, (dtype, k) in outputs.items()}

    def fill(samples, voxels, places):
        fitted = fit_chunk(_gather(samples, voxels, volumes, by_voxel))
        for name, values in maps.items():
            values[places] = np.atleast_2d(fitted[name]).T

    # numpy releases the interpreter lock in its loops, so threads run in parallel on one scan.
    with ThreadPoolExecutor(n_threads) as pool:
        for samples, start in _slabs(dwi, wanted, by_voxel):
            size = samples.shape[0 if by_voxel else 1]
            inside = np.flatnonzero(wanted[start : start + size])
            pieces = [inside[at : at + chunk_size] for at in range(0, inside.size, chunk_size)]
            jobs = [pool.submit(fill, samples, piece, piece + start) for piece in pieces]
            for job in jobs:
                job.result()
    return {name: _unfold(values, mask.shape, by_voxel) for name, values in maps.items()}


def _runs_along_volumes(dwi):
    """Return whether the samples of a voxel are contiguous; NIfTI files store whole volumes."""
    return isinstance(dwi, np.ndarray) and abs(dwi.strides[-1]) <= abs(dwi.strides[0])


def _slabs(dwi, wanted, by_voxel):
    """Yield slabs as (voxels, volumes) or (volumes, voxels), with the index of the first voxel."""
    axis = 0 if by_voxel else 2
    plane = wanted.size // dwi.shape[axis]
    step = max(1, SLAB_BYTES // (8 * plane * dwi.shape[-1]))
    for low in range(0, dwi.shape[axis], step):
        high = min(low + step, dwi.shape[axis])
        if not wanted[low * plane : high * plane].any():
            continue
        if by_voxel:
            yield dwi[low:high].reshape(-1, dwi.shape[-1]), low * plane
        else:
            slab = np.asarray(dwi[:, :, low:high, :])
            yield slab.T.reshape(dwi.shape[-1], -1), low * plane


def _gather(samples, voxels, volumes, by_voxel):
    """Copy the samples of some voxels as float32, volumes first."""
    all_volumes = np.array_equal(volumes, np.arange(samples.shape[1 if by_voxel else 0]))
    with np.errstate(
        over="ignore"
    ):  # a value too large for float32 becomes infinite, and is counted as such
        if not by_voxel:
            signal = (
                samples.take(voxels, axis=1) if all_volumes else samples[np.ix_(volumes, voxels)]
            )
            return signal.astype(np.float32, order="C", copy=False)
        signal = np.empty((volumes.size, voxels.size), np.float32)
        for at in range(0, voxels.size, STRIP):
            strip = samples[voxels[at : at + STRIP]].T
            signal[:, at : at + STRIP] = strip if all_volumes else strip[volumes]
        return signal


def _unfold(values, shape, by_voxel):
    """Turn a column of voxels into a map."""
    tail = values.shape[1:] if values.shape[1] > 1 else ()
    if by_voxel:
        return values.reshape(shape + tail)
    folded = values.reshape(shape[::-1] + tail)
    return folded.transpose(2, 1, 0, *range(3, folded.ndim))
