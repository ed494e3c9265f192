"""Plan a run of the participant level: find the scans, check them, find finished results."""

from dataclasses import dataclass, field

from bids_sexclf import layout, resources
from bids_sexclf.derivatives.offers import (
    find_offers,
    holds_scans,
    is_own_folder,
    read_by_participant,
)
from bids_sexclf.derivatives.prepared import fill
from bids_sexclf.errors import InputError
from bids_sexclf.execute import processors
from bids_sexclf.participant.failures import reason_of_fault
from bids_sexclf.participant.finished import find_places, judge
from bids_sexclf.participant.graph import read_plugin
from bids_sexclf.participant.nobody import drop_empty, refuse_all
from bids_sexclf.participant.preflight import check_dataset
from bids_sexclf.participant.references import check_atlases, find_sources
from bids_sexclf.participant.series import keep_correctable, plan_series, read_acquisition
from bids_sexclf.participant.series_checks import WITHOUT


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    ready : list of dict
        Worklist rows to prepare.
    finished : list of dict
        Rows that an earlier run has finished, from the same inputs and with the same choices.
    excluded : list of dict
        participant_id, session_id, stage, reason.
    worklist : pandas.DataFrame
        Every row found.
    again : list of dict
        participant_id, session_id, reason: those of `ready` that an earlier run has prepared.
    places : dict
        Where inputs lie, as `finished.find_places` returns it.
    empty : list of str
        Sessions without a T1w and without a diffusion series, of participants who have other
        sessions: nothing is to be prepared there.
    partial : list of dict
        participant_id, session_id, reason: those of `ready` and `finished` who lose only their
        diffusion data.
    """

    ready: list
    finished: list
    excluded: list
    worklist: object
    again: list
    places: dict
    empty: list = field(default_factory=list)
    partial: list = field(default_factory=list)


def plan(bids_dir, out, run, preparation, advance=None):
    """Find the scans, check them all, and find what is already prepared.

    Parameters
    ----------
    bids_dir, out : path-like
    run : settings.Run
    preparation : settings.Preparation
    advance : callable, optional
        Called with (done, total) as scans are checked.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If the dataset, a label or a filter cannot be used, or the output was made with other
        choices; or, but for a dry run, if no participant is usable.
    ToolError
        If the template, or a program asked for, is not at hand.
    """
    template = resources.find_template(preparation.template, preparation.templates_dir)
    check_tools(preparation)
    if run.use_plugin:
        read_plugin(run.use_plugin)
    folders = run.folders()
    if is_own_folder(bids_dir, folders):
        dataset = layout.PlainFolder(bids_dir)
    else:
        dataset = layout.open_dataset(
            bids_dir,
            validate=not run.skip_bids_validation,
            database_dir=None if run.dry_run else run.bids_database_dir,  # it would be written
        )
    worklist, empty = drop_empty(make_worklist(dataset, folders, run, preparation))
    if worklist.empty:
        raise InputError(
            f"Found no T1w and no diffusion series in {bids_dir}, needed sub-*/anat/*_T1w.nii.gz "
            "or sub-*/dwi/*_dwi.nii.gz. Check the names, or the labels and filters given."
        )
    tell = _counter(advance, len(worklist))
    good, excluded = check_dataset(
        dataset,
        worklist,
        run.nprocs or processors(),
        tell,
        labelled=not run.allow_unlabelled,
        folders=folders,
        preparation=preparation,
    )
    excluded = excluded.to_dict("records")
    if good.empty and not run.dry_run:
        raise refuse_all(excluded, run)
    read_folders = {name: path for name, path in folders.items() if read_by_participant(name)}
    shared = find_sources(template, run, preparation)
    places = find_places(bids_dir, out, template, read_folders, shared)
    rows = [
        row | plan_series(dataset, row, preparation) | read_acquisition(dataset, row)
        for row in good.to_dict("records")
    ]
    looked_at = with_checked(worklist, rows)
    if run.dry_run and any(row["t1w"] for row in rows):  # else it is told where they are written
        check_atlases(template, preparation, run.atlas_folders())
    return _sort(rows, preparation, places, excluded, looked_at, empty, not run.dry_run)


def with_checked(worklist, rows):
    """Return the worklist with the scans and notes of its rows as changed by the check.

    Parameters
    ----------
    worklist : pandas.DataFrame
    rows : list of dict
        Of those that passed the check.

    Returns
    -------
    pandas.DataFrame
    """
    checked = {(row["participant_id"], row["session_id"]): row for row in rows}
    rows_with_checks = [
        checked.get((row["participant_id"], row["session_id"]), row)
        for row in worklist.to_dict("records")
    ]
    return worklist.__class__(rows_with_checks, columns=worklist.columns, dtype=object)


def _sort(rows, preparation, places, excluded, worklist, empty, remember):
    """Sort rows by what is to be done: to prepare, finished, or not to be read at all."""
    ready, finished, again, partial = [], [], [], []
    for row in rows:
        session_key = {key: row[key] for key in ("participant_id", "session_id")}
        try:
            verdict = judge(row, preparation, places, remember)
        except OSError as fault:
            excluded.append(session_key | {"stage": "preflight", "reason": reason_of_fault(fault)})
            continue
        (finished if verdict.finished else ready).append(row)
        if verdict.reason:
            again.append(session_key | {"reason": verdict.reason})
        _, separator, faults = (row["note"] or "").partition(WITHOUT)
        if separator:
            partial.append(session_key | {"reason": separator + faults})
    return Plan(ready, finished, excluded, worklist, again, places, empty, partial)


def check_tools(preparation):
    """Refuse choices whose programs or templates are not installed.

    Parameters
    ----------
    preparation : settings.Preparation

    Raises
    ------
    ToolError
    """
    from bids_sexclf.participant import anat, dwi, maps, register

    for step in (anat, dwi, maps, register):
        step.check_tools(preparation)


def make_worklist(dataset, folders, run, preparation):
    """List every participant-session; prepared files of other tools replace raw ones.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    folders : dict of str to path-like
        What others have prepared.
    run : settings.Run
    preparation : settings.Preparation

    Returns
    -------
    pandas.DataFrame
        The columns of the ``worklist`` table.
    """
    filters = layout.read_filters(run.bids_filter_file)
    offers = find_offers(folders, preparation.template, filters)
    first = [kind for kind in ("t1w", "dwi") if getattr(preparation, f"{kind}_runs") == "first"]
    worklist = layout.find_scans(
        dataset,
        run.participant_label,
        run.session_label,
        filters,
        prepared=[key for name in offers if holds_scans(name) for key in offers[name]],
        first=first,
        b0_threshold=preparation.b0_threshold,
    )
    rows = [fill(row, offers) for row in worklist.to_dict("records")]
    rows = [keep_correctable(dataset, row, preparation) for row in rows]
    return worklist.__class__(rows, columns=worklist.columns, dtype=object)


def _counter(advance, total):
    """Return a callback that counts its calls and reports (count, total)."""
    if advance is None:
        return None
    state = iter(range(1, total + 1))
    return lambda: advance(next(state), total)
