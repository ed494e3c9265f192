"""Make text that others have written fit to be shown on a page, in a figure or on a terminal."""

import re

UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+"
)
"""Characters that no page and no SVG may hold, or that turn the order of the others."""


def clean(text, most):
    r"""Make a text fit to be shown: without characters that cannot be seen, and not too long.

    Parameters
    ----------
    text : str
    most : int
        Characters that are kept.

    Returns
    -------
    str

    Examples
    --------
    >>> clean("left\n\x00hippocampus", 80), clean("abcdefgh", 5)
    ('left hippocampus', 'abcd…')
    """
    text = UNSEEN.sub(" ", text[: 4 * most])
    return text if len(text) <= most else text[: most - 1] + "…"


def shown(value, most=20_000):
    """Make what a template prints fit to be shown; for jinja2's ``finalize``.

    Parameters
    ----------
    value : object
        Text is cleaned line by line and cut; markup, and all that is no text, stays as it is.
    most : int
        Characters that are kept.

    Returns
    -------
    object
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    lines = value[:most].splitlines()
    return "\n".join(clean(line, most) for line in lines) + ("…" if len(value) > most else "")
