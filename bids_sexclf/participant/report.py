"""One HTML page per participant-session: pictures a person can judge, and what was done."""

import json
from importlib.resources import files
from pathlib import Path

from bids_sexclf.disk import whole
from bids_sexclf.layout import versions
from bids_sexclf.participant import (
    anat,
    distortion,
    dwi,
    given,
    maps,
    morphometry,
    native,
    register,
)
from bids_sexclf.prepared import take_over

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
    "dwidistortion": (
        "Mean b=0 volume before and after the correction of susceptibility distortion",
        "Hover to flicker: the corrected brain should fill the outline, its frontal and temporal "
        "poles neither stretched nor folded, and its two sides alike.",
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
        "of the mask, in native space: brain and the fluid between its folds; adults have about "
        "1000 to 1800",
    ),
    "grey_volume_ml": ("Grey matter", "{:.0f} mL", "inside the mask, in native space"),
    "white_volume_ml": ("White matter", "{:.0f} mL", "inside the mask, in native space"),
    "csf_volume_ml": ("Fluid", "{:.0f} mL", "inside the mask; not all that lies in the skull"),
    "intracranial_volume_ml": (
        "Intracranial volume",
        "{:.0f} mL",
        "estimated: the brain mask closed over sulci and fissures",
    ),
    "registration_agreement": (
        "Agreement with the template",
        "{:.2f}",
        "correlation inside the brain; compare it with the other participants",
    ),
    "snr": ("Signal-to-noise", "{:.1f}", "mean over standard deviation inside white matter"),
    "distortion_agreement_before": (
        "Agreement before distortion correction",
        "{:.3f}",
        "of two oppositely encoded b=0 volumes (correlation), or of the b=0 volume with the T1w or "
        "the field map's magnitude (mutual information)",
    ),
    "distortion_agreement_after": (
        "Agreement after distortion correction",
        "{:.3f}",
        "the same measure; it should have risen",
    ),
    "motion_mm": ("Motion", "{:.2f} mm", "mean displacement between successive diffusion volumes"),
    "motion_max_mm": ("Largest motion", "{:.2f} mm", "between two successive volumes"),
    "noise_sd": ("Diffusion noise", "{:.3g}", "median SD inside the brain, in the scan's unit"),
    "b0_snr": ("Signal-to-noise of b=0", "{:.1f}", "median signal over that noise"),
}


def name_of(participant_id, session_id=None):
    """Give the stem of a participant-session's files."""
    return "_".join(filter(None, (participant_id, session_id)))


def methods(provenance, sources, numbers=None):
    """Write the methods paragraph of one participant-session.

    Parameters
    ----------
    provenance : dict
        The choices of `settings.Preparation`.
    sources : dict
        Kind of scan (``t1w``, ``dwi``, …) to its paths, as the worklist spells them; those it has.
    numbers : dict, optional
        What the quality file holds: how its distortion was corrected and which road its maps have
        taken. Without it the text tells what was asked for.

    Returns
    -------
    str
    """
    return " ".join(sentences(provenance, sources, numbers))


def sentences(provenance, sources, numbers=None):
    """List the parts of the methods paragraph: what others did comes first.

    Parameters
    ----------
    provenance, sources, numbers
        As for `methods`.

    Returns
    -------
    list of str
    """
    record = take_over(sources, None, provenance["template"])
    told = given.methods(provenance, record)
    text = [told.get("taken")]
    if len(record.t1w) > 1:
        text.append(given.RUNS[provenance["t1w_runs"]])
    if record.t1w:
        text.append(told.get("t1w", anat.methods(provenance)))
        text += [native.METHODS.format(**provenance), morphometry.METHODS]
        atlases = [name for name in provenance["morphometry_atlas"] if name != morphometry.NONE]
        if atlases:
            text.append(morphometry.REGIONS.format(atlases=", ".join(atlases)))
    if len(record.dwi) > 1:
        text.append(given.RUNS["concatenate"])
    if record.dwi:
        if not record.dwi_done:
            text.append(dwi.describe(provenance))
            text.append(distortion.METHODS[_correction(numbers) or provenance["distortion"]])
        text.append(maps.methods(provenance))
    if record.dwi or record.maps:
        road = (numbers or {}).get("dwi_road") or register.choose_road(record, provenance)
        text.append(register.methods(road, provenance))
    return list(filter(None, text))


def _correction(numbers):
    """Say how distortion was corrected, as the quality file has it; None while it is unknown."""
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
            methods=methods(provenance, sources or {}, numbers),
            provenance=json.dumps({"choices": provenance, "versions": versions()}, indent=2),
        )
    )
    path = Path(out, f"{stem}.html")
    with whole(path) as part:
        part.write_text(page)
    return path
