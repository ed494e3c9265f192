"""Show by how much regions differ between the sexes, tested without a model."""

from bids_sexclf.figures._style import COLOURS, WIDTH
from bids_sexclf.words import label_region

SECTION = "Where {differ}"
ORDER = 55
KIND = "classes"
READS = ("differences",)
CAPTION = (
    "Difference between the sexes of the mean of each region, in standard deviations (Cohen's d), "
    "with intervals; the regions of the smallest p-values. Right of zero men have more. Upper dots "
    "are of the scans as they are, lower dots are adjusted. Filled dots differ after correction "
    "for all regions of the map (family-wise p of 0.05 or less, by a test of all voxels of the "
    "region that needs no model); hollow dots are not shown to. Bad would be reading anything into "
    "hollow dots, or taking an upper dot whose lower one is hollow for more than brain size."
)
ALPHA = 0.05
MOST_PANELS = 12


def draw(tables):
    """Draw the regions with the smallest p-values, one panel per map and atlas.

    Parameters
    ----------
    tables : dict
        Reads ``differences``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    table = tables["differences"].query("n_participants > 0 and d == d")
    if table.empty:
        return None
    groups = list(table.groupby(["map", "atlas"], sort=False))
    limit = 18 if len(groups) == 1 else 10
    columns = min(2, len(groups))
    rows = -(-min(len(groups), MOST_PANELS) // columns)
    shown = min(limit, max(group["region"].nunique() for _, group in groups))
    figure = Figure(figsize=(WIDTH, rows * (1.0 + 0.3 * shown)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(groups) :]:
        ax.set_visible(False)
    for ax, ((map_name, atlas), group) in zip(axes, groups, strict=False):
        _draw_panel(ax, group, limit)
        ax.set(title=f"{map_name}, {atlas}", xlabel="Cohen's d, men − women")
        ax.xaxis.set_major_locator(MaxNLocator(5))
    if len(groups) > MOST_PANELS:
        figure.supxlabel(f"{len(groups) - MOST_PANELS} more in the table", fontsize="medium")
    return figure


def _draw_panel(ax, group, limit):
    from textwrap import shorten

    plain = group[group["adjusted_for"].isin(["nothing", "site"])]
    plain = plain.sort_values(["p_fwe", "statistic"], ascending=[True, False]).head(limit)
    adjusted = group.drop(index=plain.index).drop_duplicates("region").set_index("region")
    adjusted = adjusted[~adjusted["adjusted_for"].isin(["nothing", "site"])]
    ax.axvline(0, color="#888888", linewidth=0.8)
    for place, row in enumerate(plain.itertuples()):
        _draw_dot(ax, row, place - 0.14, COLOURS[0])
        if row.region in adjusted.index:
            _draw_dot(ax, adjusted.loc[row.region], place + 0.14, COLOURS[1])
    names = [
        shorten(label_region(row.name, row.hemisphere), 44, placeholder=" …")
        for row in plain.itertuples(index=False)
    ]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", color="#EEEEEE")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _draw_dot(ax, row, place, colour):
    sure = row.p_fwe <= ALPHA
    ax.plot([row.ci_low, row.ci_high], [place, place], color=colour, linewidth=1.3)
    ax.plot(row.d, place, "o", color=colour, mfc=colour if sure else "white", markersize=5)
