"""Show whether a network's evidence correlates with brain volume within each sex."""

from bids_sexclf.figures._style import (
    FAINT,
    IDS,
    SEX_COLOURS,
    average_repeats,
    hang_legend,
    list_drawn,
    make_panels,
    name_pair,
    scatter_sex,
    take,
)

SECTION = "What else could explain it"
ORDER = 50
KIND = "classes"
READS = ("predictions", "cohort", "confounds", "scores", "comparisons", "words")
CAPTION = (
    "Evidence for {second} (logit; above zero the network says {second}) against brain volume, "
    "with a line fitted within each sex and Spearman's rho beside it. Bad would be steep lines: "
    "among people of one sex, the network then calls those with larger brains more {second}, so it "
    "reads brain size."
)


def draw(tables):
    """Draw evidence against brain volume, one panel per network and map.

    Parameters
    ----------
    tables : dict
        Reads ``predictions`` (test part), ``cohort``, ``confounds``, ``scores``,
        ``comparisons``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    tested = tables["predictions"]
    tested = tested[tested["part"] == "test"]
    sized = tables["cohort"].dropna(subset="brain_volume_ml")
    pairs = list_drawn(tables, tested)
    if not pairs or sized.empty:
        return None
    figure, axes = make_panels(len(pairs), height=3.3)
    for ax, pair in zip(axes, pairs, strict=True):
        logit = average_repeats(take(tested, pair), ["evidence"])
        _draw_cloud(ax, logit.merge(sized, on=IDS), take(tables["confounds"], pair))
        ax.set(title=name_pair(pair), xlabel="brain volume (mL)")
    axes[0].set_ylabel(f"evidence for {tables['words']['second']} (logit)")
    return figure


def _draw_cloud(ax, points, confounds):
    """Draw the points of one network and a line within each sex."""
    import numpy as np

    ax.axhline(0, color=FAINT, linewidth=0.8)
    for sex, colour in SEX_COLOURS.items():
        rows = points[points["sex"] == sex]
        volume, logit = rows["brain_volume_ml"].to_numpy(float), rows["evidence"].to_numpy(float)
        scatter_sex(ax, sex, volume, logit, sex + _say_rho(confounds, sex))
        if len(rows) > 2 and np.ptp(volume) > 0:
            ends = np.array([volume.min(), volume.max()])
            ax.plot(ends, np.polyval(np.polyfit(volume, logit, 1), ends), color=colour, lw=1.8)
    hang_legend(ax)


def _say_rho(confounds, sex):
    rows = confounds[(confounds["covariate"] == "brain_volume_ml") & (confounds["within"] == sex)]
    rho = rows["rho"].dropna()
    return f" (rho {rho.iloc[0]:.2f})".replace("-", "\u2212") if len(rho) else ""
