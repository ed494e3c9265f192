"""Show how each training went."""

from bids_sexclf.figures._style import COLOURS, list_pairs, make_panels, name_pair, take

SECTION = "How the networks were trained"
ORDER = 80
READS = ("history",)
CAPTION = (
    "Loss over the training part (grey) and the validation part (blue), one line per fold; dots "
    "mark the epoch whose weights were kept. Bad would be blue lines that never fall (nothing was "
    "learned), or dots at the right edge (training stopped too early)."
)


def draw(tables):
    """Draw loss curves, one panel per model and map.

    Parameters
    ----------
    tables : dict
        Reads ``history``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    from matplotlib.ticker import MaxNLocator

    history = tables["history"]
    if history.empty:
        return None
    pairs = list_pairs(history)
    figure, axes = make_panels(len(pairs), height=2.7)
    for ax, pair in zip(axes, pairs, strict=True):
        for _, run in take(history, pair).groupby(["repeat", "fold"]):
            _draw_run(ax, run.sort_values("epoch"))
        ax.set_title(name_pair(pair))
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes[0].set_ylabel("loss")
    return figure


def _draw_run(ax, run):
    """Draw the two curves of one fold and the epoch that was kept."""
    epoch = run["epoch"].to_numpy(float)
    validation = run["validation_loss"].astype(float)
    ax.plot(epoch, run["train_loss"].astype(float), color="#AAAAAA", linewidth=1)
    ax.plot(epoch, validation, color=COLOURS[0], linewidth=1.2, alpha=0.8)
    if validation.notna().any():
        best = run.loc[validation.idxmin()]
        ax.plot(best["epoch"], best["validation_loss"], "o", color=COLOURS[0], markersize=5)
