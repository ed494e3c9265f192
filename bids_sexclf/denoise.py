"""Remove thermal noise and Gibbs ringing from a diffusion series, and measure the residuals."""

from itertools import islice

import numpy as np

LEAST_VOLUMES = 10
"""Least number of volumes for denoising: with fewer, too few eigenvalues are only noise."""

SHIFTS = 50
"""Parts of a voxel by which lines are shifted, to find where ringing is least."""

FARTHEST = 45
"""Longest shift to either side, in these parts (as in dipy)."""

NEIGHBOURS = 3
"""Steps between voxels, on one side, that measure ringing."""

LEAST_LINE = 8
"""Voxels that a line of a slice needs: more than the neighbours on both sides."""

LINES = 24
"""Lines treated at once; all their shifted copies together stay near the processor."""


def patch_radius(count):
    """Choose the radius of a patch that has at least as many voxels as there are volumes.

    Parameters
    ----------
    count : int
        Volumes.

    Returns
    -------
    int
        Voxels on each side of the middle; 2 up to 125 volumes, 3 up to 343.

    Examples
    --------
    >>> [patch_radius(n) for n in (21, 125, 126, 288)]
    [2, 2, 3, 3]
    """
    return max(2, int(np.ceil((np.cbrt(count) - 1) / 2 - 1e-9)))


def unfit(shape):
    """Return the reason why a series cannot be denoised, or None.

    Parameters
    ----------
    shape : tuple of int
        (X, Y, Z, N).

    Returns
    -------
    str or None
    """
    count = shape[3] if len(shape) > 3 else 1
    if count < LEAST_VOLUMES:
        return f"{count} volumes, fewer than the {LEAST_VOLUMES} that tell noise from signal"
    patch = np.prod([min(n, 2 * patch_radius(count) + 1) for n in shape[:3]])
    if patch < count:
        return f"{patch} voxels at most in a patch for {count} volumes"
    return None


def mppca(series, mask, *, out=None, run=map, at_once=1):
    """Remove thermal noise from a series by Marchenko-Pastur PCA.

    In patches of voxels x volumes, principal components whose eigenvalues follow the
    Marchenko-Pastur law are removed. Patches are one radius apart, and each voxel is the mean of
    all patches that contain it, with less weight for patches that keep more components.

    Parameters
    ----------
    series : ndarray, shape (X, Y, Z, N)
        As acquired: interpolated or filtered noise no longer follows the law.
    mask : ndarray of bool, shape (X, Y, Z)
        Patches that hold none of it are left as they are.
    out : ndarray of float32, shape (X, Y, Z, N), optional
        Where to write, e.g. a memory-mapped file.
    run : callable
        A ``map`` that may use threads; its order does not matter.
    at_once : int
        Rows of patches that are held in memory together.

    Returns
    -------
    denoised : ndarray of float32, shape (X, Y, Z, N)
        At least zero.
    sigma : ndarray of float32, shape (X, Y, Z)
        SD of the noise, in the unit of the series; 0 where nothing was denoised.

    Notes
    -----
    The noise floor of magnitude images (Rician bias) is not corrected.

    References
    ----------
    Veraart et al. 2016, doi:10.1016/j.neuroimage.2016.08.016.
    Manjón et al. 2013, doi:10.1371/journal.pone.0073021 (mean over patches).
    """
    shape, radius = series.shape, patch_radius(series.shape[3])
    patch = [min(n, 2 * radius + 1) for n in shape[:3]]
    x, y, z = (
        sorted({*range(0, n - p + 1, radius), n - p}) for n, p in zip(shape[:3], patch, strict=True)
    )
    out = np.zeros(shape, np.float32) if out is None else out
    out[:] = 0
    weight, variance = np.zeros(shape[:3], np.float32), np.zeros(shape[:3], np.float32)
    rows = iter(_rows(mask, (x, y, z), patch))
    while batch := list(islice(rows, at_once)):
        jobs = [
            (series[:, j : j + patch[1], k : k + patch[2]], starts, patch[0])
            for starts, j, k in batch
        ]
        for (starts, j, k), row_result in zip(batch, run(_denoise_row, jobs), strict=True):
            for start, cleaned, share, var in zip(starts, *row_result, strict=True):
                place = np.s_[start : start + patch[0], j : j + patch[1], k : k + patch[2]]
                out[place] += cleaned.reshape(*patch, -1)
                weight[place] += share
                variance[place] += share * var
    covered = weight > 0
    for volume in range(shape[3]):  # one at a time: the series may be larger than memory allows
        averaged = out[..., volume] / np.where(covered, weight, 1)
        out[..., volume] = np.maximum(np.where(covered, averaged, series[..., volume]), 0)
    return out, np.sqrt(variance / np.where(covered, weight, 1))


def _rows(mask, starts, patch):
    """Yield rows of patches that overlap the mask: their starts in x, and y and z."""
    across, along, up = starts
    for k in up:
        for j in along:
            near = mask[:, j : j + patch[1], k : k + patch[2]].any(axis=(1, 2))
            starts_with_mask = [i for i in across if near[i : i + patch[0]].any()]
            if starts_with_mask:
                yield starts_with_mask, j, k


def _denoise_row(job):
    """Denoise the patches of one row; return them, their weights and their noise variances."""
    slab, starts, width = job
    patches = np.stack([slab[start : start + width] for start in starts]).astype(np.float32)
    patches = patches.reshape(len(starts), -1, patches.shape[-1])
    mean = patches.mean(axis=1, keepdims=True)
    patches -= mean
    spread = np.matmul(patches.transpose(0, 2, 1), patches) / patches.shape[1]
    values, vectors = np.linalg.eigh(spread)
    noisy, variance = _count_noise(values, patches.shape[1])
    count = values.shape[1]
    basis = vectors * (np.arange(count) >= noisy[:, None])[:, None, :]
    patches = np.matmul(np.matmul(patches, basis), basis.transpose(0, 2, 1)) + mean
    share = (1 / (1 + count - noisy)).astype(np.float32)
    return patches * share[:, None, None], share, variance


def _count_noise(values, samples):
    """Count the eigenvalues that follow the Marchenko-Pastur law, and estimate their variance.

    Parameters
    ----------
    values : ndarray, shape (K, N)
        Ascending.
    samples : int
        Voxels of a patch.

    Returns
    -------
    count : ndarray of int, shape (K,)
    variance : ndarray, shape (K,)
    """
    values = np.maximum(values, 0)
    order = np.arange(1, values.shape[1] + 1)
    means = np.cumsum(values, axis=1) / order
    fits = values - values[:, :1] <= 4 * np.sqrt(order / samples) * means
    count = values.shape[1] - np.argmax(fits[:, ::-1], axis=1)
    return count, means[np.arange(len(values)), count - 1]


def root_mean_square(pairs):
    """Compute the root mean square over volumes of the difference of two series.

    Parameters
    ----------
    pairs : iterable of (ndarray, ndarray)
        A volume before and after.

    Returns
    -------
    ndarray of float32, shape (X, Y, Z)
    """
    total, count = 0.0, 0
    for before, after in pairs:
        total = total + (np.asarray(before, np.float32) - after) ** 2
        count += 1
    return np.sqrt(total / max(count, 1)).astype(np.float32)


def unring(slices):
    """Suppress Gibbs ringing in slices by local subvoxel shifts.

    Along each axis, every voxel is shifted by less than one voxel to the position where the line
    through it rings least: there the samples lie at the zeros of the ringing. The results of both
    axes are combined in k-space, each with the high frequencies of its axis.

    Parameters
    ----------
    slices : ndarray of float, shape (n, A, B)
        As acquired or denoised; not interpolated, filtered or zero-filled.

    Returns
    -------
    ndarray of float32, shape (n, A, B)
        At least zero; unchanged where A or B is under eight voxels.

    Notes
    -----
    Shifts, measure of ringing and combination are those of ``dipy.denoise.gibbs``, which works
    slice by slice. A shift of -s equals a shift of 1 - s at the next voxel, so 49 shifted copies
    suffice for 90 shifts.

    Partial Fourier sampling makes the ringing along its axis wider than one voxel: it is removed
    only in part. Slices that a scanner has interpolated to a larger matrix also ring over several
    voxels, and should not be unrung.

    References
    ----------
    Kellner et al. 2016, doi:10.1002/mrm.26054.
    Lee et al. 2021, doi:10.1002/mrm.28830 (partial Fourier).
    """
    from scipy import fft

    slices = np.asarray(slices, np.float32)
    if min(slices.shape[1:]) < LEAST_LINE:
        return slices.copy()
    first = np.moveaxis(_unring_lines(np.moveaxis(slices, 1, 0)), 0, 1)
    second = np.moveaxis(_unring_lines(np.moveaxis(slices, 2, 0)), 0, 2)
    waves = (fft.fftfreq(slices.shape[1])[:, None], fft.rfftfreq(slices.shape[2])[None])
    high = [1 + np.cos(2 * np.pi * wave) for wave in waves]
    # Each axis contributes the frequencies that the other lacks: all near its own highest one.
    share = (high[0] / np.maximum(high[0] + high[1], 1e-12)).astype(np.float32)
    change = fft.irfft2(fft.rfft2(second - first) * share, slices.shape[1:])
    return np.abs(first + change)


def _unring_lines(values):
    """Unring along the first axis, a few lines at a time; periodic, of the same shape."""
    from scipy import fft

    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    parts = np.arange(1, SHIFTS)[:, None, None] / SHIFTS
    waves = fft.rfftfreq(len(flat))[:, None]
    phases = np.exp(2j * np.pi * parts * waves).astype(np.complex64)
    out = np.empty_like(flat)
    for at in range(0, flat.shape[1], LINES):
        line = flat[:, at : at + LINES]
        copies = np.empty((SHIFTS, *line.shape), np.float32)
        copies[0] = line
        shifted = fft.irfft(fft.rfft(line, axis=0) * phases, len(flat), axis=1, overwrite_x=True)
        np.abs(shifted, out=copies[1:])
        out[:, at : at + LINES] = _least_ringing(copies)
    return out.reshape(values.shape)


def _least_ringing(copies):
    """Choose the least ringing among copies (shifts, voxels, lines); return (voxels, lines)."""
    # Positive floats are in the order of their bits: with the number of the shift in the last
    # six of 32, one minimum finds the least ringing and where it is.
    codes = _ringing(copies).view(np.int32)
    codes &= ~63
    codes |= np.arange(SHIFTS, dtype=np.int32)[:, None, None]
    ahead = codes[: FARTHEST + 1].min(axis=0) & 63
    behind = np.roll(codes[SHIFTS - FARTHEST :].min(axis=0), 1, axis=0)
    behind = np.minimum(behind, codes[0]) & 63
    voxels, lines = np.ogrid[: ahead.shape[0], : ahead.shape[1]]
    before = voxels - (behind > 0)
    values = [copies[ahead, voxels, lines], copies[behind, before, lines]]
    shifts = [ahead / np.float32(SHIFTS), np.where(behind, SHIFTS - behind, 0) / np.float32(SHIFTS)]
    away = shifts[0] + shifts[1]
    moved = away > 0
    between = shifts[1] / np.where(moved, away, 1)
    return np.where(moved, (values[0] - values[1]) * between + values[1], copies[0])


def _ringing(copies):
    """Compute total variation on both sides of each voxel, and return the smaller one."""
    count, n = copies.shape[1], NEIGHBOURS
    # Steps from voxel -3 to the one after the last but one, around the ends of the line.
    steps = np.empty((len(copies), count + 2 * n - 1, copies.shape[2]), np.float32)
    inner = steps[:, n : n + count]
    np.subtract(copies[:, 1:], copies[:, :-1], out=inner[:, :-1])
    np.subtract(copies[:, 0], copies[:, -1], out=inner[:, -1])
    np.abs(inner, out=inner)
    steps[:, :n], steps[:, n + count :] = inner[:, -n:], inner[:, : n - 1]
    sums = steps[:, : count + n] + steps[:, 1 : count + n + 1]
    for ahead in range(2, n):
        sums += steps[:, ahead : count + n + ahead]
    return np.minimum(sums[:, n:], sums[:, :-n])
