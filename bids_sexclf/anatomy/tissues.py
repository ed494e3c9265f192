"""Estimate tissues and bias field of a T1w brain together: arrays in, arrays out.

A voxel holds fluid, grey matter, white matter, or two of them. The signal of the tissues, the bias
field and the shares of the tissues are estimated in turn by expectation and maximization, with
maps of where each tissue is expected, and with neighbours that tend to be alike. Nothing depends
on the number of threads or on chance: the same scan gives the same bytes.

References
----------
Wells et al. 1996, doi:10.1109/42.511747 (tissues and bias field in turn).
Ashburner and Friston 2005, doi:10.1016/j.neuroimage.2005.02.018 (maps of tissues as priors).
Zhang et al. 2001, doi:10.1109/42.906424 (hidden Markov random field).
Tohka et al. 2004, doi:10.1016/j.neuroimage.2004.05.007 (voxels of two tissues).
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.anatomy.bias_field import BiasField, sample_lattice
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import Grid, crop_grid, resample, rescale_grid

FIT_MM, FINE_MM = 1.5, 1.0
"""Smallest voxels on which signal and bias field are fitted, and on which tissues are estimated;
mm."""

PARTS = ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2))
"""What a voxel can hold, by the index of the tissues: fluid, fluid with grey matter, grey matter,
grey with white matter, white matter."""

PURE = (0, 2, 4)
"""Index in `PARTS` of the voxels that hold one tissue."""

FLOOR = 0.02
"""Least share that is expected of every tissue: a map of the template may be wrong in a place."""

WIDEST = (3.0, 2.0, 1.0)
"""Largest standard deviation of each tissue, in those of white matter: without a limit, voxels of
two tissues would count as a broad grey matter."""

DARKEST = 0.75
"""Fluid is no brighter than this share of grey matter: where a mask holds hardly any, dark grey
matter would count as fluid."""

LEAST_VOXELS = 200
"""Least number of voxels of a brain for three tissues."""


@dataclass(frozen=True)
class Recipe:
    """Settings of the estimation of tissues and bias field.

    Attributes
    ----------
    rounds : int
        Of expectation and maximization.
    degree : int
        Of the polynomial that is the logarithm of the bias field.
    block_mm : float
        Voxel size of the grid that holds the bias field, mm.
    neighbours : float
        Strength of the Markov random field; 0 leaves neighbours out.
    """

    rounds: int = 20
    degree: int = 5
    block_mm: float = 6.0
    neighbours: float = 0.35


@dataclass(frozen=True)
class Tissues:
    """Tissues and bias field of one scan.

    Attributes
    ----------
    grid : volumes.Grid
        Of the shares.
    shares : ndarray of float32, shape (3, X, Y, Z)
        Of fluid, grey and white matter; their sum is 1 inside the brain and 0 outside.
    means, deviations : ndarray, shape (3,)
        Signal of the three tissues without the bias field, in units of the scan.
    log_field : ndarray, shape (A, B, C)
        The scan is the signal of the tissues times the exponential of it.
    field_grid : volumes.Grid
        Of the bias field.
    """

    grid: Grid
    shares: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    log_field: np.ndarray
    field_grid: Grid


def working_grid(mask, affine, voxel_size=FIT_MM):
    """Return the grid around a brain on which its tissues are estimated.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    voxel_size : float
        Axes with smaller voxels get this size, mm; other axes do not change.

    Returns
    -------
    volumes.Grid

    Raises
    ------
    InputError
        If the mask has too few voxels for three tissues.
    """
    if int(mask.sum()) < LEAST_VOXELS:
        raise InputError(
            f"Found a brain mask of {int(mask.sum())} voxels, needed at least {LEAST_VOXELS} to "
            "tell three tissues apart. Look at the scan and its brain mask."
        )
    grid, _ = crop_grid(Grid(mask.shape, affine), mask, margin=2)
    size = grid.voxel_size
    # Voxels that are only a little smaller are kept: a new grid would only blur them.
    return rescale_grid(grid, np.where(size < 0.9 * voxel_size, voxel_size, size))


def find_tissues(t1w, mask, affine, expected=None, recipe=None):
    """Estimate tissues and bias field of a brain, on voxels of 1.5 mm or larger.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z)
        Brain, with or without the fluid around it.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    expected : ndarray, shape (3, A, B, C), optional
        Share of fluid, grey and white matter that is expected, on the grid that `working_grid`
        gives. Where it is left out, every tissue is expected everywhere, and intensity and
        neighbours decide.
    recipe : Recipe, optional

    Returns
    -------
    Tissues
        On that grid.

    Raises
    ------
    InputError
        If the brain is too small, has no signal, or does not show three tissues.
    """
    recipe, grid = recipe or Recipe(), working_grid(mask, affine)
    signal, inside = _bring(t1w, mask, affine, grid)
    expected = _expect(expected, inside)
    field, shares = BiasField(inside, grid, recipe), expected
    means, deviations = _guess(signal, expected)
    for _ in range(recipe.rounds):
        clean = _bound(signal / np.exp(field.values))
        alike = _neighbours(shares, inside, grid.voxel_size, recipe.neighbours)
        parts = _weigh(clean, means, deviations, expected, alike)
        means, deviations = _measure(clean, parts)
        shares = _share(clean, means, parts)
        field.refine(clean, means, parts)
    return Tissues(grid, _fill(shares, inside), means, deviations, field.lattice, field.grid)


def sharpen(tissues, t1w, mask, affine, expected=None, recipe=None, rounds=4):
    """Estimate tissues on voxels of 1 mm or larger, from signal and bias field of `find_tissues`.

    Parameters
    ----------
    tissues : Tissues
        As `find_tissues` returns them.
    t1w, mask, affine
        As for `find_tissues`.
    expected : ndarray, optional
        On the grid of `tissues`.
    recipe : Recipe, optional
    rounds : int
        Rounds in which the neighbours and the spread of the signal (larger on smaller voxels)
        are estimated again.

    Returns
    -------
    Tissues
        On the finer grid; `tissues` itself where voxels are not smaller.
    """
    grid, recipe = working_grid(mask, affine, FINE_MM), recipe or Recipe()
    if np.allclose(grid.voxel_size, tissues.grid.voxel_size, rtol=0.01):
        return tissues
    signal, inside = _bring(t1w, mask, affine, grid)
    clean = _bound(signal / np.exp(log_field(tissues, grid)[inside]))
    shares, expected = (
        _expect(maps if maps is None else _carry(maps, tissues.grid, grid), inside)
        for maps in (tissues.shares, expected)
    )
    means, deviations = tissues.means, tissues.deviations
    for _ in range(rounds):
        alike = _neighbours(shares, inside, grid.voxel_size, recipe.neighbours)
        parts = _weigh(clean, means, deviations, expected, alike)
        _, deviations = _measure(clean, parts)
        shares = _share(clean, means, parts)
    whole = _fill(shares, inside)
    return Tissues(grid, whole, means, deviations, tissues.log_field, tissues.field_grid)


def log_field(tissues, grid):
    """Return the bias field on a grid.

    Parameters
    ----------
    tissues : Tissues
    grid : volumes.Grid

    Returns
    -------
    ndarray of float32, shape grid.shape
        Logarithm; the scan divided by its exponential is without bias. It fades to 0 far outside
        the brain, where it is unknown.
    """
    step = np.linalg.inv(tissues.field_grid.affine) @ grid.affine
    return sample_lattice(tissues.log_field, step, grid.shape).astype(np.float32)


def shares_on(tissues, mask, affine):
    """Return the shares of the tissues on the grid of a scan.

    Parameters
    ----------
    tissues : Tissues
    mask : ndarray of bool, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)

    Returns
    -------
    ndarray of float32, shape (3, X, Y, Z)
        Of fluid, grey and white matter; their sum is 1 inside the mask and 0 outside.
    """
    whole = np.zeros((len(tissues.shares), *mask.shape), np.float32)
    grid, box = crop_grid(Grid(mask.shape, affine), mask, margin=2)
    shares, inside = _carry(tissues.shares, tissues.grid, grid), mask[box]
    total = shares.sum(0)
    # Voxels outside the coarser grid lie at the outermost rim of the mask: fluid.
    shares[0][total < 1e-3] = 1
    whole[(slice(None), *box)] = np.where(inside, shares / np.maximum(shares.sum(0), 1e-3), 0)
    return whole


def _bring(t1w, mask, affine, grid):
    """Resample a scan and its mask to a grid; return the signal inside, above 0, and the mask."""
    inside = resample(np.asarray(mask, np.float32), affine, grid) > 0.5
    signal = resample(np.asarray(t1w, np.float32), affine, grid)[inside]
    middle = float(np.median(signal)) if signal.size else 0.0
    if not (np.isfinite(signal).all() and middle > 0):
        raise InputError(
            f"Found a brain whose median signal is {middle:g}, needed finite values above 0. Look "
            "at the scan and its brain mask."
        )
    return np.maximum(signal, np.float32(1e-3 * middle)), inside


def _carry(maps, grid, target):
    """Resample maps to another grid by linear interpolation."""
    if grid.shape == target.shape and np.allclose(grid.affine, target.affine, atol=1e-3):
        return maps.copy()
    step = np.linalg.inv(grid.affine) @ target.affine
    return np.stack([sample_lattice(one, step, target.shape) for one in maps]).astype(np.float32)


def _expect(maps, inside):
    """Return the share of each tissue that is expected at each voxel inside."""
    if maps is None:
        return np.full((3, int(inside.sum())), 1 / 3, np.float32)
    shares = np.maximum(maps[:, inside].astype(np.float32), 0) + np.float32(FLOOR)
    return shares / shares.sum(0)


def _fill(shares, inside):
    """Return a volume that holds the shares of the voxels inside, and 0 elsewhere."""
    whole = np.zeros((len(shares), *inside.shape), np.float32)
    whole[:, inside] = shares
    return whole


def _bound(clean):
    """Limit high intensities, since vessels and remains of the scalp are much brighter."""
    return np.clip(clean, *np.percentile(clean, (0.1, 99.5)).astype(np.float32))


def _guess(signal, expected):
    """Guess the signal of each tissue, from where it is expected most or from the histogram."""
    if np.ptp(expected) < 1e-6:
        means = np.quantile(signal, (0.05, 0.45, 0.85))
    else:
        sure = [share >= 0.95 * np.quantile(share, 0.9) for share in expected]
        means = np.array([np.median(signal[places]) for places in sure])
        # Much tissue lies where fluid is expected.
        means[0] = min(means[0], 0.6 * means[1])
    return means, np.full(3, 0.12 * means.max())


def _weigh(clean, means, deviations, expected, alike):
    """Return the probability of each of `PARTS` at each voxel."""
    logs = np.empty((len(PARTS), clean.size), np.float32)
    prior = 0.5 * (np.log(expected) + alike)
    for row, (first, second) in zip(logs, PARTS, strict=True):
        middle = (means[first] + means[second]) / 2
        variance = (deviations[first] ** 2 + deviations[second] ** 2) / 2
        # All mixtures of two tissues are equally likely: their signal is distributed evenly.
        variance += (means[first] - means[second]) ** 2 / 12
        row[:] = (
            prior[first]
            + prior[second]
            - np.float32(0.5 * np.log(variance))
            - np.float32(0.5 / variance) * (clean - np.float32(middle)) ** 2
        )
    np.exp(logs - logs.max(0), out=logs)
    return logs / logs.sum(0)


def _measure(clean, parts):
    """Return mean and standard deviation of each tissue's signal."""
    pure = parts[list(PURE)]
    total = pure.sum(1, dtype=np.float64)
    if not (total > 1).all():
        raise InputError(
            f"Found {np.round(total).astype(int).tolist()} voxels of fluid, grey and white matter, "
            "needed some of each. Look at the scan and its brain mask: the tissues could not be "
            "told apart."
        )
    means = (pure * clean).sum(1, dtype=np.float64) / total
    away = (clean - means[:, None].astype(np.float32)) ** 2
    deviations = np.sqrt((pure * away).sum(1, dtype=np.float64) / total)
    if means[1] < means[2]:
        means[0] = min(means[0], DARKEST * means[1])
    white = max(deviations[2], 0.005 * abs(means[2]))
    return means, np.clip(deviations, white / 2, white * np.array(WIDEST))


def _share(clean, means, parts):
    """Return the share of each tissue in each voxel: voxels of two tissues count for both."""
    shares = parts[list(PURE)]
    for row, (first, second) in zip(parts, PARTS, strict=True):
        if first != second:
            apart = means[second] - means[first]
            part = np.clip((clean - np.float32(means[first])) / np.float32(apart or 1), 0, 1)
            shares[first] += row * (1 - part)
            shares[second] += row * part
    return shares


def _neighbours(shares, inside, voxel_size, strength):
    """Sum the shares of the six neighbours of each voxel, weighted by their distance."""
    total, volume = np.empty_like(shares), np.zeros(inside.shape, np.float32)
    for row, share in zip(total, shares, strict=True):
        volume[inside] = share
        around = np.zeros_like(volume)
        for axis, weight in enumerate(voxel_size.min() / voxel_size):
            source, target = (np.moveaxis(array, axis, 0) for array in (volume, around))
            target[1:] += np.float32(weight) * source[:-1]
            target[:-1] += np.float32(weight) * source[1:]
        row[:] = np.float32(strength) * around[inside]
    return total
