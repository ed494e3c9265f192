"""Show the quality numbers of all prepared participants, and name the outliers."""

from textwrap import fill

import numpy as np

from bids_sexclf.figures._style import COLOURS, INK, MANY, make_panels
from bids_sexclf.measures import name_measure

SECTION = "Participants"
ORDER = 15
READS = ("quality", "quality_limits")
CAPTION = (
    "Each point is a participant-session; the line is the median, the band 3.5 robust standard "
    "deviations to either side. Bad would be points beyond the band in the direction of the arrow: "
    "they are named (five per panel at most), listed in quality.tsv with the reason, and left out "
    "of nothing. Look at their pages before trusting them. A number that is the same for everybody "
    "is not drawn."
)
MOST_NAMES = 5
WIDEST = 30
"""Letters of a title; a longer one takes two lines."""
FLAGGED = COLOURS[1]
ARROWS = {"high": " → bad", "low": "bad ←", "both": "bad ← → bad"}


def draw(tables):
    """Draw one strip per quality number.

    Parameters
    ----------
    tables : dict
        Reads ``quality`` and ``quality_limits``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    quality, limits = tables["quality"], tables["quality_limits"]
    spread = {number: quality[number].max() - quality[number].min() for number in limits["number"]}
    limits = limits[limits["number"].map(spread) > 1e-6]
    if limits.empty:
        return None
    figure, axes = make_panels(len(limits), columns=3, height=2.1)
    for limit, ax in zip(limits.itertuples(), axes, strict=True):
        _draw_strip(ax, quality.dropna(subset=limit.number), limit)
    return figure


def _draw_strip(ax, rows, limit):
    """Draw all values, the median, the band, and the names of the outliers."""
    values = rows[limit.number].to_numpy(float)
    outlier = np.zeros(len(values), bool)
    if limit.bad != "low":
        outlier |= values > limit.high
    if limit.bad != "high":
        outlier |= values < limit.low
    # Steps of the golden ratio separate neighbours without a random draw.
    spread = np.empty(len(values))
    spread[np.argsort(values, kind="stable")] = np.arange(len(values)) * 0.618034 % 1 - 0.5
    middle, distance = limit.median, np.where(outlier, np.abs(values - limit.median), 0)
    if np.isfinite(limit.low):
        ax.axvspan(limit.low, limit.high, color="#f0f2f5", linewidth=0)
    ax.axvline(middle, color=INK, linewidth=1.2)
    for chosen, colour, size in ((~outlier, COLOURS[0], 13), (outlier, FLAGGED, 26)):
        ax.scatter(
            values[chosen], spread[chosen], size, colour, alpha=0.75, linewidths=0,
            rasterized=chosen.sum() > MANY,
        )  # fmt: skip
    farthest = np.argsort(-distance)[: min(outlier.sum(), MOST_NAMES)]
    right = (ax.get_xlim()[0] + ax.get_xlim()[1]) / 2
    for row in farthest:
        person = rows.iloc[row]
        session = person["session_id"]
        label = person["participant_id"] + (f" {session}" if session == session and session else "")
        leftward = values[row] > right
        ax.annotate(
            label, (values[row], spread[row]), (-5 if leftward else 5, 0),
            textcoords="offset points", ha="right" if leftward else "left", va="center",
            fontsize=8, color=FLAGGED,
        )  # fmt: skip
    ax.set(ylim=(-0.8, 0.8), yticks=[], title=fill(name_measure(limit.number), WIDEST))
    ax.set_xlabel(ARROWS[limit.bad], fontsize=8, color="#777777")
    ax.spines["left"].set_visible(False)
