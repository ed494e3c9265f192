"""Draw pictures for visual inspection: slices of volumes, gradients, series.

Arrays in, a matplotlib ``Figure`` out; `save_svg` writes it so that the same
arrays give the same bytes. Images are embedded as PNG at their own resolution,
which the browser scales: a page of ten figures stays light and quick to draw.
"""

import re
from pathlib import Path

INK, SOFT, GRID = "#1c2430", "#5b6676", "#d5dae2"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which readers with any colour vision tell apart."""

ACCENT, WARNING = "#E8590C", "#b3261e"
WIDTH = 12.0
"""Width of every figure, inches."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bids_sexclf",
    "image.composite_image": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": "#9aa4b2",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.facecolor": "none",
}


def save_svg(draw, path, *arguments, **options):
    """Draw a figure in the common style and write it as SVG.

    Parameters
    ----------
    draw : callable
        Gives a ``Figure`` from the arguments.
    path : path-like
    *arguments, **options
        For `draw`.

    Returns
    -------
    str
        The path.
    """
    import io

    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, text = draw(*arguments, **options), io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    Path(path).write_text(svg, encoding="utf-8")
    return str(path)
