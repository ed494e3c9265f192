"""Compare maps: rank correlation, edges, and regions of the same sizes drawn at random."""

import numpy as np

SURVIVES = 0.7
"""Rank correlation from which on two maps are called much the same.

On synthetic heads, maps by methods that follow the network kept at most 0.52 with those of networks
that know nothing, and a map that follows none keeps 1 (docs/results.md).
"""


def correlate_ranks(one, other):
    """Compute Spearman's rank correlation of two maps.

    Parameters
    ----------
    one, other : array_like of float, shape (units,)
        Values of the same regions, or of the same voxels.

    Returns
    -------
    float
        In [-1, 1]; NaN where fewer than 3 units are known in both, or a map is constant.

    References
    ----------
    .. [1] Spearman (1904). Am. J. Psychol. 15, 72. doi:10.2307/1412159

    Examples
    --------
    >>> round(correlate_ranks([1, 2, 3, 4], [1, 4, 9, 7]), 3)
    0.8
    """
    from scipy.stats import rankdata

    one, other = np.asarray(one, float), np.asarray(other, float)
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3:
        return float("nan")
    ranks = np.array([rankdata(values[known]) for values in (one, other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.prod(np.sum(ranks**2, axis=1)))
    return float(np.clip(ranks[0] @ ranks[1] / norm, -1, 1)) if norm > 0 else float("nan")


def find_edges(volume):
    """Compute how steeply a volume changes from voxel to voxel: the magnitude of Sobel's filter.

    Parameters
    ----------
    volume : array_like of float, shape ([C,] X, Y, Z)
        Channels are scaled by their range and summed.

    Returns
    -------
    ndarray of float64, shape (X, Y, Z)
        Zero where nothing changes.
    """
    from scipy.ndimage import generic_gradient_magnitude, sobel

    volume = np.asarray(volume, np.float64)
    edges = np.zeros(volume.shape[-3:])
    for channel in volume.reshape(-1, *edges.shape):
        reach = np.ptp(channel)
        if reach > 0:
            edges += generic_gradient_magnitude(channel / reach, sobel)
    return edges


def draw_regions(parcellation, seed=0):
    """Cut the labelled voxels into compact regions at random, of the sizes that the atlas has.

    The voxels are cut by a plane of random direction, and each side again, until every piece has
    the size of one region of the atlas.

    Parameters
    ----------
    parcellation : ndarray of int, shape (X, Y, Z)
        Atlas indices; 0 is background.
    seed : int

    Returns
    -------
    ndarray of int, shape (X, Y, Z)
        As many voxels of each index, elsewhere; the same background.

    Examples
    --------
    >>> labels = np.repeat([0, 1, 1, 1, 7], 4).reshape(5, 2, 2)
    >>> np.bincount(draw_regions(labels).ravel()).tolist() == np.bincount(labels.ravel()).tolist()
    True
    """
    rng = np.random.default_rng(seed)
    index, sizes = np.unique(parcellation[parcellation != 0], return_counts=True)
    places = np.argwhere(parcellation != 0)
    drawn = np.zeros_like(parcellation)
    order = rng.permutation(len(index))
    waiting = [(np.arange(len(places)), order)] if len(index) else []
    while waiting:
        voxels, regions = waiting.pop()
        if len(regions) == 1:
            drawn[tuple(places[voxels].T)] = index[regions[0]]
            continue
        voxels = voxels[np.argsort(places[voxels] @ rng.standard_normal(3), kind="stable")]
        half = len(regions) // 2
        cut = sizes[regions[:half]].sum()
        waiting += [(voxels[:cut], regions[:half]), (voxels[cut:], regions[half:])]
    return drawn


def overlap_tops(one, other, share, total=None):
    """Compare the units that weigh most in two maps.

    Parameters
    ----------
    one, other : array_like of float, shape (units,)
        Magnitudes of the same regions, or of the same voxels of the brain.
    share : float
        Of the units that are called top, in (0, 1]; at least one unit.
    total : int, optional
        Units that the published formula counts: voxels of the whole image, the background
        included; the units themselves by default.

    Returns
    -------
    dict
        ``dice`` and ``jaccard`` of the two sets of top units, in [0, 1]; disjoint sets have 0, and
        sets drawn at random a Dice coefficient of about `share`. ``agreement_kan2020``: the share
        of all units of which both maps say the same, top or not; it is what was published as a Dice
        coefficient, and two disjoint sets of 3 % of an image reach 0.94. All NaN where a map is
        unknown or constant.

    References
    ----------
    .. [1] Dice (1945). Ecology 26, 297. doi:10.2307/1932409
    .. [2] Kan et al. (2020). Interpretation of 3D CNNs for brain MRI classification.
       arXiv:2006.15969

    Examples
    --------
    >>> one = np.arange(100) < 3
    >>> scores = overlap_tops(one, one[::-1], 0.03)
    >>> scores["dice"], scores["jaccard"], round(scores["agreement_kan2020"], 2)
    (0.0, 0.0, 0.94)
    """
    maps = np.array([one, other], float)
    if not np.isfinite(maps).all() or not np.ptp(maps, axis=1).all():
        return dict.fromkeys(("dice", "jaccard", "agreement_kan2020"), float("nan"))
    count = max(1, round(share * maps.shape[1]))
    tops = [set(np.argsort(-values, kind="stable")[:count].tolist()) for values in maps]
    both = len(tops[0] & tops[1])
    return {
        "dice": both / count,
        "jaccard": both / (2 * count - both),
        "agreement_kan2020": 1 - 2 * (count - both) / (total or maps.shape[1]),
    }
