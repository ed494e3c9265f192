"""Find pairs of people who are more similar than unrelated people."""

import numpy as np

CHANCE = 0.01
"""Expected number of pairs above the limit among strangers, were their resemblance normal."""
GAP = 3.0
"""How far a relative stands out from the next most alike, in robust standard deviations."""
CROWD = 5
"""Most alike of each that are looked at: up to four relatives stand out from a fifth."""
FEWEST = 12


def close_pairs(values):
    """Find pairs with an outlying similarity, among all pairs and among those of each member.

    Parameters
    ----------
    values : ndarray of float, shape (n, v)
        Numbers of the same places in everyone; what everyone shares is subtracted here.

    Returns
    -------
    pairs : ndarray of int, shape (k, 2)
        Rows, the smaller first; ascending.
    correlation : ndarray, shape (k,)
        Correlation of their deviations from the mean of all, in [-1, 1].
    limit : float
        Correlation that pairs must exceed; ``nan`` with fewer than twelve rows, among which no
        pair is close.

    Notes
    -----
    The limit is the median of all pairs' Fisher-transformed correlations plus as many robust
    standard deviations as one of a hundred unrelated sets would exceed. Brains are not normally
    distributed (old people resemble each other), so a pair must also be an outlier among the pairs
    of each member. Pairs that are not found may still be related.
    """
    n = len(values)
    if n < FEWEST:
        return np.zeros((0, 2), int), np.zeros(0), np.nan
    values = np.asarray(values, dtype=np.float32)
    values = values - values.mean(0)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    values /= np.where(norms > 0, norms, 1)
    middle, spread = _middle(values)
    limit = middle + spread * _deviates(n)
    near = [_outstanding(values, row, limit, spread) for row in range(n)]
    pairs = [
        (row, neighbour)
        for row in range(n)
        for neighbour in near[row]
        if row < neighbour and row in near[neighbour]
    ]
    pairs = np.array(sorted(pairs), dtype=int).reshape(-1, 2)
    correlation = (values[pairs[:, 0]] * values[pairs[:, 1]]).sum(1)
    return pairs, correlation.astype(float), float(np.tanh(limit))


def _deviates(n):
    from scipy.stats import norm

    return norm.isf(CHANCE / (n * (n - 1) / 2))


def _fisher(correlations):
    return np.arctanh(np.clip(correlations, -0.999999, 0.999999))


def _middle(values):
    """Return median and robust standard deviation of the transformed correlations of all pairs.

    In large cohorts, a regular sample of rows is used.
    """
    sample = values[:: -(-len(values) // 2000)]
    correlations = _fisher((sample @ sample.T)[np.triu_indices(len(sample), 1)])
    middle = np.median(correlations)
    return middle, 1.4826 * np.median(np.abs(correlations - middle))


def _outstanding(values, row, limit, spread):
    """Return the rows that are outliers among those most similar to this one."""
    alike = _fisher(values @ values[row])
    alike[row] = -np.inf
    order = np.argsort(-alike, kind="stable")[:CROWD]
    falls = alike[order[:-1]] - alike[order[1:]]
    last = int(np.argmax(falls))
    if falls[last] < GAP * spread:
        return set()
    return {int(candidate) for candidate in order[: last + 1] if alike[candidate] > limit}
