"""Write one HTML page per participant-session: pictures to judge, and the methods."""

import json
import re
from html import escape
from importlib.resources import files
from pathlib import Path

from bids_sexclf import __version__
from bids_sexclf.citations import to_html
from bids_sexclf.derivatives.prepared import take_over
from bids_sexclf.disk import whole
from bids_sexclf.interfaces.images import INTRACRANIAL
from bids_sexclf.layout import figure_name, name_of, versions
from bids_sexclf.participant import (
    anat,
    distortion,
    dwi,
    given,
    maps,
    morphometry,
    native,
    pool,
    register,
    summary,
)
from bids_sexclf.participant.captions import FIGURES, list_numbers
from bids_sexclf.participant.references import NONE
from bids_sexclf.texts import shown

SOFTWARE = (
    "Scans in BIDS layout [@gorgolewski2016] were prepared with bids_sexclf{bids-sexclf}, a "
    "Nipype{nipype} workflow [@gorgolewski2011] that uses {tools}."
)
TOOLS = {
    "ants": "ANTs (antspyx{antspyx}) [@tustison2021]",
    "greedy": "Greedy (picsl_greedy{picsl_greedy}) [@yushkevich2016]",
    "dipy": "DIPY{dipy} [@garyfallidis2014]",
}


def methods(provenance, sources, numbers=None):
    """Write the methods paragraph of one participant-session.

    Parameters
    ----------
    provenance : dict
        The choices of `settings.Preparation`.
    sources : dict
        Kind of scan (``t1w``, ``dwi``, …) to its paths, as the worklist writes them.
    numbers : dict, optional
        The quality file, which holds the correction of distortion and the route that were used.
        Without it the text describes the chosen ones.

    Returns
    -------
    str
        Sentences that cite keys of ``data/citations.bib``.
    """
    return " ".join(sentences(provenance, sources, numbers))


def sentences(provenance, sources, numbers=None):
    """List the sentences of the methods paragraph: first what other tools did.

    Parameters
    ----------
    provenance, sources, numbers
        As for `methods`.

    Returns
    -------
    list of str
    """
    record = take_over(sources, None, provenance["template"])
    provenance = summary.what_ran(provenance, numbers)
    taken_over = given.methods(provenance, record)
    text = [describe_software(record, provenance, numbers), taken_over.get("taken")]
    if len(record.t1w) > 1:
        text.append(given.RUNS[provenance["t1w_runs"]])
    if record.t1w:
        text.append(taken_over.get("t1w", anat.methods(provenance)))
        text += [native.METHODS.format(**provenance)]
        text.append(morphometry.METHODS.format(priors=morphometry.PRIORS))
        text.append(morphometry.INTRACRANIAL[_origin_of_size(record, provenance, numbers)])
        atlases = [name for name in provenance["morphometry_atlas"] if name != NONE]
        if atlases:
            text.append(morphometry.REGIONS.format(atlases=", ".join(atlases)))
    if len(record.dwi) > 1:
        text.append(given.RUNS["concatenate"] if record.dwi_done else pool.describe(numbers))
    if record.dwi:
        if not record.dwi_done:
            text.append(dwi.describe(provenance))
            text.append(distortion.METHODS[_correction(numbers) or provenance["distortion"]])
        text.append(maps.methods(provenance))
    if record.dwi or record.maps:
        route = (numbers or {}).get("dwi_route") or register.choose_route(record, provenance)
        text.append(register.methods(route, provenance))
    return list(filter(None, text))


def _origin_of_size(record, provenance, numbers):
    """Describe how the intracranial volume was measured, by the kind of brain mask."""
    requested = None if record.t1w_mask else provenance["brain_extraction"]
    engine = (numbers or {}).get("mask_engine", requested)
    return "measured" if engine in INTRACRANIAL else "estimated"


def describe_software(record, provenance, numbers=None):
    """Write the sentence about the programs that ran, with their versions.

    Parameters
    ----------
    record : prepared.Record
    provenance : dict
        The choices of the steps that ran.
    numbers : dict, optional
        What the quality file holds; its versions are those that ran. Without it the versions are
        those that are installed.

    Returns
    -------
    str
    """
    deforms = record.t1w and not record.t1w_to_template
    greedy = deforms and provenance["registration_engine"] == "ants"
    used = ["ants", *(["greedy"] if greedy else []), *(["dipy"] if record.dwi else [])]
    recorded = (numbers or {}).get("Versions")
    recorded = recorded if isinstance(recorded, dict) else versions()
    named = {
        name: f" {recorded[name]}" if recorded.get(name) else ""
        for name in ("bids-sexclf", "nipype", "antspyx", "picsl_greedy", "dipy")
    }
    listed = [TOOLS[name] for name in used]
    tools = " and ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))
    return SOFTWARE.replace("{tools}", tools).format(**named)


def _correction(numbers):
    """Return the correction of distortion from the quality file; None while it is unknown."""
    if not numbers:
        return None
    return numbers.get("distortion", {}).get("method", "none")


def write_report(
    out,
    participant_id,
    session_id=None,
    *,
    numbers=None,
    provenance=None,
    sources=None,
    error=None,
    trace=None,
    note=None,
    stage="participant",
    verdict=None,
):
    """Write the page of one participant-session, also where a step failed; as text at least.

    Parameters
    ----------
    out : path-like
        Output folder; figures are taken from ``sub-*/figures``.
    participant_id, session_id : str
    numbers : dict, optional
        What the quality file holds.
    provenance : dict
        The choices of the preparation.
    sources : dict
        Kind of scan to its path in the dataset.
    error, trace : str, optional
        The error message and its traceback; they come first on the page.
    note : str, optional
        What was chosen or left out, and what is missing; sentences separated by semicolons.
    stage : str
        Where the error was found: ``preflight``, or ``participant`` where a step failed.
    verdict : summary.Verdict, optional
        By default that of its quality numbers, where they are known.

    Returns
    -------
    pathlib.Path
    """
    stem, numbers = name_of(participant_id, session_id), numbers or {}
    content = {
        "name": stem,
        "version": __version__,
        "error": error,
        "trace": trace,
        "failed": stage != "preflight",
        "notes": summary.split_note(note),
        "sources": {kind: paths for kind, paths in (sources or {}).items() if paths},
    }
    try:
        if error:
            verdict = summary.Verdict("left out", (error,))
        elif verdict is None:
            verdict = summary.judge_one(out, (participant_id, session_id), numbers)
        drawn = _find_figures(out, participant_id, session_id)
        page = _render(content, drawn, numbers, provenance, verdict)
    except Exception as fault:  # the first error must be reported even if the page fails
        content["fault"] = f"This page could not be drawn: {type(fault).__name__}: {fault}"
        page = _write_plainly(content | {"numbers": numbers})
    path = page_of(out, participant_id, session_id)
    with whole(path) as part:
        part.write_text(page, errors="replace")
    return path


def page_of(out, participant_id, session_id=None):
    """Return the path of a participant-session's page."""
    return Path(out, f"{name_of(participant_id, session_id)}.html")


def state_on(path):
    """Return the state that a page shows, as in `summary.Verdict`; None without a page."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            match = re.search(r'<meta name="state" content="([a-z ]+)">', stream.read(2000))
    except OSError:
        return None
    return match[1] if match else None


def _render(content, drawn, numbers, provenance, verdict):
    """Render a page as HTML."""
    from jinja2 import Environment
    from markupsafe import Markup

    sources = content["sources"]
    record = take_over(sources, None, provenance["template"])
    rows = list_numbers(numbers, verdict.marks)
    box = summary.summarize(sources, record, provenance, numbers, content["notes"])
    sections = _place_figures(drawn, summary.skipped_pictures(record, numbers))
    text = methods(provenance, content["sources"], numbers)
    source = (files("bids_sexclf") / "data" / "participant.html").read_text()
    return (
        Environment(autoescape=True, finalize=shown)
        .from_string(source)
        .render(
            **content,
            rows=rows,
            sections=sections,
            verdict=verdict,
            words=summary.STATES[verdict.state],
            box=box,
            methods=Markup(to_html(text)),  # noqa: S704
            provenance=json.dumps(
                {"choices": provenance, "versions": numbers.get("Versions") or versions()}, indent=2
            ),
        )
    )


def _write_plainly(content):
    """Return the content of a page as plain text in HTML, without pictures."""
    lines = [f"{key}: {value}" for key, value in content.items() if value]
    head = f'<!DOCTYPE html>\n<meta charset="utf-8">\n<title>{escape(content["name"])}</title>\n'
    return f"{head}<pre>{escape(chr(10).join(lines))}</pre>\n"


def _sentence(words):
    """Return words as a sentence: a capital first, a full stop last."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _find_figures(out, participant_id, session_id):
    """Return the pictures that exist: key to path."""
    keys = [key for entries in FIGURES.values() for key in entries]
    expected = {
        key: f"{participant_id}/figures/{figure_name(participant_id, session_id, key)}"
        for key in keys
    }
    return {key: path for key, path in expected.items() if Path(out, path).exists()}


def _place_figures(drawn, skipped):
    """List the pictures of each section, with the reason where a picture does not exist.

    Parameters
    ----------
    drawn : dict of str to str
        Key of a picture to its path.
    skipped : dict of str to str
        Key of a picture to the reason why there is none.

    Returns
    -------
    dict of str to list of tuple
        Section to (key, title, caption or reason, path or None).
    """
    sections = {}
    for section, entries in FIGURES.items():
        for key, (title, caption) in entries.items():
            if key in skipped:
                sections.setdefault(section, []).append((key, title, _sentence(skipped[key]), None))
            elif key in drawn:
                sections.setdefault(section, []).append((key, title, caption, drawn[key]))
    return sections
