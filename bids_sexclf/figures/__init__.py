"""Draw figures from tables: one figure per file, named like the file.

The file of a figure declares ``SECTION`` (its heading in the report),
``ORDER`` (its position), ``READS`` (tables it reads), ``CAPTION`` (what it
shows and what would be bad) and ``draw(tables)``, which returns a matplotlib
``Figure``, or None where the tables hold nothing to show. A figure that only suits a target of
classes, or only a quantity, declares ``KIND = "classes"`` or ``"quantity"``. ``SECTION`` and
``CAPTION`` hold the words of the target in braces; the table ``words`` holds their values.
"""

import re

from bids_sexclf import catalogue
from bids_sexclf.figures._text import clean_table

__all__ = ["clean", "draw_svg", "inline_svg", "ordered"]

PACKAGE = "bids_sexclf.figures"


def ordered(target=None):
    """List the figures in the order of the report.

    Parameters
    ----------
    target : targets.Target, optional
        Only those that a study of this target has.

    Returns
    -------
    list of (str, module)
        Name and entry.
    """
    entries = [(name, catalogue.find(PACKAGE, name)) for name in catalogue.names(PACKAGE)]
    if target is not None:
        entries = [one for one in entries if _suits(one[1], target)]
    return sorted(entries, key=lambda entry: (entry[1].ORDER, entry[0]))


def _suits(entry, target):
    """Return whether a figure suits the kind of a target."""
    tables = all(target.has(name) for name in entry.READS)
    return tables and getattr(entry, "KIND", target.kind) == target.kind


def draw_svg(name, tables):
    """Draw a figure as SVG text in the style all figures share.

    Text stays text, images are embedded, and the same tables give the same
    bytes.

    Parameters
    ----------
    name : str
        File name of the figure.
    tables : dict
        Table name to ``pandas.DataFrame``; ``template`` and ``atlas`` to a pair
        of array, shape (X, Y, Z), and affine, shape (4, 4), mm, or to None.

    Returns
    -------
    str or None
        None where the tables hold nothing to show.

    Raises
    ------
    InputError
        If there is no such figure.
    """
    import io

    import matplotlib

    from bids_sexclf.figures._style import STYLE

    tables = {
        key: clean_table(table) if hasattr(table, "columns") else table
        for key, table in tables.items()
        if key in catalogue.find(PACKAGE, name).READS
    }
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = catalogue.find(PACKAGE, name).draw(tables)
        if figure is None:
            return None
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def inline_svg(svg, name, label):
    """Prepare SVG text for an HTML page that holds several SVGs.

    Parameters
    ----------
    svg : str
        A whole SVG document.
    name : str
        Goes before every id, so that the ids of two figures never clash.
    label : str
        What a screen reader says.

    Returns
    -------
    str
        One ``<svg>`` element.
    """
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
