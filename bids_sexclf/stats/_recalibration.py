"""Logistic regression of a target on a logit that is finite even when classes are separated."""

import numpy as np
from scipy.special import expit

STEPS = 200
TOLERANCE = 1e-9


def _penalised(target, design, beta):
    """Return the log-likelihood with Jeffreys' prior, and the scoring step that increases it."""
    eta = design @ beta
    p = expit(eta)
    weight = p * (1 - p)
    information = (design.T * weight) @ design
    sign, log_determinant = np.linalg.slogdet(information)
    if sign <= 0 or not np.isfinite(log_determinant):
        return -np.inf, None
    inverse = np.linalg.inv(information)
    leverage = weight * ((design @ inverse) * design).sum(axis=1)
    gradient = design.T @ (target - p + leverage * (0.5 - p))
    value = np.sum(target * eta - np.logaddexp(0, eta)) + log_determinant / 2
    # The prior acts like leverage / 2 additional successes and failures, which stabilise the step.
    steadied = (design.T * (weight * (1 + leverage))) @ design
    return value, np.linalg.solve(steadied, gradient)


def _climb(target, design, beta, value, step):
    """Halve a step until the likelihood does not decrease; return None if it always does."""
    step = step * min(1.0, 5 / max(np.abs(step).max(), 1.0))
    for _ in range(30):
        reached, following = _penalised(target, design, beta + step)
        if reached >= value - 1e-12 * abs(value):
            return beta + step, reached, following, np.abs(step).max()
        step = step / 2
    return None


def firth(target, design):
    """Fit a logistic regression with Jeffreys' prior, which is finite also for separated classes.

    Parameters
    ----------
    target : numpy.ndarray of bool or float, shape (n,)
    design : numpy.ndarray of float, shape (n, k)
        Of full rank, with a column that is constant, or columns that span one.

    Returns
    -------
    numpy.ndarray of float, shape (k,) or None
        None if the fit does not converge.

    References
    ----------
    .. [1] Firth (1993). Biometrika 80, 27. doi:10.1093/biomet/80.1.27
    """
    beta = np.zeros(design.shape[1])
    value, step = _penalised(target, design, beta)
    for _ in range(STEPS):
        climbed = None if step is None else _climb(target, design, beta, value, step)
        if climbed is None:
            break
        beta, value, step, moved = climbed
        if moved < TOLERANCE:
            return beta
    return None


def recalibrate(target, logit):
    """Fit Firth's logistic regression of the target on the logit.

    Parameters
    ----------
    target : numpy.ndarray of bool, shape (n,)
    logit : numpy.ndarray of float, shape (n,)
        Finite.

    Returns
    -------
    intercept, slope : float
        Both ``nan`` if a class is absent, all logits are equal, or the fit does not converge.

    References
    ----------
    .. [1] Firth (1993). Biometrika 80, 27. doi:10.1093/biomet/80.1.27
    """
    centre, spread = logit.mean(), logit.std()
    if spread == 0 or target.all() or not target.any():
        return np.nan, np.nan
    # Jeffreys' prior does not depend on the scale, so standardising is free and helps convergence.
    design = np.column_stack([np.ones(logit.size), (logit - centre) / spread])
    beta = firth(target, design)
    if beta is None:
        return np.nan, np.nan
    slope = beta[1] / spread
    return float(beta[0] - slope * centre), float(slope)
