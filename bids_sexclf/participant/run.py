"""Run the participant level: prepare everyone a plan names, and account for every participant."""

import json
from pathlib import Path

from bids_sexclf import layout, resources
from bids_sexclf.citations import write_citations
from bids_sexclf.given.offers import read_by_participant
from bids_sexclf.given.prepared import scans_of
from bids_sexclf.participant.failures import report_failure, write_excluded
from bids_sexclf.participant.graph import remove_intermediates, run_workflows
from bids_sexclf.participant.references import write_atlases, write_references
from bids_sexclf.participant.report import sentences, write_report
from bids_sexclf.tables import write_table


def execute(bids_dir, out, run, preparation, planned, advance=None):
    """Prepare every participant-session of a plan.

    Parameters
    ----------
    bids_dir, out : path-like
    run : settings.Run
    preparation : settings.Preparation
    planned : plan.Plan
    advance : callable, optional
        Called with (steps done, steps in all, participant-sessions finished).

    Returns
    -------
    list of dict
        Every participant-session left out: participant_id, session_id, stage, reason. The tables
        ``worklist`` and ``excluded`` are in the output folder.
    """
    out, work = Path(out), Path(run.work_dir or Path(out, "work")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    folders = {n: path.resolve() for n, path in run.folders().items() if read_by_participant(n)}
    links = {"raw": bids_dir} | folders
    layout.write_description(out, "bids_sexclf: maps on a common grid", links)
    write_table(planned.worklist, out / "worklist.tsv", "worklist")
    write_boilerplate(out, planned.worklist, preparation)
    for row in planned.excluded:
        report_failure(out, row, planned.worklist, preparation)
    template = resources.find_template(preparation.template, preparation.templates_dir)
    places = {
        "root": Path(bids_dir).resolve(),
        "out": out.resolve(),
        "template": template,
        "references": write_references(out, template, preparation),
        "atlases": _atlases(out, template, run, preparation, planned),
        "derivatives": folders,
    }
    failed = []
    if planned.ready:
        failed = run_workflows(places, work, run, preparation, planned.ready, advance)
    excluded = planned.excluded + failed
    write_excluded(out, excluded, planned)
    for row in failed:
        report_failure(out, row, planned.worklist, preparation)
    if run.clean_workdir:
        failed_keys = {(row["participant_id"], row["session_id"]) for row in failed}
        keys = [(row["participant_id"], row["session_id"]) for row in planned.ready]
        pairs = zip(keys, planned.ready, strict=True)
        remove_intermediates(work, [row for key, row in pairs if key not in failed_keys])
    return excluded


def _atlases(out, template, run, preparation, planned):
    """Write the atlases that some participant's T1w needs."""
    if not any(row["t1w"] for row in planned.ready):
        return []
    return write_atlases(out, template, preparation, run.atlas_folders())


def rewrite_reports(out, planned, preparation):
    """Write the page of every finished participant-session again.

    Parameters
    ----------
    out : path-like
    planned : plan.Plan
    preparation : settings.Preparation

    Returns
    -------
    int
        How many were written.
    """
    for row in planned.finished:
        path = Path(out, layout.derivative("quality", row["participant_id"], row["session_id"]))
        numbers = json.loads(path.read_text())
        write_report(
            out,
            row["participant_id"],
            row["session_id"],
            numbers=numbers,
            provenance=numbers.get("GeneratedWith", preparation.provenance()),
            sources=scans_of(row),
            note=row["note"],
        )
    for row in planned.excluded:
        report_failure(out, row, planned.worklist, preparation)
    return len(planned.finished) + len(planned.excluded)


def write_boilerplate(out, worklist, preparation):
    """Write the methods text of the participant level to ``logs/CITATION.{md,html,tex,bib}``.

    Parameters
    ----------
    out : path-like
    worklist : pandas.DataFrame
    preparation : settings.Preparation

    Returns
    -------
    str
        The text as Markdown, with a sentence for every step that some participant's scans need.
    """
    told, provenance = {}, preparation.provenance()
    for row in worklist.to_dict("records"):
        told |= dict.fromkeys(sentences(provenance, scans_of(row)))
    return write_citations(" ".join(told), Path(out, "logs"))
