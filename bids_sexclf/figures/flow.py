"""Show the number of participant-sessions at each step, and why some were left out."""

import re
import textwrap

from bids_sexclf.figures._style import FAINT, IDS, INK, WIDTH
from bids_sexclf.texts import count_noun, count_sexes

SECTION = "Participants"
ORDER = 5
READS = ("cohort", "excluded")
CAPTION = (
    "From everybody known to everybody studied. Each box on the right says how many were left out "
    "at that step, and why; excluded.tsv names all of them. Bad would be a step that leaves out "
    "many, or more of one sex than of the other."
)
STEPS = {
    "preflight": "Scans and tables checked",
    "participant": "Prepared",
    "quality": "Quality judged",
    "cohort": "Maps and labels at hand",
}
"""Stages in their order; other stages of excluded.tsv follow under their own names."""

MOST_REASONS, MOST_NAMES, LINE = 3, 3, 66
ROW = 1.15
"""Height of a step, inches."""


def draw(tables):
    """Draw one box per step, and one beside it for those who were left out there.

    Parameters
    ----------
    tables : dict
        Reads ``cohort`` and ``excluded``.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where there are no participants.
    """
    from matplotlib.figure import Figure

    cohort, losses = tables["cohort"], _count_losses(tables["excluded"])
    studied = len(cohort.drop_duplicates(IDS))
    remaining = studied + sum(len(rows) for _, rows in losses)
    if not remaining:
        return None
    figure = Figure(figsize=(WIDTH, ROW * (len(losses) + 1)))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 10), ylim=(-len(losses) - 0.5, 0.5))
    ax.set_axis_off()
    _draw_box(ax, 1.9, 0, f"{_people(remaining)} known", INK)
    for place, (step, rows) in enumerate(losses, start=1):
        remaining -= len(rows)
        title = STEPS.get(step, str(step)[:40])
        last = place == len(losses)
        text = f"{remaining} studied\n{_say_sexes(cohort)}" if last else f"{remaining} left"
        _draw_box(ax, 1.9, -place, text, INK)
        _draw_box(ax, 4.2, -place + 0.5, _say_loss(title, rows), FAINT, "left")
        _draw_arrow(ax, (1.9, -place + 1), (1.9, -place))
        _draw_arrow(ax, (1.9, -place + 0.5), (4.05, -place + 0.5))
    if not losses:
        _draw_box(ax, 4.2, 0, f"nobody left out: {_say_sexes(cohort)}", FAINT, "left")
    return figure


def _count_losses(excluded):
    """List the steps that left somebody out, in order, with their rows."""
    once = excluded.drop_duplicates(IDS, keep="first")
    order = [*STEPS, *sorted(set(once["stage"].dropna()) - set(STEPS))]
    rows = [(step, once[once["stage"] == step]) for step in order]
    return [(step, part) for step, part in rows if len(part)]


def _people(count):
    return count_noun(count, "participant-session")


def _say_sexes(cohort):
    return count_sexes(cohort.drop_duplicates("participant_id")["sex"])


def _say_loss(title, rows):
    """Describe a loss: how many were left out, the most frequent reasons, and a few names."""
    reasons = rows["reason"].astype(str).map(_shorten).value_counts()
    lines = [f"{title}: {len(rows)} left out"]
    for reason, count in reasons.head(MOST_REASONS).items():
        names = rows.loc[rows["reason"].astype(str).map(_shorten) == reason, "participant_id"]
        shown = ", ".join(str(name)[:20] for name in names[:MOST_NAMES])
        ellipsis = ", …" if count > MOST_NAMES else ""
        lines.append(
            textwrap.shorten(f"{count}: {reason} ({shown}{ellipsis})", LINE, placeholder=" …")
        )
    if len(reasons) > MOST_REASONS:
        lines.append(f"and {len(reasons) - MOST_REASONS} other reasons")
    return "\n".join(lines)


def _shorten(reason):
    """Return the general part of a reason: its first clause, without numbers and names."""
    clause = re.split(r"[;,] needed|;", re.sub(r"^\w*Error: (Found that |Found )?", "", reason))[0]
    return " ".join("…" if re.search(r"\d", word) else word for word in clause.split())[:80]


def _draw_box(ax, x, y, text, edge, align="center"):
    text = text.replace("$", r"\$")  # names and reasons are no formulas
    ax.text(
        x, y, text, ha=align, va="center", fontsize=8.5, linespacing=1.35, zorder=3,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": edge},
    )  # fmt: skip


def _draw_arrow(ax, start, end):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#777777"}, zorder=1)
