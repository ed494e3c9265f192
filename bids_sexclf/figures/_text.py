"""Text from tables, made fit to be shown."""

import re

MOST = 80
"""Characters of a text that a figure shows."""

UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")
"""Characters that no page and no SVG may hold, or that turn the order of the others."""


def clean(text, most=MOST):
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
    >>> clean("left\n\x00hippocampus"), clean("abcdefgh", 5)
    ('left hippocampus', 'abcd…')
    """
    text = UNSEEN.sub(" ", text[: 4 * most])
    return text if len(text) <= most else text[: most - 1] + "…"


def clean_table(frame):
    """Make every text of a table fit to be shown; texts that differ stay different.

    Parameters
    ----------
    frame : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
    """
    frame = frame.copy()
    for column in frame.select_dtypes(exclude="number").columns:
        texts = [value for value in frame[column].unique() if isinstance(value, str)]
        shown = _name_apart(texts)
        if any(text != shown[text] for text in texts):
            frame[column] = frame[column].map(lambda value, shown=shown: shown.get(value, value))
    return frame


def _name_apart(texts):
    """Give each text what is shown of it, numbered where two would look the same."""
    shown, used = {}, set()
    for text in texts:
        base, number = clean(text), 1
        name = base
        while name in used:
            number += 1
            name = f"{base} ({number})"
        used.add(name)
        shown[text] = name
    return shown
