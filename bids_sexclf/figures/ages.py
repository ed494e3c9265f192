"""Show predicted against true ages."""

from bids_sexclf.figures._style import (
    FAINT,
    IDS,
    INK,
    SEX_COLOURS,
    average_repeats,
    hang_legend,
    list_drawn,
    make_panels,
    name_pair,
    scatter_sex,
    take,
)

SECTION = "How surely {what} can be told"
ORDER = 25
KIND = "quantity"
READS = ("predictions", "cohort", "scores", "comparisons")
CAPTION = (
    "Age that a model told against true age, one point per participant, with the line fitted to "
    "them (black), the line of no error (grey) and the mean absolute error. Bad would be a black "
    "line much flatter than the grey one, which most models draw: the young are then taken for "
    "older than they are and the old for younger; or points of one sex above those of the other."
)


def draw(tables):
    """Draw predicted against true age, one panel per model and map.

    Parameters
    ----------
    tables : dict
        Reads ``predictions`` (test part), ``cohort``, ``scores``, ``comparisons``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    tested = tables["predictions"]
    tested = tested[tested["part"] == "test"]
    pairs = list_drawn(tables, tested)
    if not pairs or tables["cohort"].empty:
        return None
    sexes = tables["cohort"][[*IDS, "sex"]]
    figure, axes = make_panels(len(pairs), height=3.9)
    figure.get_layout_engine().set(h_pad=0.12)
    for ax, pair in zip(axes, pairs, strict=True):
        points = average_repeats(take(tested, pair), ["target", "evidence"]).merge(sexes, on=IDS)
        _draw_ages(ax, points, _say_error(take(tables["scores"], pair)))
        ax.set(title=name_pair(pair), xlabel="true age (years)")
    axes[0].set_ylabel("told age (years)")
    return figure


def _draw_ages(ax, points, error):
    """Draw the points of one model, the line of no error and the fitted line."""
    import numpy as np

    age, predicted = points["target"].to_numpy(float), points["evidence"].to_numpy(float)
    ax.axline((age.mean(), age.mean()), slope=1, color=FAINT, linewidth=1.2, zorder=0)
    for sex in SEX_COLOURS:
        of_sex = (points["sex"] == sex).to_numpy()
        scatter_sex(ax, sex, age[of_sex], predicted[of_sex], sex)
    if len(age) > 2 and np.ptp(age) > 0:
        span = np.array([age.min(), age.max()])
        ax.plot(span, np.polyval(np.polyfit(age, predicted, 1), span), color=INK, lw=1.8)
    reach = np.concatenate([age, predicted])
    edge = 0.05 * np.ptp(reach) or 1
    limits = (reach.min() - edge, reach.max() + edge)
    ax.set(xlim=limits, ylim=limits)
    ax.set_aspect("equal")
    hang_legend(ax, title=error, alignment="left", ncols=2)


def _say_error(scores):
    error = scores.loc[(scores["score"] == "mae") & (scores["part"] == "test"), "estimate"]
    return f"mean error {error.iloc[0]:.1f} years" if len(error) else None
