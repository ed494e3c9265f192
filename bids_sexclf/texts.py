"""Prepare text from users for display on a page, in a figure or on a terminal."""

import re
from collections.abc import Iterable

UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+"
)
"""Characters that are invalid on a page or in an SVG, or that change the writing direction."""


def clean(text: str, longest: int) -> str:
    r"""Remove invisible characters from a text, and shorten it.

    Parameters
    ----------
    text : str
    longest : int
        Characters that are kept.

    Returns
    -------
    str

    Examples
    --------
    >>> clean("left\n\x00hippocampus", 80), clean("abcdefgh", 5)
    ('left hippocampus', 'abcd…')
    """
    text = UNSEEN.sub(" ", text[: 4 * longest])
    return text if len(text) <= longest else text[: longest - 1] + "…"


def count_noun(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    number : int
    one : str
        The noun of one.
    several : str, optional
        The noun of any other number; `one` with an s by default.

    Returns
    -------
    str

    Examples
    --------
    >>> count_noun(1, "woman", "women"), count_noun(0, "man", "men"), count_noun(2, "site")
    ('1 woman', '0 men', '2 sites')
    """
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def count_sexes(sexes: Iterable[str]) -> str:
    """Return the numbers of women and men, as text.

    Parameters
    ----------
    sexes : iterable of str
        ``female`` or ``male`` of each person; others do not count.

    Returns
    -------
    str

    Examples
    --------
    >>> count_sexes(["female", "male", "male"])
    '1 woman and 2 men'
    """
    sexes = list(sexes)
    women = count_noun(sexes.count("female"), "woman", "women")
    return f"{women} and {count_noun(sexes.count('male'), 'man', 'men')}"


def shown(value, longest=20_000):
    """Prepare a value of a template for display; for jinja2's ``finalize``.

    Parameters
    ----------
    value : object
        Text is cleaned line by line and cut; markup, and all that is no text, stays as it is.
    longest : int
        Characters that are kept.

    Returns
    -------
    object
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    lines = value[:longest].splitlines()
    return "\n".join(clean(line, longest) for line in lines) + ("…" if len(value) > longest else "")
