"""Run the participant level: prepare everyone in a plan, and report every participant."""

import json
import resource
from contextlib import ExitStack
from pathlib import Path

from bids_sexclf import layout, resources
from bids_sexclf.citations import write_citations
from bids_sexclf.derivatives.prepared import scans_of
from bids_sexclf.disk import PART, remove_parts
from bids_sexclf.errors import BusyError
from bids_sexclf.locks import hold
from bids_sexclf.participant.cache import GRAPH
from bids_sexclf.participant.failures import (
    LOCKS,
    reason_of_fault,
    report_failures,
    row_of_failure,
    update_table,
    write_excluded,
)
from bids_sexclf.participant.finished import judge, quality_name
from bids_sexclf.participant.graph import folder_of, remove_intermediates, run_workflows
from bids_sexclf.participant.index import PAGE, write_index
from bids_sexclf.participant.references import write_atlases, write_references
from bids_sexclf.participant.report import page_of, sentences, state_on, write_report
from bids_sexclf.participant.summary import judge_all


def execute(bids_dir, out, run, preparation, planned, advance=None, tell=None):
    """Prepare every participant-session of a plan.

    Parameters
    ----------
    bids_dir, out : path-like
    run : settings.Run
    preparation : settings.Preparation
    planned : plan.Plan
    advance : callable, optional
        Called with (steps done, steps in all, words on what runs and how long it will take).
    tell : callable, optional
        Called with a message for the user: another run to wait for, a table or a page that could
        not be written.

    Returns
    -------
    list of dict
        Every participant-session left out: participant_id, session_id, stage, reason. The tables
        ``worklist`` and ``excluded`` are in the output folder.
    """
    tell = tell or (lambda sentence: None)
    out, work = Path(out), Path(run.work_dir or Path(out, "work")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for folder, shape in (
        (out, ""),
        (out / "logs", "**/"),
        (out, "tpl-*/**/"),
        (out, "atlas*/**/"),
    ):
        remove_parts(folder.glob(f"{shape}{PART}*"))
    update_table(planned.worklist, out, "worklist", planned.worklist, tell)
    _account(out, planned.excluded, planned, preparation, tell)
    with hold(out / LOCKS / "dataset.lock", "the output folder is being described", tell=tell):
        materials = _write_dataset(bids_dir, out, run, preparation, planned)

    def prepare(rows):
        return run_workflows(materials, planned.places, work, run, preparation, rows, advance)

    failed = prepare_all(planned, preparation, out, work, prepare, tell, clean=run.clean_workdir)
    excluded = planned.excluded + failed
    _account(out, excluded, planned, preparation, tell, pages=failed)
    lost = {(row["participant_id"], row["session_id"]) for row in failed}
    whole = [row for row in planned.ready + planned.finished if _who(row) not in lost]
    _write_pages(out, whole, preparation, tell)
    if run.clean_workdir:
        _clean_finished(work, planned.finished)
    return excluded


def _write_dataset(bids_dir, out, run, preparation, planned):
    """Write the files that all participants share; return the inputs of their workflows."""
    folders = {name: planned.places[name] for name in run.folders() if name in planned.places}
    layout.write_description(out, "bids_sexclf: maps on a common grid", {"raw": bids_dir} | folders)
    write_boilerplate(out, planned.worklist, preparation)
    template = resources.find_template(preparation.template, preparation.templates_dir)
    return {
        "root": Path(bids_dir).resolve(),
        "out": out.resolve(),
        "template": template,
        "references": write_references(out, template, preparation),
        "atlases": _atlases(out, template, run, preparation, planned),
        "derivatives": folders,
    }


def _account(out, excluded, planned, preparation, tell, pages=None):
    """Write ``excluded.tsv``, then the pages; report what cannot be written, and go on."""
    try:
        write_excluded(out, excluded, planned, tell)
    except Exception as fault:
        tell(f"warning: {out / 'excluded.tsv'} could not be written: {reason_of_fault(fault)}")
    rows = excluded if pages is None else pages
    report_failures(out, rows, planned.worklist, preparation, tell)
    _write_index(out, tell)


def _write_index(out, tell):
    """Write the page of all participants; report a fault of it, and go on."""
    try:
        with hold(Path(out, LOCKS, "index.lock"), "the page of all participants is being written"):
            write_index(out)
    except Exception as fault:
        tell(f"warning: {Path(out, PAGE)} could not be written: {reason_of_fault(fault)}")


def prepare_all(planned, preparation, out, work, prepare, tell, clean=False):
    """Prepare the unlocked participant-sessions, then those that other runs have locked.

    This process holds no lock while it waits for another, so two runs never wait for each other.

    Parameters
    ----------
    planned : plan.Plan
    preparation : settings.Preparation
    out, work : pathlib.Path
    prepare : callable
        Called with rows of the worklist; returns the rows of those that failed.
    tell : callable
        Called with a message that names the process to wait for.
    clean : bool
        Remove the intermediate files of those that were prepared.

    Returns
    -------
    list of dict
        Rows of ``excluded.tsv``.
    """
    waiting, failed = list(planned.ready), []
    while waiting:
        with ExitStack() as stack:
            portion, later = waiting[: _most_locked()], waiting[_most_locked() :]
            free, busy = _claim(stack, portion, out, work)
            ready, unreadable = _unfinished(free, preparation, planned.places)
            new = unreadable + (prepare(ready) if ready else [])
            failed += new
            if clean:
                lost = {(row["participant_id"], row["session_id"]) for row in new}
                prepared = [r for r in free if (r["participant_id"], r["session_id"]) not in lost]
                remove_intermediates(work, prepared)
        if busy and not free:
            lock, description = busy[0][1]
            with hold(lock, description, tell=tell):
                pass
        waiting = later + [row for row, _ in busy]
    return failed


def _most_locked():
    """Return how many participant-sessions can be locked at once: each needs two open files."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, limit // 4) if limit != resource.RLIM_INFINITY else 100_000


def _unfinished(rows, preparation, places):
    """List the rows that no other run has finished in the meantime; keep unreadable ones."""
    ready, unreadable = [], []
    for row in rows:
        try:
            if not judge(row, preparation, places, True).finished:
                ready.append(row)
        except OSError as fault:
            unreadable.append(row_of_failure(row, reason_of_fault(fault)))
    return ready, unreadable


def _locks(row, out, work):
    """Return the locks of a participant-session: of its results, and of its intermediate files.

    They are two because two output folders may share a work folder.
    """
    name = layout.name_of(row["participant_id"], row["session_id"])
    folder = folder_of(work, row)
    return [
        (out / LOCKS / f"{name}.lock", f"{name} is being prepared"),
        (folder.with_name(f"{folder.name}.lock"), f"{name} is being prepared in {work / GRAPH}"),
    ]


def _claim(stack, rows, out, work):
    """Lock the rows that are free; return these rows, and the busy rows with their locks."""
    free, busy = [], []
    for row in rows:
        with ExitStack() as locks:
            for lock in _locks(row, out, work):
                try:
                    locks.enter_context(hold(*lock, wait=False))
                except BusyError:
                    busy.append((row, lock))
                    break
            else:
                free.append(row)
                stack.enter_context(locks.pop_all())
    return free, busy


def _clean_finished(work, rows):
    """Remove the intermediate files of finished sessions that no other run is using."""
    for row in rows:
        folder = folder_of(work, row)
        if not folder.exists():
            continue
        try:
            with hold(folder.with_name(f"{folder.name}.lock"), "it is being cleaned", wait=False):
                remove_intermediates(work, [row])
        except BusyError:
            continue


def _atlases(out, template, run, preparation, planned):
    """Write the atlases, if any participant has a T1w."""
    if not any(row["t1w"] for row in planned.ready):
        return []
    return write_atlases(out, template, preparation, run.atlas_folders())


def rewrite_reports(out, planned, preparation, tell=None):
    """Write the page of every finished participant-session again.

    Parameters
    ----------
    out : path-like
    planned : plan.Plan
    preparation : settings.Preparation
    tell : callable, optional
        Called with a sentence for each page that could not be written.

    Returns
    -------
    int
        How many were written.
    """
    troubles = []
    _write_pages(out, planned.finished, preparation, troubles.append, all_pages=True)
    report_failures(out, planned.excluded, planned.worklist, preparation, troubles.append)
    pages = len(planned.finished) + len(planned.excluded) - len(troubles)
    _write_index(out, troubles.append)
    for sentence in troubles if tell else ():
        tell(sentence)
    return pages


def _who(row):
    return (row["participant_id"], row["session_id"])


def _write_pages(out, rows, preparation, tell, all_pages=False):
    """Write pages again, now that all participants can be compared; report faults.

    Parameters
    ----------
    out : pathlib.Path
    rows : list of dict
        Of the worklist.
    preparation : settings.Preparation
    tell : callable
        Called with a sentence for each page that could not be written.
    all_pages : bool
        Write also the pages of sessions that passed before and pass now.
    """
    try:
        verdicts = judge_all(out)
    except Exception as fault:
        verdicts = {}
        tell(f"warning: participants could not be compared: {reason_of_fault(fault)}")
    for row in rows:
        try:
            verdict = verdicts.get(_who(row))
            states = {verdict.state if verdict else None, state_on(page_of(out, *_who(row)))}
            if all_pages or (verdict and states != {"passed"}):
                _rewrite_report(out, row, preparation, verdict)
        except Exception as fault:  # of one participant; the others have their pages
            name, reason = layout.name_of(*_who(row)), reason_of_fault(fault)
            tell(f"warning: the page of {name} could not be written: {reason}")


def _rewrite_report(out, row, preparation, verdict=None):
    numbers = json.loads(Path(out, quality_name(row)).read_text())
    write_report(
        out,
        row["participant_id"],
        row["session_id"],
        numbers=numbers,
        provenance=numbers.get("GeneratedWith", preparation.provenance()),
        sources=numbers.get("Scans") or scans_of(row),
        note=numbers.get("Note", row.get("note")),
        verdict=verdict,
    )


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
    texts, provenance = {}, preparation.provenance()
    for row in worklist.to_dict("records"):
        texts |= dict.fromkeys(sentences(provenance, scans_of(row)))
    return write_citations(" ".join(texts), Path(out, "logs"))
