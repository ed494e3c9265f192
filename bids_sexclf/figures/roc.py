"""Show the ROC curve of each network beside the baselines."""

from bids_sexclf.figures._style import (
    COLOURS,
    FAINT,
    GREYS,
    list_networks,
    list_pairs,
    make_panels,
    name_pair,
    take,
)

SECTION = "How surely {what} can be told"
ORDER = 20
KIND = "classes"
READS = ("roc", "scores", "comparisons", "words")
CAPTION = (
    "Share of {seconds} called {second} against share of {firsts} called {second}, over every "
    "threshold, for participants the network never saw. The further towards the upper left, the "
    "better; the diagonal is guessing. Bad would be a network (colour) that does not "
    "rise above brain size (grey), or a shuffled model that leaves the diagonal."
)


def draw(tables):
    """Draw one panel per map: its networks in colour, baselines in grey.

    Parameters
    ----------
    tables : dict
        Reads ``roc`` (model, map, fpr, tpr), ``scores``, ``comparisons``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    curves = tables["roc"]
    if curves.empty:
        return None
    judged, drawn = list_networks(tables), list_pairs(curves)
    maps = list(dict.fromkeys(pair[1] for pair in judged if pair in drawn)) or ["table"]
    rows = max(sum(pair[1] in (map_name, "table") for pair in drawn) for map_name in maps)
    figure, axes = make_panels(len(maps), height=(3.8 if len(maps) < 3 else 3.1) + 0.17 * rows)
    for ax, map_name in zip(axes, maps, strict=True):
        shown = [pair for pair in drawn if pair[1] in (map_name, "table")]
        networks = [pair for pair in shown if pair in judged]
        _draw_curves(ax, tables, networks, [pair for pair in shown if pair not in networks])
        ax.set_title("" if map_name == "table" else map_name)
    axes[0].set_ylabel("{seconds} called {second}".format(**tables["words"]))
    return figure


def _draw_curves(ax, tables, networks, baselines):
    """Draw the curves of one map and name them with their area."""
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    for number, pair in reversed(list(enumerate(baselines))):
        colour, dash = GREYS[number % len(GREYS)]
        _draw_curve(ax, tables, pair, color=colour, linestyle=dash, linewidth=1.3)
    for number, pair in reversed(list(enumerate(networks))):
        _draw_curve(ax, tables, pair, color=COLOURS[number % len(COLOURS)], linewidth=2.2)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.set_xlabel("{firsts} called {second}".format(**tables["words"]))
    ax.set_aspect("equal")
    lines, names = ax.get_legend_handles_labels()
    # Below the axes, since a long list inside would cover the curves of a weak network.
    ax.legend(lines[::-1], names[::-1], loc="upper left", bbox_to_anchor=(-0.02, -0.15))


def _draw_curve(ax, tables, pair, **look):
    points, scores = take(tables["roc"], pair), take(tables["scores"], pair)
    area = scores.loc[(scores["score"] == "auc") & (scores["part"] == "test"), "estimate"].dropna()
    name = pair[0] + (f", AUC {area.iloc[0]:.2f}" if len(area) else "")
    ax.plot(points["fpr"], points["tpr"], label=name if pair[1] else name_pair(pair), **look)
