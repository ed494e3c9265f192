"""Expand NODDI's signals in Legendre series per shell, and fit them to many voxels at once."""

import numpy as np

from bids_sexclf.diffusion._frames import basis_across
from bids_sexclf.diffusion._least_squares import solve_positive

PARALLEL_DIFFUSIVITY = 1.7e-3
"""Diffusivity along neurites, mm²/s (Zhang et al. 2012)."""

FREE_DIFFUSIVITY = 3.0e-3
"""Diffusivity of free water at body temperature, mm²/s (Zhang et al. 2012)."""

DISPERSION_RANGE = (0.01, 1.0)
"""Limits of ODI: a Watson concentration of 64, as in the original toolbox, and none."""

LOWEST = np.array([[0.0], [DISPERSION_RANGE[0]]])
HIGHEST = np.array([[1.0], [DISPERSION_RANGE[1]]])

NODES, WEIGHTS = (np.polynomial.legendre.leggauss(96)[part][48:] for part in (0, 1))
"""Quadrature over the half circle [0, 1] of an even function."""

TRUNCATION = 1e-5
"""Largest Legendre coefficient of the signal of a stick (S0 = 1) that is left out."""

STARTS = np.stack(
    np.meshgrid([0.1, 0.3, 0.5, 0.7, 0.9], [0.03, 0.1, 0.2, 0.35, 0.55, 0.8], indexing="ij")
).reshape(2, -1)
"""ICVF and ODI that every voxel is tried with before the best of them is refined."""

N_STEPS = 25
"""Most steps of a refinement; nearly every voxel needs fewer than ten."""

CONVERGED = 1e-5
"""A refinement ends where no voxel's ICVF or ODI moves by more than this."""


def reduce_shells(signal, cosines, groups, orders):
    """Reduce signals to the sums that a least-squares fit of Legendre series per shell needs.

    Parameters
    ----------
    signal : numpy.ndarray, shape (n, n_voxels)
        Sorted by shell.
    cosines : numpy.ndarray, shape (n, n_voxels)
        Between each gradient and the mean direction of the voxel.
    groups : list of slice
        The k shells, b0 among them.
    orders : numpy.ndarray of int, shape (L,)
        Even, ascending from 0.

    Returns
    -------
    products : numpy.ndarray, shape (k, L, L, n_voxels)
        Of every two polynomials, summed over the volumes of a shell.
    projections : numpy.ndarray, shape (k, L, n_voxels)
        Of the signal on each polynomial.
    """
    polynomials = np.empty((orders.size, *cosines.shape))
    before, current = np.ones_like(cosines), cosines
    polynomials[0] = before
    for degree in range(2, orders[-1] + 1):
        before, current = (
            current,
            ((2 * degree - 1) * cosines * current - (degree - 1) * before) / degree,
        )
        if degree % 2 == 0:
            polynomials[degree // 2] = current
    products = np.empty((len(groups), orders.size, orders.size, signal.shape[1]))
    projections = np.empty((len(groups), orders.size, signal.shape[1]))
    for k, rows in enumerate(groups):
        part = polynomials[:, rows]
        np.einsum("lnv,nv->lv", part, signal[rows], out=projections[k])
        for order in range(orders.size):
            column = np.einsum("lnv,nv->lv", part[order:], part[order])
            products[k, order:, order] = products[k, order, order:] = column
    return products, projections


def turn(signals, signal, bvecs, directions, groups, shape, amounts):
    """Improve mean directions by one Gauss-Newton step; all other parameters stay fixed.

    Parameters
    ----------
    signals : ShellSignals
    signal : numpy.ndarray, shape (n, n_voxels)
        Sorted by shell, as parts of the mean b0 signal.
    bvecs : numpy.ndarray, shape (n, 3)
    directions : numpy.ndarray, shape (3, n_voxels)
    groups : list of slice
    shape, amounts : numpy.ndarray, shape (2, n_voxels)
        From `fit_shells`.

    Returns
    -------
    numpy.ndarray, shape (3, n_voxels)
    """
    series = amounts[0] * signals.tissue(*shape)[0]
    series += amounts[1] * signals.free[..., None]
    cosines = bvecs @ directions
    residuals, slope = np.empty_like(cosines), np.empty_like(cosines)
    # In powers of the squared cosine, a series and its slope are two short loops.
    powers = np.einsum("kpv,pq->kqv", series, signals.powers)
    for k, rows in enumerate(groups):
        square = cosines[rows] ** 2
        value, change = np.zeros_like(square), np.zeros_like(square)
        for q in reversed(range(powers.shape[1])):
            change = change * square + value
            value = value * square + powers[k, q]
        residuals[rows], slope[rows] = signal[rows] - value, 2 * change * cosines[rows]
    across = basis_across(directions)
    first, second = (slope * (bvecs @ vector) for vector in across)
    a, b, c = (
        np.einsum("nv,nv->v", *pair) for pair in ((first, first), (first, second), (second, second))
    )
    right = [np.einsum("nv,nv->v", column, residuals) for column in (first, second)]
    # Where the signal has no slope, the small term keeps the direction.
    numbers = np.stack([a, b, c]) + 1e-6 * np.array([[1.0], [0.0], [1.0]])
    step = solve_positive(numbers, np.array([[0, 1], [1, 2]]), np.stack(right))[0]
    # A step is linear in the angle, which holds only up to about half a radian.
    step /= np.maximum(1, np.linalg.norm(step, axis=0) / 0.5)
    turned = directions + step[0] * across[0] + step[1] * across[1]
    return turned / np.linalg.norm(turned, axis=0)


class ShellSignals:
    """The model's signals in each shell, as Legendre series in the angle to the mean direction.

    Parameters
    ----------
    bvals : sequence of float, length k
        Mean b-value of each shell, s/mm².

    Attributes
    ----------
    orders : numpy.ndarray of int, shape (L,)
        Even orders up to where a stick's signal has converged.
    free : numpy.ndarray, shape (k, L)
        Signal of free water.
    powers : numpy.ndarray, shape (L, L)
        Coefficients of each polynomial in powers of the squared cosine.

    References
    ----------
    Zhang et al. (2011), doi:10.1016/j.neuroimage.2011.01.084, for the Watson distribution as a
    series; Zhang et al. (2012), doi:10.1016/j.neuroimage.2012.03.072.
    """

    def __init__(self, bvals):
        from scipy.special import eval_legendre

        self.decay = np.asarray(bvals) * PARALLEL_DIFFUSIVITY
        orders = np.arange(0, 42, 2)
        projections = eval_legendre(orders[:, None], NODES) * WEIGHTS * (2 * orders[:, None] + 1)
        highest = np.abs(projections @ np.exp(-self.decay.max() * NODES**2))
        # Always keep the first two orders, so that products of the tensor's signal exist.
        n_orders = max(2, int(np.flatnonzero(highest > TRUNCATION)[-1]) + 1)
        self.orders = orders[:n_orders]
        self.basis = projections[:n_orders]
        legendre = np.polynomial.legendre.leg2poly
        self.powers = np.zeros((n_orders, n_orders))
        for row, order in enumerate(self.orders):
            self.powers[row, : row + 1] = legendre([0] * order + [1])[::2]
        self.stick = np.exp(-np.multiply.outer(self.decay, NODES**2)) @ self.basis.T
        self.free = np.zeros((len(bvals), n_orders))
        self.free[:, 0] = np.exp(-np.asarray(bvals) * FREE_DIFFUSIVITY)

    def watson(self, dispersion):
        """Return the mean of each Legendre polynomial over directions, and its derivative.

        Parameters
        ----------
        dispersion : numpy.ndarray, shape (n,)
            ODI, in (0, 1].

        Returns
        -------
        means, slopes : numpy.ndarray, shape (L, n)
            The means, and their derivatives by ODI.
        """
        angle = np.pi / 2 * dispersion
        concentration = 1 / np.tan(angle)
        square = NODES[:, None] ** 2
        density = np.exp(concentration * (square - 1))
        polynomials = self.basis / (2 * self.orders[:, None] + 1)
        norm = WEIGHTS @ density
        means = polynomials @ density / norm
        mean_square = (WEIGHTS @ (square * density)) / norm
        slopes = polynomials @ (square * density) / norm - means * mean_square
        return means, slopes * (-np.pi / 2 / np.sin(angle) ** 2)

    def tissue(self, density, dispersion):
        """Return the signal of neurites and the water around them, and its derivatives.

        Parameters
        ----------
        density, dispersion : numpy.ndarray, shape (n,)
            ICVF and ODI.

        Returns
        -------
        signal, by_density, by_dispersion : numpy.ndarray, shape (k, L, n)
        """
        means, slopes = self.watson(dispersion)
        within = self.stick[..., None] * means
        decay = self.decay[:, None]
        # Around neurites, diffusivity is `across` plus `spread` times the squared cosine.
        across = decay * (1 - density + density * (1 - means[1]) / 3)
        spread = decay * density * means[1]
        falls = np.exp(-across[:, None] - spread[:, None] * NODES[:, None] ** 2)
        around = self.basis @ falls
        by_spread = -(self.basis * NODES**2) @ falls
        change = decay * (1 - (1 - means[1]) / 3)
        around_by_density = change[:, None] * around + (decay * means[1])[:, None] * by_spread
        around_by_means = (decay * density)[:, None] * (around / 3 + by_spread)
        signal = density * within + (1 - density) * around
        by_density = within - around + (1 - density) * around_by_density
        by_dispersion = density * self.stick[..., None] * slopes
        by_dispersion = by_dispersion + (1 - density) * around_by_means * slopes[1]
        return signal, by_density, by_dispersion


def fit_shells(signals, products, projections, start=None):
    """Fit ICVF, ODI and the amounts of tissue and free water by least squares.

    Parameters
    ----------
    signals : ShellSignals
    products, projections : numpy.ndarray
        From `reduce_shells`.
    start : numpy.ndarray, shape (2, n_voxels), optional
        ICVF and ODI to start from; the best of `STARTS` by default.

    Returns
    -------
    shape : numpy.ndarray, shape (2, n_voxels)
        ICVF and ODI.
    amounts : numpy.ndarray, shape (2, n_voxels)
        Tissue and free water, not negative, as parts of the mean b0 signal.

    Notes
    -----
    Levenberg-Marquardt steps. The amounts are linear: they are solved for
    at each step, and the step is taken in the space orthogonal to them.
    """
    free = np.broadcast_to(signals.free[..., None], projections.shape)
    shape = _best_start(signals, products, projections, free) if start is None else start
    model = signals.tissue(*shape)
    amounts, gain = _amounts(model[0], free, products, projections)
    damping = np.full(gain.shape, 1e-3)
    for _ in range(N_STEPS):
        step = _step(model, free, products, projections, shape, amounts, damping)
        tried = np.clip(shape + step, LOWEST, HIGHEST)
        model_tried = signals.tissue(*tried)
        amounts_tried, gain_tried = _amounts(model_tried[0], free, products, projections)
        better = gain_tried > gain
        moved = np.abs(tried - shape).max(axis=0)
        shape, amounts, gain = (
            np.where(better, new, old)
            for new, old in ((tried, shape), (amounts_tried, amounts), (gain_tried, gain))
        )
        model = [np.where(better, new, old) for new, old in zip(model_tried, model, strict=True)]
        damping = np.where(better, damping / 5, damping * 8)
        if (moved < CONVERGED).all():
            break
    return shape, amounts


def _measure(first, products, second=None):
    """Return the inner product of two signals over the volumes, shape (n,)."""
    second = first if second is None else second
    return np.einsum("klv,klv->v", np.einsum("klmv,kmv->klv", products, first), second)


def _nonnegative(tissue, cross, water, tissue_seen, water_seen):
    """Solve for two non-negative amounts; return them and the reduction of the error."""
    determinant = np.maximum(tissue * water - cross**2, 1e-12 * tissue * water)
    first = (tissue_seen * water - water_seen * cross) / determinant
    second = (water_seen * tissue - tissue_seen * cross) / determinant
    only_tissue = np.maximum(tissue_seen / tissue, 0)
    only_water = np.maximum(water_seen / water, 0)
    lone = tissue_seen * only_tissue >= water_seen * only_water
    inside = (first >= 0) & (second >= 0)
    first = np.where(inside, first, np.where(lone, only_tissue, 0))
    second = np.where(inside, second, np.where(lone, 0, only_water))
    return np.stack([first, second]), first * tissue_seen + second * water_seen


def _amounts(tissue, free, products, projections):
    return _nonnegative(
        _measure(tissue, products),
        _measure(tissue, products, free),
        _measure(free, products),
        (tissue * projections).sum(axis=(0, 1)),
        (free * projections).sum(axis=(0, 1)),
    )


def _best_start(signals, products, projections, free):
    """Return the entry of `STARTS` with the least error in each voxel, shape (2, n_voxels)."""
    tissue = signals.tissue(*STARTS)[0]
    k, n_orders, n_starts = tissue.shape
    n_voxels = projections.shape[-1]
    products_of_starts = np.einsum("kls,kms->sklm", tissue, tissue).reshape(n_starts, -1)
    with_free = np.einsum("kls,km->sklm", tissue, signals.free).reshape(n_starts, -1)
    flat = products.reshape(-1, n_voxels)
    fitted = tissue.reshape(-1, n_starts).T @ projections.reshape(-1, n_voxels)
    water = _measure(free, products), (free * projections).sum(axis=(0, 1))
    _, gain = _nonnegative(products_of_starts @ flat, with_free @ flat, water[0], fitted, water[1])
    return STARTS[:, np.argmax(gain, axis=0)]


def _step(model, free, products, projections, shape, amounts, damping):
    """Return the damped Gauss-Newton step of ICVF and ODI, shape (2, n_voxels)."""
    tissue, *slopes = model
    columns = [tissue, free, *(amounts[0] * slope for slope in slopes)]
    carried = [np.einsum("klmv,kmv->klv", products, column) for column in columns]
    fitted = amounts[0] * carried[0] + amounts[1] * carried[1]
    residuals = projections - fitted
    right = np.stack([np.einsum("klv,klv->v", column, residuals) for column in columns])
    # A parameter at a limit whose step points outwards stays there; so does free water at 0.
    at_limit = ((shape <= LOWEST) & (right[2:] <= 0)) | ((shape >= HIGHEST) & (right[2:] >= 0))
    at_limit = np.concatenate([amounts == 0, at_limit])
    pairs = [(i, j) for i in range(4) for j in range(i + 1)]
    numbers = np.stack(
        [
            np.where(at_limit[i] | at_limit[j], 0, np.einsum("klv,klv->v", carried[i], columns[j]))
            for i, j in pairs
        ]
    )
    for place, (i, j) in enumerate(pairs):
        if i == j:
            numbers[place] *= 1 + (damping if i >= 2 else 0)
            numbers[place][at_limit[i] | (numbers[place] <= 0)] = 1
    cells = np.array([[pairs.index((max(i, j), min(i, j))) for j in range(4)] for i in range(4)])
    return solve_positive(numbers, cells, np.where(at_limit, 0, right))[0][2:]
