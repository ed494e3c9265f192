"""One HTML page per participant-session: pictures a person can judge, and what was done."""

import json
from importlib.resources import files
from pathlib import Path

from bids_sexclf.disk import whole
from bids_sexclf.layout import versions
from bids_sexclf.participant import anat, dwi, maps, register

FIGURES = {
    "t1wmask": (
        "Brain mask on the T1w",
        "The outline should follow the brain's surface: no skull, eyes or neck inside, no cortex "
        "or cerebellum outside.",
    ),
    "t1wtemplate": (
        "T1w registered to the template",
        "Hover (or wait) to flicker between the template and the registered brain: ventricles, "
        "sulci and the outer edge should stay in place.",
    ),
    "dwimask": (
        "Brain mask on the mean b=0 volume",
        "The outline should hold the whole brain and little else.",
    ),
    "dwit1w": (
        "Mean b=0 volume registered to the T1w",
        "Hover to flicker: ventricles and the outer edge should agree but for the stretch along "
        "the phase-encoding axis that no correction has removed.",
    ),
    "famap": (
        "FA on the group grid",
        "The outline is the template's brain. White matter should be bright and symmetric, the "
        "corpus callosum on the midline; no bright rim.",
    ),
}

NUMBERS = {
    "brain_volume_ml": (
        "Brain volume",
        "{:.0f} mL",
        "of the mask, in native space; adults have about 1000 to 1800",
    ),
    "registration_agreement": (
        "Agreement with the template",
        "{:.2f}",
        "correlation inside the brain; compare it with the other participants",
    ),
    "snr": ("Signal-to-noise", "{:.1f}", "mean over standard deviation inside white matter"),
    "motion_mm": ("Motion", "{:.2f} mm", "mean displacement between successive diffusion volumes"),
    "motion_max_mm": ("Largest motion", "{:.2f} mm", "between two successive volumes"),
}


def name_of(participant_id, session_id=None):
    """Give the stem of a participant-session's files."""
    return "_".join(filter(None, (participant_id, session_id)))


def methods(provenance, sources, road=None):
    """Write the methods paragraph of one participant-session.

    Parameters
    ----------
    provenance : dict
        The choices of `settings.Preparation`.
    sources : dict
        Kind of scan (``t1w``, ``dwi``) to its path; those it has.
    road : {"t1w", "fa", "b0"}, optional
        That its diffusion maps have taken; the one they would take by default.

    Returns
    -------
    str
    """
    text = []
    if sources.get("t1w"):
        text.append(anat.methods(provenance))
    if sources.get("dwi"):
        low, high = provenance["kurtosis_clip"]
        text.append(dwi.METHODS.format(kind=provenance["dwi_alignment"]))
        text.append(maps.METHODS.format(low=low, high=high))
        road = road or register.choose_road(bool(sources.get("t1w")), provenance)
        text.append(register.methods(road, provenance))
    return " ".join(text)


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
):
    """Write the page of one participant-session, also where a step failed.

    Parameters
    ----------
    out : path-like
        Output folder; figures are taken from ``sub-*/figures``.
    participant_id, session_id : str
    numbers : dict, optional
        What the quality file holds.
    provenance : dict
        The choices it was, or should have been, prepared with.
    sources : dict
        Kind of scan to its path in the dataset.
    error, trace : str, optional
        What went wrong, in a sentence, and where; they come first on the page.
    note : str, optional

    Returns
    -------
    pathlib.Path
    """
    from jinja2 import Environment

    stem, numbers = name_of(participant_id, session_id), numbers or {}
    rows = [
        (label, text.format(numbers[key]), meaning)
        for key, (label, text, meaning) in NUMBERS.items()
        if key in numbers
    ]
    figures = [
        (title, caption, f"{participant_id}/figures/{stem}_desc-{key}.svg")
        for key, (title, caption) in FIGURES.items()
        if Path(out, participant_id, "figures", f"{stem}_desc-{key}.svg").exists()
    ]
    source = (files("bids_sexclf") / "data" / "participant.html").read_text()
    page = (
        Environment(autoescape=True)
        .from_string(source)
        .render(
            name=stem,
            error=error,
            trace=trace,
            note=note,
            rows=rows,
            figures=figures,
            sources={k: v for k, v in (sources or {}).items() if v},
            methods=methods(provenance, sources or {}, numbers.get("dwi_road")),
            provenance=json.dumps({"choices": provenance, "versions": versions()}, indent=2),
        )
    )
    path = Path(out, f"{stem}.html")
    with whole(path) as part:
        part.write_text(page)
    return path
