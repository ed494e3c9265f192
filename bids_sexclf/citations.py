"""Methods text with its references: as Markdown, HTML, LaTeX and BibTeX.

Sentences cite keys of ``data/citations.bib`` as ``[@tustison2010]`` or
``[@holm1979; @nichols2002]``.
"""

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError

CITED = re.compile(r"\s*\[(@[\w:-]+(?:;\s*@[\w:-]+)*)\]")
"""One bracket of citations, with the space before it."""

ESCAPES = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}"}

SIGNS = {"²": "$^2$", "⁻³": "$^{-3}$", "×": r"$\times$", "–": "--", "μ": r"$\mu$"}
"""LaTeX commands of special characters."""


@dataclass(frozen=True)
class Reference:
    """One reference of the library.

    Attributes
    ----------
    key : str
    fields : dict
        author, title, year, and what else the entry holds.
    source : str
        The entry as it stands in the file.
    """

    key: str
    fields: dict
    source: str

    @property
    def names(self):
        """Family names of the authors; ``others`` for omitted ones."""
        return [name.split(",")[0].strip() for name in self.fields["author"].split(" and ")]

    @property
    def short(self):
        """Author and year, as cited in a sentence."""
        names = self.names
        several = f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]} et al."
        return f"{several if len(names) > 1 else names[0]} {self.fields['year']}"

    @property
    def address(self):
        """Address of the publication."""
        doi = self.fields.get("doi")
        return f"https://doi.org/{doi}" if doi else self.fields.get("url", "")

    @property
    def long(self):
        """The full reference in one line, without its address."""
        fields = self.fields
        names = fields["author"].replace(" and others", " and et al.").split(" and ")
        people = ", ".join(" ".join(reversed(name.split(", "))) for name in names)
        place = fields.get("journal") or fields.get("booktitle", "")
        numbers = ", ".join(fields[key] for key in ("volume", "pages") if key in fields)
        text = f"{people} ({fields['year']}). {fields['title']}. {place} {numbers}."
        return text.replace("--", "–")


@cache
def library():
    """Load every reference the project knows.

    Returns
    -------
    dict of str to Reference
        In the order of the keys.
    """
    text = (files("bids_sexclf") / "data" / "citations.bib").read_text(encoding="utf-8")
    entries = {}
    for source in re.findall(r"^@\w+\{.*?^\}", text, re.M | re.S):
        key = re.match(r"@\w+\{([^,]+),", source).group(1)
        fields = {
            name: " ".join(value.split())
            for name, value in re.findall(r"(\w+)\s*=\s*\{([^{}]*)\}", source)
        }
        entries[key] = Reference(key, fields, source)
    return dict(sorted(entries.items()))


def keys_of(text):
    """List the keys that a text cites, each once, in order of first citation.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If one is not in the library.

    Examples
    --------
    >>> keys_of("Corrected after Holm [@holm1979; @nichols2002], as always [@holm1979].")
    ['holm1979', 'nichols2002']
    """
    cited = [key for bracket in CITED.findall(text) for key in _split(bracket)]
    unknown = sorted(set(cited) - set(library()))
    if unknown:
        raise InputError(
            f"Found citations of {', '.join(unknown)}, needed keys of data/citations.bib. Add the "
            "entry there, or correct the key."
        )
    return list(dict.fromkeys(cited))


def references(text):
    """List the references that a text cites, each once, in the order of their keys.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of Reference

    Raises
    ------
    InputError
        If one is not in the library.
    """
    return [library()[key] for key in sorted(keys_of(text))]


def _replace(text, render):
    """Replace each bracket of citations by the result of `render` on its references."""
    keys_of(text)
    return CITED.sub(lambda match: render([library()[key] for key in _split(match[1])]), text)


def _split(bracket):
    """Return the keys of one bracket of citations."""
    return re.findall(r"@([\w:-]+)", bracket)


def to_markdown(text):
    """Render a methods text with its references as Markdown.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> print(to_markdown("Corrected [@holm1979].").splitlines()[0])
    Corrected (Holm 1979).
    """
    body = _replace(text, lambda refs: f" ({'; '.join(ref.short for ref in refs)})")
    listed = [f"* {ref.long} <{ref.address}>" for ref in references(text)]
    return body + ("\n\n## References\n\n" + "\n".join(listed) if listed else "") + "\n"


def to_html(text):
    """Render a methods text as HTML for a page: a paragraph and its references.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Citations link to ``#ref-KEY`` in the list of references.
    """

    def link(refs):
        links = (f'<a href="#ref-{ref.key}">{escape(ref.short)}</a>' for ref in refs)
        return f" ({'; '.join(links)})"

    paragraphs = [f"<p>{part}</p>" for part in _replace(escape(text, False), link).split("\n\n")]
    listed = "".join(
        f'<li id="ref-{ref.key}">{escape(ref.long)} {escape(ref.address)}</li>\n'
        for ref in references(text)
    )
    tail = f'\n<ol class="references">\n{listed}</ol>' if listed else ""
    return "\n".join(paragraphs) + tail


def to_latex(text):
    r"""Render a methods text as LaTeX that cites by ``\citep`` from CITATION.bib.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        A complete document; it compiles with ``pdflatex`` and ``bibtex``.
    """
    safe = "".join(ESCAPES.get(letter, letter) for letter in text)
    body = _replace(safe, lambda refs: r"~\citep{" + ",".join(ref.key for ref in refs) + "}")
    for sign, code in SIGNS.items():
        body = body.replace(sign, code)
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage{natbib}",
            r"\usepackage{url}",
            r"\begin{document}",
            body,
            r"\bibliographystyle{plainnat}",
            r"\bibliography{CITATION}",
            r"\end{document}",
            "",
        ]
    )


def to_bibtex(text):
    """Return the BibTeX entries of the references that a text cites.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return "\n\n".join(ref.source for ref in references(text)) + "\n"


def write_citations(text, folder):
    """Write a methods text as ``CITATION.md``, ``.html`` and ``.tex``, with its ``.bib``.

    Parameters
    ----------
    text : str
    folder : path-like

    Returns
    -------
    str
        The Markdown.
    """
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Methods</title>'
        "<style>body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;"
        "padding:0 1rem;color:#1c2430}</style></head><body>\n<h1>Methods</h1>\n"
        f"{to_html(text)}\n</body></html>\n"
    )
    texts = {"md": to_markdown(text), "html": page, "tex": to_latex(text), "bib": to_bibtex(text)}
    for extension, content in texts.items():
        with whole(Path(folder, f"CITATION.{extension}")) as part:
            part.write_text(content, encoding="utf-8")
    return texts["md"]
