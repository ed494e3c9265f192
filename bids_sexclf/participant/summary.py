"""Write the summary box of a participant's page: verdict, scans, steps, coverage."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from bids_sexclf import quality
from bids_sexclf.derivatives.offers import about
from bids_sexclf.diffusion.families import BY_LABEL
from bids_sexclf.layout import paths
from bids_sexclf.ratings import RATINGS, read_ratings
from bids_sexclf.tables import schema

STATES = {
    "passed": "Prepared: no quality number lies beyond its limit",
    "odd": "Prepared, but odd: it stands out from the other participants",
    "accepted": "Accepted by a person, though a quality number lies beyond its limit",
    "refused": "Refused: a quality number lies beyond its limit, so that no study takes it",
    "rejected": "Rejected by a person, so that no study takes it",
    "left out": "Left out: there is no result",
}
"""State of a participant-session to what its page says."""

SCANS = {
    "t1w": "T1w",
    "dwi": "diffusion series",
    "bval": "b-values",
    "bvec": "b-vectors",
    "maps": "diffusion maps",
    "t1w_mask": "brain mask of the T1w",
    "dwi_mask": "brain mask of the diffusion series",
    "dwi_motion": "motion of the diffusion series",
    "t1w_to_template": "transform to the template",
    "template_to_t1w": "transform from the template",
}
"""Kind of scan to what a page calls it."""

STEPS = {
    "mppca": "thermal noise, by Marchenko-Pastur PCA",
    "patch2self": "thermal noise, by Patch2Self",
    "ants": "head motion and eddy currents, by registration",
    "fsl": "head motion and eddy currents, by FSL's eddy",
    "n4": "bias field, by N4",
}

DISTORTIONS = {
    "topup": "distortion, by FSL's topup from opposite phase encodings",
    "opposite": "distortion, by opposite phase encodings",
    "fieldmap": "distortion, by a field map",
    "t1w": "distortion, by the T1w",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a participant-session may be studied.

    Attributes
    ----------
    state : str
        Key of `STATES`.
    reasons : tuple of str
    marks : dict of str to str
        Quality number to ``broken`` (beyond its limit) or ``odd`` (stands out from the others).
    """

    state: str
    reasons: tuple = ()
    marks: dict = field(default_factory=dict)


def judge_all(out, table=None):
    """Return the verdict on every participant-session, by the default limits of a study.

    Parameters
    ----------
    out : path-like
        Output folder; its ``ratings.tsv`` is applied where it can be read.
    table : pandas.DataFrame, optional
        As `quality.read_quality` returns it; by default all quality files are read.

    Returns
    -------
    dict of tuple to Verdict
        (participant_id, session_id) to the verdict.
    """
    table = quality.read_quality(out)[0] if table is None else table
    limits = quality.read_limits()
    try:
        ratings = read_ratings(Path(out, RATINGS))
    except (
        ValueError,
        OSError,
    ):  # the page of all participants reports what is wrong with the table
        ratings = {}
    verdicts, odd = quality.judge(table, limits, ratings), quality.flag(table)[0]
    judged = {}
    for position, row in enumerate(table.to_dict("records")):
        sentences = (verdicts.reasons[position], verdicts.flags[position])
        marks = {
            name: quality.mark(row[name], limits[name], name in odd[position]) for name in limits
        }
        judged[row["participant_id"], row["session_id"]] = Verdict(
            quality.state_of(verdicts.gate[position], verdicts.flags[position]),
            tuple(filter(None, sentences)),
            {name: mark for name, mark in marks.items() if mark},
        )
    return judged


def judge_one(out, session_key, numbers):
    """Return the verdict on one participant-session alone: outliers cannot be found.

    Parameters
    ----------
    out : path-like
    session_key : tuple of str
        (participant_id, session_id).
    numbers : dict
        Content of its quality file.

    Returns
    -------
    Verdict
    """
    table, damaged = quality.tabulate({session_key: numbers})
    if session_key in damaged:
        return Verdict("refused", (damaged[session_key],))
    return judge_all(out, table)[session_key]


def summarize(sources, record, provenance, numbers, notes):
    """Describe which scans were used, corrected and left out, and the coverage.

    Parameters
    ----------
    sources : dict
        Kind of scan to its paths, as the worklist spells them.
    record : prepared.Record
    provenance : dict
        The choices of `settings.Preparation`.
    numbers : dict
        What the quality file holds; empty where there is none.
    notes : list of str

    Returns
    -------
    dict of str to list of str
        Heading to lines, only where there are lines.
    """
    finished = bool(numbers)
    lines = {
        "Used": _list_used(sources, numbers),
        "Corrected": _list_corrected(record, provenance, numbers) if finished else [],
        "Chosen, noted or left out": [*notes, *_list_skipped(record, numbers)],
        "Covered": _list_coverage(numbers),
    }
    return {heading: entries for heading, entries in lines.items() if entries}


def split_note(note):
    """Return the sentences of a note, each once; text in brackets is not split.

    Examples
    --------
    >>> split_note("no field map; distortion stays (fieldmap: none; t1w: none); no field map")
    ['no field map', 'distortion stays (fieldmap: none; t1w: none)']
    """
    sentences, depth = [""], 0
    for part in re.split(r"(; |[()])", note or ""):
        depth = max(depth + {"(": 1, ")": -1}.get(part, 0), 0)
        if part == "; " and not depth:
            sentences.append("")
        else:
            sentences[-1] += part
    return list(dict.fromkeys(filter(None, sentences)))


def what_ran(provenance, numbers):
    """Return the choices of the steps that ran; what was skipped is set to ``none``.

    Parameters
    ----------
    provenance : dict
        The choices of `settings.Preparation`.
    numbers : dict or None
        Content of the quality file. Without it the choices are the requested ones.

    Returns
    -------
    dict
    """
    ran, numbers = dict(provenance), numbers or {}
    for step in ("denoise", "gibbs"):
        ran[step] = _entry(numbers, step).get("method", provenance[step])
    missing = list_missing_models(numbers)
    ran["dwi_models"] = [name for name in provenance["dwi_models"] if name not in missing]
    return ran


def list_missing_models(numbers):
    """Return the models that were not fitted: name, as the settings spell it, to the reason."""
    repaired = _entry(numbers, "repaired")
    reasons = {label: _entry(repaired, label).get("left_out") for label in repaired}
    return {
        BY_LABEL[label]: reason for label, reason in reasons.items() if reason and label in BY_LABEL
    }


def skipped_pictures(record, numbers):
    """Return the reasons why pictures are missing on the page.

    Parameters
    ----------
    record : prepared.Record
    numbers : dict
        What the quality file holds.

    Returns
    -------
    dict of str to str
        Key of the picture to the reason.
    """
    if not numbers or not record.dwi:
        return {}
    reasons = {
        f"{name}maps": f"{name} maps were not made: {reason}"
        for name, reason in list_missing_models(numbers).items()
    }
    denoise = _entry(numbers, "denoise")
    if denoise.get("method") == "none" and denoise.get("reason"):
        reasons["denoised"] = f"noise was not removed: {denoise['reason']}"
    if not record.dwi_done and not _entry(numbers, "distortion"):
        reasons["dwidistortion"] = "distortion was not corrected; the summary says why where it can"
    return reasons


def _entry(numbers, name):
    """Return an object of a quality file; empty where there is none."""
    entry = (numbers or {}).get(name)
    return entry if isinstance(entry, dict) else {}


def _list_used(sources, numbers):
    """List scans, and how many volumes of which weighting."""
    lines = [f"{SCANS.get(kind, kind)}: {', '.join(paths(cell))}" for kind, cell in sources.items()]
    counts = _entry(numbers, "dwi_volumes")
    if counts:
        total = sum(counts.values())
        parts = [f"{count} at b = {value}" for value, count in counts.items()]
        lines.append(f"{total} diffusion volumes: {', '.join(parts)} s/mm²")
    return lines


def _list_corrected(record, provenance, numbers):
    """List the corrections that ran, and who did those that were done before."""
    lines = [f"{step}: as {about(name)['title']} gives it" for step, name in record.done.items()]
    ran = what_ran(provenance, numbers)
    if record.t1w and not record.bias_done:
        lines.append("T1w: bias field, by N4")
    if not record.dwi or record.dwi_done:
        return lines
    engine = "none" if ran["dwi_alignment"] == "none" else ran["eddy_engine"]
    steps = [STEPS.get(ran["denoise"]), "Gibbs ringing" if ran["gibbs"] != "none" else None]
    steps += [STEPS.get(engine), _tell_distortion(numbers), STEPS.get(ran["dwi_bias"])]
    return [*lines, *(f"diffusion: {step}" for step in steps if step)]


def _tell_distortion(numbers):
    """Describe the method that corrected the distortion; None where nothing was corrected."""
    correction = _entry(numbers, "distortion")
    method = correction.get("method", "none")
    if method == "none":
        return None
    words = DISTORTIONS.get(method, f"distortion, by {method}")
    return f"{words} ({correction['why']})" if correction.get("why") else words


def _list_skipped(record, numbers):
    """List the missing scans and the skipped steps."""
    if not numbers:
        return []
    lines = [] if record.t1w else ["no T1w: nothing is known of the anatomy"]
    if not record.dwi and not record.maps:
        return [*lines, "no diffusion series: no maps of diffusion"]
    if not record.dwi:
        return lines
    reasons = skipped_pictures(record, numbers)
    lines += [
        reason for key, reason in reasons.items() if key != "dwidistortion"
    ]  # the note has it
    if "slice_outliers_percent" not in numbers:
        lines.append("slices were not judged: there are too few volumes")
    if "motion_mm" not in numbers:
        lines.append("motion is unknown: who prepared the series has not told it")
    return lines


def _list_coverage(numbers):
    """List the coverage of the brain, where the quality file holds it."""
    lines, cut = [], (numbers or {}).get("mask_cut_cm2")
    if cut == 0:
        lines.append("T1w: the brain lies within the image")
    elif cut:
        lines.append(f"T1w: the brain meets the edge of the image on {cut:.3g} cm², and may go on")
    for name, entry in schema("quality").items():
        value = (numbers or {}).get(name)
        if "coverage" in name and isinstance(value, (int, float)):
            share = entry.get("Maximum") == 1
            amount = f"{value:.0%}" if share else f"{value:.3g} {entry.get('Units', '')}".strip()
            lines.append(f"{amount}: {entry['Description']}")
    return lines
