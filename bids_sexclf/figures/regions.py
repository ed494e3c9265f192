"""Show which regions a network needs, with intervals."""

from bids_sexclf.figures._style import COLOURS, GROUP, WIDTH, name_group
from bids_sexclf.stats.regional import is_named
from bids_sexclf.words import label_region

SECTION = "Where {differ}"
ORDER = 60
READS = ("regions", "words")
CAPTION = (
    "{tested} when one region is hidden, with intervals; the "
    "strongest regions of each network. Filled dots: it is shown to lean on the region (family-"
    "wise p up to 0.05, regions of donors put in). Hollow dots may well be chance. Fills "
    "and methods that carry no claim have hollow dots only. Right of zero the region spoke for "
    "{correct}. Bad would be reading anything into hollow dots."
)
MOST_PANELS = 12
LABELS = {1: "effect", 2: "short_effect"}
"""Word of the target that labels the axis, by panels side by side."""


def draw(tables):
    """Draw the strongest regions, one panel per network, map, method and fill.

    Parameters
    ----------
    tables : dict
        Reads ``regions``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    regions = tables["regions"].query("n_participants > 0")
    if regions.empty:
        return None
    groups = list(regions.groupby(GROUP, sort=False, dropna=False))
    limit = 18 if len(groups) == 1 else 10
    columns = min(2, len(groups))
    rows = -(-min(len(groups), MOST_PANELS) // columns)
    bars = min(limit, max(len(group) for _, group in groups))
    figure = Figure(
        figsize=(WIDTH, rows * (1.0 + 0.25 * bars)), layout=ConstrainedLayoutEngine(h_pad=0.12)
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(groups) :]:
        ax.set_visible(False)
    for ax, (keys, group) in zip(axes, groups, strict=False):
        _draw_forest(ax, group, limit)
        ax.set(title=name_group(keys, regions), xlabel=tables["words"][LABELS[columns]])
        ax.xaxis.set_major_locator(MaxNLocator(5))
    if len(groups) > MOST_PANELS:
        figure.supxlabel(f"{len(groups) - MOST_PANELS} more in the table", fontsize="medium")
    return figure


def _draw_forest(ax, group, limit):
    """Draw the strongest regions of one panel."""
    from textwrap import shorten

    order = group["mean"].abs().sort_values(ascending=False, kind="stable").index[:limit]
    group = group.loc[order].sort_values("mean", ascending=False, kind="stable")
    ax.axvline(0, color="#888888", linewidth=0.8)
    for place, (row, sure) in enumerate(zip(group.itertuples(), is_named(group), strict=True)):
        colour = COLOURS[0] if sure else "#888888"
        ax.plot([row.ci_low, row.ci_high], [place, place], color=colour, linewidth=1.6)
        ax.plot(row.mean, place, "o", color=colour, mfc=colour if sure else "white", markersize=6)
    names = [
        shorten(label_region(row.name, row.hemisphere), 44, placeholder=" …")
        for row in group.itertuples(index=False)
    ]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", color="#EEEEEE")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
