"""Show whether the probabilities of a network are calibrated."""

from bids_sexclf.figures._style import (
    COLOURS,
    FAINT,
    list_drawn,
    list_pairs,
    make_panels,
    name_pair,
    take,
)

SECTION = "How surely {what} can be told"
ORDER = 40
KIND = "classes"
READS = ("calibration", "scores", "comparisons", "words")
CAPTION = (
    "Participants grouped by the probability the network gave them of being {second}, against the "
    "share who were; bars are intervals with networks as they are, and larger dots hold more "
    "participants. On the diagonal a probability means what it says. Bad would be a flat course: "
    "a network far more certain than it is right."
)


def draw(tables):
    """Draw predicted against observed shares, one panel per network and map.

    Parameters
    ----------
    tables : dict
        Reads ``calibration`` (model, map, predicted, observed, low, high, n).

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    points = tables["calibration"]
    if points.empty:
        return None
    pairs = list_drawn(tables, points) or list_pairs(points)
    figure, axes = make_panels(len(pairs), height=3.4)
    for ax, pair in zip(axes, pairs, strict=True):
        _draw_points(ax, take(points, pair))
        ax.set_title(name_pair(pair))
        ax.set_xlabel(f"probability of {tables['words']['second']} given")
    axes[0].set_ylabel(f"share who were {tables['words']['second']}")
    return figure


def _draw_points(ax, points):
    """Draw one reliability diagram."""
    import numpy as np

    points = points.sort_values("predicted")
    predicted, observed = points["predicted"].to_numpy(float), points["observed"].to_numpy(float)
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    below = np.clip(observed - points["low"].to_numpy(float), 0, None)
    above = np.clip(points["high"].to_numpy(float) - observed, 0, None)
    ax.errorbar(predicted, observed, [below, above], color=COLOURS[0], linewidth=1, elinewidth=1.2)
    count = points["n"].to_numpy(float)
    ax.scatter(predicted, observed, 12 + 60 * count / count.max(), COLOURS[0], zorder=3)
    ax.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    ax.set_aspect("equal")
