"""Prepare text from tables for display."""

from bids_sexclf.texts import clean

MOST = 80
"""Characters of a text that a figure shows."""


def clean_table(frame):
    """Prepare every text of a table for display; different texts stay different.

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
    """Map each text to its displayed form, numbered where two would look the same."""
    shown, used = {}, set()
    for text in texts:
        base, number = clean(text, MOST), 1
        name = base
        while name in used:
            number += 1
            name = f"{base} ({number})"
        used.add(name)
        shown[text] = name
    return shown
