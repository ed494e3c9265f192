"""ComBat: remove location and scale of sites from each voxel or feature, estimated row by row.

References
----------
Johnson WE, Li C, Rabinovic A. Adjusting batch effects in microarray expression data using
empirical Bayes methods. Biostatistics 2007. doi:10.1093/biostatistics/kxj037

Fortin JP, et al. Harmonization of multi-site diffusion tensor imaging data. NeuroImage 2017.
doi:10.1016/j.neuroimage.2017.08.047
"""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.texts import count_noun

STEPS, CLOSE = 1000, 1e-4
"""Most steps of the empirical Bayes, and the relative change at which it stops, as published."""


def learn_sites(rows, site, n_sites):
    """Estimate the location and scale of each site, shrunk towards their mean over features.

    Memory holds a few arrays per site, for any number of participants. Only the sites are used:
    neither the target nor another confound.

    Parameters
    ----------
    rows : sequence of ndarray, each of shape S
        Volumes, or rows of features, of the training part.
    site : ndarray of int, shape (n,)
        From 0 to ``n_sites - 1``; every site has at least two participants.
    n_sites : int

    Returns
    -------
    gain, shift : ndarray of float32, shape (n_sites, *S)
        A value `y` of site `s` becomes ``gain[s] * y + shift[s]``, with the common mean and
        standard deviation of all sites. 1 and 0 where a voxel does not vary within sites.

    Raises
    ------
    InputError
        If a site has fewer than two participants.
    """
    site = np.asarray(site)
    counts = np.bincount(site, minlength=n_sites)
    if n_sites < 2 or counts.min() < 2:
        raise InputError(
            f"Found {count_noun(n_sites, 'site')} of {counts.tolist()} training participants, "
            "needed several, "
            "of at least two each, to harmonize them. Leave small sites out, or set harmonize to "
            "none."
        )
    mean, squares = _moments(rows, site, counts)
    weight = (counts / counts.sum()).reshape(-1, *[1] * (mean.ndim - 1))
    grand = (weight * mean).sum(0)
    pooled = np.sqrt(squares.sum(0) / counts.sum())
    varies = pooled > 1e-7 * np.maximum(np.abs(grand), np.finfo(np.float32).tiny)
    gain, shift = np.ones(mean.shape, np.float32), np.zeros(mean.shape, np.float32)
    for number, count in enumerate(counts):
        location = (mean[number] - grand)[varies] / pooled[varies]
        scale = squares[number][varies] / (count - 1) / pooled[varies] ** 2
        location, scale = shrink(location, scale, int(count))
        gain[number][varies] = 1 / np.sqrt(scale)
        middle = grand[varies] + pooled[varies] * location
        shift[number][varies] = grand[varies] - middle / np.sqrt(scale)
    return gain, shift


def _moments(rows, site, counts):
    """Return the mean of each site and its sum of squared deviations, shape (n_sites, *S)."""
    first = np.asarray(rows[0], dtype=np.float64)
    total = np.zeros((len(counts), *first.shape))
    squares = np.zeros_like(total)
    for index, number in enumerate(site):
        # Deviations from one row reduce rounding errors, and are 0 where nothing varies.
        deviation = np.asarray(rows[index], dtype=np.float64) - first
        total[number] += deviation
        squares[number] += deviation**2
    divisor = counts.reshape(-1, *[1] * first.ndim)
    return first + total / divisor, np.maximum(squares - total**2 / divisor, 0)


def shrink(location, scale, count):
    """Shrink a site's estimates towards their distribution over features (empirical Bayes).

    Parameters
    ----------
    location, scale : ndarray, shape (k,)
        Mean and variance of each standardised feature at the site.
    count : int
        Its participants.

    Returns
    -------
    location, scale : ndarray, shape (k,)
        Posterior means, of a normal and an inverse gamma prior whose parameters are the moments
        over features; unchanged where these do not vary over features, as with a single one.
    """
    if len(location) < 2 or np.var(location) == 0 or np.var(scale) == 0:
        return location, np.where(scale > 0, scale, 1.0)
    prior_mean, prior_variance = location.mean(), location.var(ddof=1)
    m, v = scale.mean(), scale.var(ddof=1)
    shape, rate = 2 + m**2 / v, m + m**3 / v
    old_location, old_scale = location, scale
    for _ in range(STEPS):
        new_location = (prior_variance * count * location + old_scale * prior_mean) / (
            prior_variance * count + old_scale
        )
        squares = (count - 1) * scale + count * (location - new_location) ** 2
        new_scale = (squares / 2 + rate) / (count / 2 + shape - 1)
        change = max(_change(new_location, old_location), _change(new_scale, old_scale))
        old_location, old_scale = new_location, new_scale
        if change < CLOSE:
            break
    return old_location, old_scale


def _change(new, old):
    return float(np.max(np.abs(new - old) / np.maximum(np.abs(old), 1e-12)))
