"""One HTML page per participant-session: pictures a person can judge, and what was done."""

import json
from html import escape
from importlib.resources import files
from pathlib import Path

from bids_sexclf import __version__
from bids_sexclf.citations import to_html
from bids_sexclf.disk import whole
from bids_sexclf.given.prepared import take_over
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
)
from bids_sexclf.participant.references import NONE
from bids_sexclf.texts import shown

FIGURES = {
    "T1w": {
        "t1wmask": (
            "Brain mask",
            "The outline should follow the brain's surface: no skull, eyes or neck inside, "
            "no cortex or cerebellum outside.",
        ),
        "t1wtemplate": (
            "Registration to the template",
            "Hover (or wait) to flicker between the template and the registered brain: ventricles, "
            "sulci and the outer edge should stay in place; the outline is the template's brain.",
        ),
        "tissueborders": (
            "Borders of tissues",
            "The orange line should follow the border of grey and white matter from the bottom to "
            "the vertex, the blue line the outer surface of grey matter. Fluid lies outside the "
            "blue line and in the ventricles.",
        ),
    },
    "Diffusion series": {
        "gradients": (
            "b-values and gradient directions",
            "Each sphere is one shell, seen from the side: filled points are directions as "
            "measured, rings their antipodes, which measure the same. Points and rings together "
            "should cover the sphere evenly; a bare half or a cluster means a wrong or incomplete "
            "table.",
        ),
        "series": (
            "Volume by volume: motion and slices",
            "Above, how far the head moved before each volume: below about 1 mm is good, a few "
            "spikes can be mended, a restless trace cannot. Below, the signal of each slice beside "
            "what the tensor predicts: it should be pale all over. A blue line is a slice that "
            "lost signal to motion, a striped volume moved while it was measured, a red one has a "
            "spike or leftover misalignment. Grey slices are not judged: they hold too little "
            "brain, or lie at the end of the field of view, which a head that moves leaves.",
        ),
        "denoised": (
            "What denoising took away",
            "It should look like noise: no anatomy, no edges. Anatomy here is signal lost. Patches "
            "that fade smoothly are where the coils' own noise is higher.",
        ),
        "unrung": (
            "What the removal of Gibbs ringing took away",
            "Thin bands beside sharp edges, and noise; nothing of the brain's own pattern.",
        ),
        "dwidistortion": (
            "Susceptibility distortion, before and after",
            "Hover to flicker between the mean b=0 volume as scanned and corrected: the corrected "
            "brain should fill the outline, its frontal and temporal poles neither stretched nor "
            "folded, and its two sides alike.",
        ),
        "dwimask": (
            "Brain mask on the mean b=0 volume",
            "The outline should hold the whole brain and little else.",
        ),
        "dwit1w": (
            "Mean b=0 volume registered to the T1w",
            "Hover to flicker: ventricles and the outer edge should agree but for what stretch "
            "along the phase-encoding axis is left.",
        ),
    },
    "Maps": {
        "tensormaps": (
            "Tensor maps",
            "In the scan's own space. White matter should be bright in FA and symmetric, with no "
            "bright rim; MD even over the brain and high (bright) in fluid only. The window is the "
            "same for everyone, so pages compare.",
        ),
        "kurtosismaps": (
            "Kurtosis maps",
            "MK should be highest in white matter, about 1, without black holes: holes are voxels "
            "whose fit was driven to its limit by noise.",
        ),
        "noddimaps": (
            "NODDI maps",
            "ICVF high in white matter, ODI high in grey matter, ISOVF high in fluid only.",
        ),
        "famap": (
            "FA on the group grid",
            "The outline is the template's brain. The corpus callosum should lie on the midline, "
            "and tracts where the outline leads one to expect them.",
        ),
    },
}
"""Section of the page to its pictures: key to heading and what right looks like."""

NUMBERS = {
    "brain_volume_ml": (
        "Brain volume",
        "{:.0f} mL",
        "grey and white matter, in native space; adults have about 900 to 1500",
    ),
    "mask_volume_ml": ("Brain mask", "{:.0f} mL", "in native space; adults have 1000 to 1900"),
    "mask_opinions_overlap": (
        "Overlap of two opinions on the brain mask",
        "{:.2f}",
        "Dice of two masks that were made independently; above 0.9 is usual, below 0.85 they are "
        "said to disagree",
    ),
    "mask_template_overlap": (
        "Overlap of the mask with the template's brain",
        "{:.2f}",
        "Dice, after a linear transform; above 0.93 is usual",
    ),
    "mask_template_agreement": (
        "Agreement of the brain in the mask with the template",
        "{:.2f}",
        "correlation after a linear transform; above 0.5 is usual",
    ),
    "mask_symmetry": (
        "Left-right symmetry of the mask",
        "{:.2f}",
        "Dice of the mask with its mirror image; above 0.95 is usual",
    ),
    "mask_turned_degrees": (
        "Head turned by",
        "{:.0f} degrees",
        "against what the file's header says: 0 is right. With any other number the header is "
        "wrong, and left and right may be exchanged",
    ),
    "grey_volume_ml": ("Grey matter", "{:.0f} mL", "inside the mask, in native space"),
    "white_volume_ml": ("White matter", "{:.0f} mL", "inside the mask, in native space"),
    "csf_volume_ml": ("Fluid", "{:.0f} mL", "inside the mask; not all that lies in the skull"),
    "intracranial_volume_ml": (
        "Intracranial volume",
        "{:.0f} mL",
        "the mask, where it is all that lies within the skull (deepbet); otherwise estimated: the "
        "mask closed over sulci and fissures",
    ),
    "white_gradient_percent": (
        "Bias field left",
        "{:.1f} %",
        "how much white matter changes from the bottom of the brain to the vertex; 5 % or less is "
        "usual",
    ),
    "grey_white_contrast": (
        "Contrast of grey and white matter",
        "{:.2f}",
        "by how much grey matter is darker, as a share of white matter; 0.15 to 0.35 is usual for "
        "a T1w, and below 0 the contrast is inverted",
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
        "",
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
    "slice_outliers_percent": (
        "Slices that stand out",
        "{:.2f} %",
        "of the slices of all diffusion volumes; 0 to 1 % is usual",
    ),
}

SOFTWARE = (
    f"Scans in BIDS layout [@gorgolewski2016] were prepared with bids_sexclf {__version__}, a "
    "Nipype workflow [@gorgolewski2011] that uses ANTs [@tustison2021] and DIPY "
    "[@garyfallidis2014]."
)


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
        Sentences that cite keys of ``data/citations.bib``.
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
    text = [SOFTWARE, told.get("taken")]
    if len(record.t1w) > 1:
        text.append(given.RUNS[provenance["t1w_runs"]])
    if record.t1w:
        text.append(told.get("t1w", anat.methods(provenance)))
        text += [native.METHODS.format(**provenance)]
        text.append(morphometry.METHODS.format(priors=morphometry.PRIORS))
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
        road = (numbers or {}).get("dwi_road") or register.choose_road(record, provenance)
        text.append(register.methods(road, provenance))
    return list(filter(None, text))


def _correction(numbers):
    """Say how distortion was corrected, as the quality file has it; None while it is unknown."""
    if not numbers:
        return None
    return numbers.get("distortion", {}).get("method", "none")


def _tell_correction(numbers):
    """Say by what the correction of distortion was measured, and what it rests on."""
    told = numbers.get("distortion", {})
    return "; ".join(filter(None, (told.get("measure"), told.get("why"))))


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
    """Write the page of one participant-session, also where a step failed; at least as text.

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
    stem, numbers = name_of(participant_id, session_id), numbers or {}
    content = {
        "name": stem,
        "version": __version__,
        "error": error,
        "trace": trace,
        "note": note,
        "sources": {kind: paths for kind, paths in (sources or {}).items() if paths},
    }
    try:
        page = _render(content, _find_figures(out, participant_id, session_id), numbers, provenance)
    except Exception as fault:  # what went wrong before must be told, whatever goes wrong here
        content["fault"] = f"This page could not be drawn: {type(fault).__name__}: {fault}"
        page = _write_plainly(content | {"numbers": numbers})
    path = Path(out, f"{stem}.html")
    with whole(path) as part:
        part.write_text(page, errors="replace")
    return path


def _render(content, sections, numbers, provenance):
    """Draw a page."""
    from jinja2 import Environment
    from markupsafe import Markup

    rows = [
        (label, text.format(numbers[key]), meaning or _tell_correction(numbers))
        for key, (label, text, meaning) in NUMBERS.items()
        if numbers.get(key) is not None
    ]
    text = methods(provenance, content["sources"], numbers)
    source = (files("bids_sexclf") / "data" / "participant.html").read_text()
    return (
        Environment(autoescape=True, finalize=shown)
        .from_string(source)
        .render(
            **content,
            rows=rows,
            sections=sections,
            methods=Markup(to_html(text)),  # noqa: S704
            provenance=json.dumps({"choices": provenance, "versions": versions()}, indent=2),
        )
    )


def _write_plainly(content):
    """Write what a page would tell as text that needs no drawing."""
    told = [f"{key}: {value}" for key, value in content.items() if value]
    head = f'<!DOCTYPE html>\n<meta charset="utf-8">\n<title>{escape(content["name"])}</title>\n'
    return f"{head}<pre>{escape(chr(10).join(told))}</pre>\n"


def _find_figures(out, participant_id, session_id):
    """List the pictures that exist, by section."""
    sections = {}
    for section, entries in FIGURES.items():
        for key, (title, caption) in entries.items():
            path = f"{participant_id}/figures/{figure_name(participant_id, session_id, key)}"
            if Path(out, path).exists():
                sections.setdefault(section, []).append((key, title, caption, path))
    return sections
