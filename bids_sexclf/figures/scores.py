"""Show all scores with intervals, networks beside baselines."""

from bids_sexclf.figures._style import (
    COLOURS,
    WIDTH,
    list_networks,
    list_pairs,
    name_pair,
    take,
)

SECTION = "How surely {what} can be told"
ORDER = 30
READS = ("scores", "comparisons")
CAPTION = (
    "Scores on participants the models never saw, with intervals; networks in blue dots, baselines "
    "in grey squares; the dashed line is chance. Bad would be a network whose interval reaches "
    "chance or covers the best baseline, or a shuffled model whose interval does not."
)
SHOWN = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "mae": "mean absolute error (years)",
    "r2": "R\u00b2",
    "age_bias": "lean of the error with age",
}
MOST = 3


def draw(tables):
    """Draw a forest plot: one row per model and map, one panel per score.

    Parameters
    ----------
    tables : dict
        Reads ``scores`` and ``comparisons``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    from matplotlib.figure import Figure

    scores = tables["scores"]
    scores = scores[(scores["part"] == "test") & scores["estimate"].notna()]
    if scores.empty:
        return None
    networks = list_networks(tables)
    pairs = sorted(list_pairs(scores), key=lambda pair: pair not in networks)
    present = set(scores["score"])
    shown = [score for score in SHOWN if score in present] or sorted(present)
    shown = shown[:MOST]
    width = WIDTH if len(shown) > 1 else 0.7 * WIDTH
    figure = Figure(figsize=(width, 1.1 + 0.3 * len(pairs)), layout="constrained")
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, score in zip(axes, shown, strict=True):
        _draw_forest(ax, scores[scores["score"] == score], pairs, networks)
        ax.set_title(SHOWN.get(score, score))
    axes[0].set_yticks(range(len(pairs)), [name_pair(pair) for pair in pairs])
    axes[0].set_ylim(len(pairs) - 0.4, -0.6)
    return figure


def _draw_forest(ax, scores, pairs, networks):
    """Draw the rows of one score."""
    for place, pair in enumerate(pairs):
        rows = take(scores, pair)
        if rows.empty:
            continue
        row, network = rows.iloc[0], pair in networks
        colour = COLOURS[0] if network else "#666666"
        ax.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=2)
        ax.plot(row["estimate"], place, "o" if network else "s", color=colour, markersize=7)
    chance = scores["null_mean"].dropna()
    if len(chance):
        ax.axvline(chance.median(), color="#888888", linewidth=1, linestyle="--", zorder=1)
    if 0 < len(networks) < len(pairs):
        ax.axhline(len(networks) - 0.5, color="#DDDDDD", linewidth=0.8)
    ax.grid(axis="x", color="#EEEEEE", zorder=0)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
