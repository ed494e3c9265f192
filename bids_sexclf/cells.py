"""Convert the text of table cells to names, identifiers and numbers, alike for every table."""

import re
import unicodedata

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
"""Characters without width that spreadsheets and web pages leave in cells."""

BLANKS = "".join(map(chr, range(0x21))) + "\x7f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
BLANKS += "".join(map(chr, range(0x2000, 0x200B))) + INVISIBLE

UNKNOWN = (
    "",
    *("n/a", "N/A", "#N/A", "#NA", "NA", "na", "<NA>"),
    *("NaN", "nan", "NAN", "None", "none", "NONE", "null", "NULL", "Null"),
    *("-", "--", ".", "?"),
)
"""Codes of unknown values: ``n/a`` in BIDS, the others in R, pandas, SPSS and Excel."""

WRITTEN_UNKNOWN = ("", "n/a", "N/A")
"""Codes of unknown values in the tables of this program."""

_WHOLE = re.compile(r"\d+\.0*|\d(\.\d+)?[eE]\+\d+")


def strip(text: str) -> str:
    r"""Remove blanks of every kind from both ends of a cell.

    Examples
    --------
    >>> strip("\u00a0 12\ufeff")
    '12'
    """
    return text.strip(BLANKS)


def plain_name(text: str) -> str:
    r"""Convert the name of a column to lower case, with ``_`` between its words.

    Examples
    --------
    >>> plain_name(" Participant ID"), plain_name("Sex\u00a0")
    ('participant_id', 'sex')
    """
    return re.sub(rf"[{re.escape(BLANKS)}_-]+", "_", strip(text).casefold())


def identifier(text: str) -> str:
    """Normalize the name of a participant, a family or a site.

    Blanks around it are removed, several blanks inside become one, accented letters are composed,
    and a whole number written as a decimal (``12.0``, ``1e+05``) becomes a whole number. Leading
    zeros stay: ``001`` and ``1`` are different.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> identifier("12.0"), identifier("001 "), identifier("1e+05"), identifier("site  A")
    ('12', '001', '100000', 'site A')
    """
    text = strip(text)
    if text.isascii() and text.isalnum():
        return text
    text = re.sub(rf"[{re.escape(BLANKS)}]+", " ", unicodedata.normalize("NFC", text))
    if not _WHOLE.fullmatch(text):
        return text
    if "+" not in text:
        return text.partition(".")[0]
    digits, _, exponent = text.lower().partition("e+")
    whole, _, decimals = digits.partition(".")
    places = int(exponent) - len(decimals)
    return f"{whole}{decimals}{'0' * places}" if 0 <= places < 30 else text


def entity(text: str, prefix: str) -> str:
    """Return a BIDS identifier with its prefix: ``01`` and ``sub-01`` become ``sub-01``.

    Parameters
    ----------
    text : str
    prefix : str
        ``sub`` or ``ses``.

    Returns
    -------
    str

    Examples
    --------
    >>> entity("01 ", "sub"), entity("Sub-01", "sub"), entity("2.0", "ses")
    ('sub-01', 'sub-01', 'ses-2')
    """
    text, start = strip(text), f"{prefix}-"
    if text[: len(start)].casefold() == start:
        text = text[len(start) :]
    return start + identifier(text)


def to_numbers(texts):
    """Convert cells to numbers, exactly.

    Parameters
    ----------
    texts : sequence of str

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        If a cell is not a decimal number.

    Examples
    --------
    >>> to_numbers(["1.5", "-2e3"]).tolist()
    [1.5, -2000.0]
    """
    import numpy as np

    numbers = []
    for text in texts:
        try:
            # Python also reads 1_000 and the digits of other scripts.
            numbers.append(float(text) if "_" not in text and text.isascii() else float(""))
        except ValueError:
            raise ValueError(f"{shorten(text)} is not a number") from None
    return np.array(numbers, dtype=np.float64)


def cut(value: object, longest: int = 60) -> str:
    """Return a name for a message: on one line, shortened if it is long.

    Examples
    --------
    >>> cut("a" * 100, 5)
    'aaaaa…'
    """
    text = str(value)[: longest + 1]
    text = text if len(text) <= longest else text[:longest] + "…"
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


def shorten(value: object, longest: int = 60) -> str:
    """Return a cell for a message as `cut` does, in quotation marks."""
    return repr(cut(value, longest))
