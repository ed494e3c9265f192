"""Show who was studied: age by sex, and brain volume by sex."""

from bids_sexclf.figures._style import INK, MANY, SEX_COLOURS, SEX_MARKERS, make_panels

SECTION = "Participants"
ORDER = 10
READS = ("cohort",)
CAPTION = (
    "Left: ages of the female and male participants. Right: their brain volumes, with quartiles. "
    "Bad would be two sides of different age: a network could then tell age instead of sex. "
    "Men's brains are larger on average, so any network has this easy cue; the brain-size "
    "baseline shows how far it alone would carry."
)
SOFT = {"color": "#777777"}
BIN_WIDTHS = (1, 2, 5, 10, 20)


def draw(tables):
    """Draw an age pyramid and a strip of brain volumes.

    Parameters
    ----------
    tables : dict
        Reads ``cohort``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    cohort = tables["cohort"]
    if cohort.empty:
        return None
    panels = [
        (draw_panel, cohort.dropna(subset=column))
        for draw_panel, column in (
            (_draw_pyramid, "age_years"),
            (_draw_volumes, "brain_volume_ml"),
        )
    ]
    panels = [(draw_panel, rows) for draw_panel, rows in panels if len(rows)]
    if not panels:
        return None
    figure, axes = make_panels(len(panels), columns=2, height=3.4)
    for ax, (draw_panel, rows) in zip(axes, panels, strict=True):
        draw_panel(ax, rows)
        if len(rows) < len(cohort):
            ax.set_title(f"{ax.get_title()} (unknown of {len(cohort) - len(rows)})")
    return figure


def _draw_pyramid(ax, cohort):
    """Draw ages back to back: female to the left, male to the right."""
    import numpy as np

    age = cohort["age_years"].to_numpy(float)
    fitting = [width for width in BIN_WIDTHS if np.ptp(age) / width <= 14]
    width = fitting[0] if fitting else BIN_WIDTHS[-1]
    edges = np.arange(np.floor(age.min() / width), np.floor(age.max() / width) + 2) * width
    for sex, sign in (("female", -1), ("male", 1)):
        rows = age[(cohort["sex"] == sex).to_numpy()]
        counts = np.histogram(rows, edges)[0]
        ax.barh(
            edges[:-1] + width / 2,
            sign * counts,
            0.9 * width,
            color=SEX_COLOURS[sex],
            label=f"{sex} ({len(rows)})",
        )
    reach = max(abs(bound) for bound in ax.get_xlim())
    ax.set(xlim=(-reach, reach), xlabel="participants", ylabel="age (years)", title="Age")
    ax.axvline(0, color="white", linewidth=1)
    ax.xaxis.set_major_locator(_whole_numbers())
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)


def _whole_numbers():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=7, integer=True, symmetric=True)


def _draw_volumes(ax, cohort):
    """Draw every brain volume, with quartiles, by sex."""
    import numpy as np

    for place, sex in enumerate(SEX_COLOURS):
        volume = np.sort(cohort.loc[cohort["sex"] == sex, "brain_volume_ml"].to_numpy(float))
        if not len(volume):
            continue
        # Steps of the golden ratio separate neighbours without a random draw.
        spread = (np.arange(len(volume)) * 0.618034 % 1 - 0.5) * 0.5
        ax.scatter(
            place + spread,
            volume,
            14,
            SEX_COLOURS[sex],
            marker=SEX_MARKERS[sex],
            alpha=0.45,
            linewidths=0,
            rasterized=len(volume) > MANY,
        )
        ax.boxplot(
            volume,
            positions=[place],
            widths=0.62,
            showfliers=False,
            showcaps=False,
            boxprops=SOFT,
            whiskerprops=SOFT,
            medianprops={"color": INK, "linewidth": 1.8},
        )
    ax.set(xlim=(-0.6, 1.6), ylabel="brain volume (mL)", title="Brain volume")
    ax.set_xticks(range(len(SEX_COLOURS)), list(SEX_COLOURS))
