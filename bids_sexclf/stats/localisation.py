"""Measure whether a map points at the one region that is known to be the source."""

import numpy as np

from bids_sexclf.errors import InputError


def average_magnitude(values, kind):
    """Average maps within each kind of people, and then the magnitudes of both.

    What points to one class in one kind of people and to the other class in the other does not
    cancel, and what varies from person to person does.

    Parameters
    ----------
    values : array_like of float, shape (people, units)
        People with an unknown value are left out.
    kind : array_like of int, shape (people,)
        0 or 1.

    Returns
    -------
    numpy.ndarray of float, shape (units,)
        NaN where nobody is known.
    """
    values, kind = np.asarray(values, float), np.asarray(kind)
    known = np.isfinite(values).all(axis=1)
    means = [
        np.abs(values[known & (kind == one)].mean(axis=0))
        for one in (0, 1)
        if (known & (kind == one)).any()
    ]
    return np.mean(means, axis=0) if means else np.full(values.shape[1], np.nan)


def locate_source(weights, region, source):
    """Measure how well weights point at a source region.

    Parameters
    ----------
    weights : array_like of float, shape (units,)
        Magnitudes, at least 0: of voxels, or of regions.
    region : array_like of int, shape (units,)
        Region of each unit; 0 is outside of all.
    source : int

    Returns
    -------
    dict
        ``share`` of the sum of weights that lies in the source, in [0, 1]; ``lift``, that share
        divided by the source's share of the units; ``precision``, the share of the heaviest units,
        as many as the source has, that lie in it; ``rank`` of the source among the regions by mean
        weight, 1 for the heaviest, ties sharing the worst rank; ``n_regions``. NaN, and a rank of
        None, where weights are all zero or unknown.

    Raises
    ------
    InputError
        If no unit lies in the source.

    References
    ----------
    .. [1] Siegel et al. (2025). arXiv:2508.02560
    .. [2] Arras, Osman & Samek (2022). Inf. Fusion 81, 14. doi:10.1016/j.inffus.2021.11.008

    Examples
    --------
    >>> scores = locate_source([4, 3, 1, 0], [1, 1, 2, 2], 1)
    >>> scores["share"], scores["lift"], scores["precision"], scores["rank"], scores["n_regions"]
    (0.875, 1.75, 1.0, 1, 2)
    """
    weights, region = np.asarray(weights, float), np.asarray(region)
    inside = region == source
    if not inside.any():
        raise InputError(
            f"Found no unit of region {source}, needed one at least. Choose a region that lies in "
            "the brain on the grid of the study."
        )
    index = np.unique(region[region != 0])
    if not np.isfinite(weights).all() or not weights.sum() > 0:
        nothing = dict.fromkeys(("share", "lift", "precision"), float("nan"))
        return nothing | {"rank": None, "n_regions": len(index)}
    share = weights[inside].sum() / weights.sum()
    heaviest = np.argsort(-weights, kind="stable")[: inside.sum()]
    means = np.array([weights[region == one].mean() for one in index])
    return {
        "share": float(share),
        "lift": float(share / inside.mean()),
        "precision": float(inside[heaviest].mean()),
        "rank": int((means >= means[index == source]).sum()),
        "n_regions": len(index),
    }
