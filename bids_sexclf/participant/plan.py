"""Plan a run of the participant level: find the scans, check them, see what is there already."""

from dataclasses import dataclass

from bids_sexclf import layout, resources
from bids_sexclf.errors import InputError
from bids_sexclf.execute import processors
from bids_sexclf.given.offers import (
    find_offers,
    holds_scans,
    is_own_folder,
    read_by_participant,
)
from bids_sexclf.given.prepared import fill
from bids_sexclf.participant.failures import reason_of_fault
from bids_sexclf.participant.finished import find_places, judge
from bids_sexclf.participant.preflight import check_dataset
from bids_sexclf.participant.references import find_sources
from bids_sexclf.participant.series import keep_correctable, plan_series, read_acquisition
from bids_sexclf.people import lacks_labels


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
        Where inputs lie, as `finished.find_places` gives it.
    """

    ready: list
    finished: list
    excluded: list
    worklist: object
    again: list
    places: dict


def plan(bids_dir, out, run, preparation, advance=None):
    """Find the scans, check them all, and see what is already there.

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
        If the dataset, a label or a filter cannot be used, no participant is usable, or the output
        was made with other choices.
    ToolError
        If the template, or a program asked for, is not at hand.
    """
    template = resources.find_template(preparation.template, preparation.templates_dir)
    check_tools(preparation)
    folders = run.folders()
    if is_own_folder(bids_dir, folders):
        dataset = layout.PlainFolder(bids_dir)
    else:
        dataset = layout.open_dataset(
            bids_dir, validate=not run.skip_bids_validation, database_dir=run.bids_database_dir
        )
    worklist = make_worklist(dataset, folders, run, preparation)
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
    if good.empty:
        reasons = "; ".join(excluded["participant_id"] + ": " + excluded["reason"])
        unlabelled = not run.allow_unlabelled and excluded["reason"].map(lacks_labels).any()
        way = " --allow-unlabelled prepares those of unknown sex or age." if unlabelled else ""
        raise InputError(
            f"Found no usable participant among {len(worklist)} ({reasons}), needed at least one. "
            f"Mend the scans or the tables named.{way}"
        )
    kept = {name: path for name, path in folders.items() if read_by_participant(name)}
    shared = find_sources(template, run, preparation)
    places = find_places(bids_dir, out, template, kept, shared)
    rows = [
        row | plan_series(dataset, row, preparation) | read_acquisition(dataset, row)
        for row in good.to_dict("records")
    ]
    return _sort(rows, preparation, places, excluded.to_dict("records"), worklist)


def _sort(rows, preparation, places, excluded, worklist):
    """Sort rows by what is to be done: to prepare, finished, or not to be read at all."""
    ready, finished, again = [], [], []
    for row in rows:
        who = {key: row[key] for key in ("participant_id", "session_id")}
        try:
            verdict = judge(row, preparation, places)
        except OSError as fault:
            excluded.append(who | {"stage": "preflight", "reason": reason_of_fault(fault)})
            continue
        (finished if verdict.finished else ready).append(row)
        if verdict.reason:
            again.append(who | {"reason": verdict.reason})
    return Plan(ready, finished, excluded, worklist, again, places)


def check_tools(preparation):
    """Refuse choices that this machine has no programs or templates for.

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
    """List every participant-session, with what others have prepared in place of what is raw.

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
        others=[key for name in offers if holds_scans(name) for key in offers[name]],
        first=first,
        b0_threshold=preparation.b0_threshold,
    )
    rows = [fill(row, offers) for row in worklist.to_dict("records")]
    rows = [keep_correctable(dataset, row, preparation) for row in rows]
    return worklist.__class__(rows, columns=worklist.columns, dtype=object)


def _counter(advance, total):
    """Turn 'one more' into 'so many of so many'."""
    if advance is None:
        return None
    state = iter(range(1, total + 1))
    return lambda: advance(next(state), total)
