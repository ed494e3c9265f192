"""Find the scans to prepare in a BIDS dataset (with pybids)."""

import json
import os
import re
from pathlib import Path

from bids_sexclf.errors import InputError
from bids_sexclf.layout.content import (
    choose_content,
    find_partial,
    keep_magnitudes,
    read_content,
    tell_way,
)
from bids_sexclf.layout.entities import ENTITIES, label, parse_name
from bids_sexclf.layout.filters import check_filters
from bids_sexclf.layout.listing import find_gradients, list_once
from bids_sexclf.layout.pooling import B0_THRESHOLD, choose_series

SEVERAL = ";"
"""Separator of the paths in a cell of the worklist."""

SCANS = (
    "t1w",
    "dwi",
    "bval",
    "bvec",
    "t1w_mask",
    "t1w_to_template",
    "template_to_t1w",
    "dwi_mask",
    "dwi_motion",
    "maps",
)
"""Columns of the worklist with paths; the last six are only of other tools."""


MOST_NAMES = 3
"""Number of scans named among those that were not chosen."""

NO_SESSION = object()
"""Code of scans outside the sessions of a participant who has sessions."""


def paths(cell):
    """List the paths of one cell of the worklist.

    Examples
    --------
    >>> paths("run-1.nii.gz;run-2.nii.gz"), paths(None)
    (['run-1.nii.gz', 'run-2.nii.gz'], [])
    """
    return cell.split(SEVERAL) if cell else []


def find_scans(
    dataset,
    participants=None,
    sessions=None,
    filters=None,
    prepared=(),
    first=(),
    b0_threshold=B0_THRESHOLD,
):
    """List the scans to prepare: one row is one participant-session.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    participants, sessions : list of str, optional
        Labels, with or without their prefix; all by default.
    filters : dict, optional
        BIDS entities per kind of scan, keys ``t1w``, ``dwi``, ``t1w_mask``, ``dwi_mask``, ``maps``.
    prepared : iterable of tuple
        (participant_id, session_id) prepared by other tools, in the dataset or not; a session
        of None stands for all of the participant's.
    first : iterable of str
        Kinds, ``t1w`` or ``dwi``, of which only the first run is taken.
    b0_threshold : float
        Largest b-value of a b0 volume, s/mm².

    Returns
    -------
    pandas.DataFrame
        The columns of the ``worklist`` table; paths relative to the dataset, those of several runs
        of a T1w, or of diffusion series that are pooled, joined by a semicolon.

    Raises
    ------
    InputError
        If a named participant or session does not exist, or a filter is unknown.
    """
    import pandas as pd

    filters = check_filters(filters or {})
    sessions_of = _participants(dataset, prepared)
    chosen = _existing(participants, sessions_of, "sub", "--participant-label")
    all_sessions = {session for own_sessions in sessions_of.values() for session in own_sessions}
    chosen_sessions = _existing(sessions, all_sessions, "ses", "--session-label")
    rows = []
    for participant in chosen:
        own_sessions = sorted(set(sessions_of[participant]) & set(chosen_sessions))
        if sessions and not own_sessions:
            continue
        new = [
            _row(dataset, participant, session, filters, first, b0_threshold)
            for session in own_sessions or [None]
        ]
        for row in new:
            _borrow_t1w(dataset, row, sessions_of[participant], filters, first)
        if own_sessions and not sessions:
            new += _outside_sessions(
                dataset, participant, new, own_sessions, filters, first, b0_threshold
            )
        rows += new
    columns = ["participant_id", "session_id", *SCANS, "note"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _participants(dataset, prepared):
    """Return the sessions of every participant, in the dataset and in derivatives."""
    from bids.layout import Query

    sessions_of = {name: set() for name in dataset.get_subjects()}
    for file in dataset.get(session=Query.REQUIRED, subject=Query.REQUIRED):
        sessions_of[file.entities["subject"]].add(file.entities["session"])
    for participant, sessions in getattr(dataset, "folders", {}).items():
        sessions_of.setdefault(participant, set()).update(sessions)
    for participant, session in prepared:
        sessions_of_one = sessions_of.setdefault(label(participant, "sub"), set())
        if session:
            sessions_of_one.add(label(session, "ses"))
    return sessions_of


def _existing(requested, existing, entity, flag):
    """Check that requested labels exist, and return them."""
    existing = sorted(existing)
    if not requested:
        return existing
    requested = [label(entry, entity) for entry in requested]
    missing = [entry for entry in requested if entry not in existing]
    if missing:
        raise InputError(
            f"Found no {entity}-{', '.join(missing)} in the dataset, needed "
            f"{_list_known(existing)}. "
            f"Correct {flag}."
        )
    return [entry for entry in existing if entry in requested]


def _outside_sessions(dataset, participant, rows, sessions, filters, first, b0_threshold):
    """Return a row of the scans outside all sessions, if no session uses them."""
    row = _row(dataset, participant, NO_SESSION, filters, first, b0_threshold)
    used = {path for row_of_session in rows for path in paths(row_of_session["t1w"])}
    if not row["dwi"] and set(paths(row["t1w"])) <= used:
        return []
    _borrow_t1w(dataset, row, sessions, filters, first)
    return [row]


def _borrow_t1w(dataset, row, sessions, filters, first):
    """Return a row with a T1w of another session, for a diffusion series without one.

    Scans outside the sessions come first, then the nearest session, then the earlier one.
    """
    if row["t1w"] or not row["dwi"]:
        return
    filter_of_kind, ordered = filters.get("t1w", {}), sorted(sessions)
    all_scans = _scans(dataset, label(row["participant_id"], "sub"), None, "T1w", filter_of_kind)
    all_scans, _ = keep_magnitudes(dataset, all_scans)
    groups = {}
    for path in all_scans:
        groups.setdefault(parse_name(path)[0].get("ses"), []).append(path)
    if not groups:
        return
    session = row["session_id"] and label(row["session_id"], "ses")
    place = ordered.index(session) if session in ordered else 0

    def distance(name):
        index = ordered.index(name) if name in ordered else 0
        return name is not None, abs(index - place), index

    source = min(groups, key=distance)
    scans, note = choose_scans(groups[source], _together(filter_of_kind), "t1w" in first, "t1w")
    row["t1w"] = SEVERAL.join(os.path.relpath(path, dataset.root) for path in scans)
    home = "from beside the sessions" if source is None else f"of ses-{source}"
    place_without = row["session_id"] or "what lies beside the sessions"
    notes = [row["note"], f"T1w {home} ({Path(scans[0]).name}), as {place_without} has none", note]
    row["note"] = "; ".join(filter(None, notes))


def _list_known(labels):
    if not labels:
        return "no label, as none exists"
    ellipsis = " …" if len(labels) > 8 else ""
    return f"some of the {len(labels)} that exist ({', '.join(labels[:8])}{ellipsis})"


def _row(dataset, participant, session, filters, first, b0_threshold):
    """Return one row of the worklist, from the scans in the dataset."""
    chosen = {kind: [] for kind in ("t1w", "dwi")}
    notes = _tell_closed(dataset, participant, session)
    for kind, suffix in (("t1w", "T1w"), ("dwi", "dwi")):
        filter_of_kind = filters.get(kind, {})
        scans = _scans(dataset, participant, session, suffix, filter_of_kind)
        magnitudes, parts = keep_magnitudes(dataset, scans)
        notes += parts
        options = {"together": _together(filter_of_kind), "only_first": kind in first}
        if kind == "dwi":
            single, twins = _without_twins(magnitudes)
            chosen[kind], note = choose_series(
                dataset, single, b0_threshold=b0_threshold, **options
            )
            notes += _tell_twins(twins, chosen[kind])
        else:
            chosen[kind], note = choose_scans(magnitudes, kind=kind, **options)
        notes.append(note)
        unfiltered = (
            _scans(dataset, participant, session, suffix, {})
            if filter_of_kind and not scans
            else []
        )
        if unfiltered:
            notes.append(
                f"the filter of --bids-filter-file leaves none of {len(unfiltered)} {suffix}"
            )
    for extension in ("bval", "bvec"):
        beside = [find_gradients(dataset, path, extension) for path in chosen["dwi"]]
        chosen[extension] = beside if all(beside) else []
    cells = {
        kind: SEVERAL.join(os.path.relpath(path, dataset.root) for path in whole) or None
        for kind, whole in chosen.items()
    }
    named = session and session is not NO_SESSION
    row = {
        "participant_id": f"sub-{participant}",
        "session_id": f"ses-{session}" if named else None,
    }
    row |= dict.fromkeys(SCANS) | cells
    return row | {"note": "; ".join(filter(None, notes)) or None}


def _tell_closed(dataset, participant, session):
    """Return a note on each folder of a participant-session that may not be read."""
    person = f"sub-{participant}"
    places = {person, f"{person}/ses-{session}"}
    return [
        f"the folder {folder} cannot be read, needed permission to read it"
        for folder in getattr(dataset, "closed", [])
        if folder in places or str(Path(folder).parent) in places
    ]


def _scans(dataset, participant, session, suffix, filters):
    """List the scans of one kind that match the filter."""
    key = json.dumps([suffix, filters], sort_keys=True)
    query = {"suffix": suffix, "extension": [".nii.gz", ".nii"]} | filters
    scans = list_once(dataset, key, query).get(participant, [])
    wanted = None if session is NO_SESSION else session
    return [path for session_of_scan, path in scans if session is None or session_of_scan == wanted]


def _together(filters):
    """Return the entities for which a filter lists several labels: these belong together."""
    return [
        ENTITIES.get(key, key)
        for key, value in filters.items()
        if isinstance(value, list) and len(value) > 1
    ]


def choose_scans(scans, together=(), only_first=False, kind=None):
    """Choose one scan with all its runs: the one with the simplest name.

    Parameters
    ----------
    scans : iterable of path-like
    together : iterable of str
        Entities whose labels may differ between the parts of one scan, beside ``run``.
    only_first : bool
        Leave the further runs.
    kind : {"t1w", "dwi"}, optional
        Key of the filter that can choose another. Of several ``t1w`` the headers are read: what
        measures most comes first, among equals the plainest name.

    Returns
    -------
    list
        The runs in the order of their names; empty if there is no scan.
    str or None
        A note about the choice and the alternatives; None if there was no choice.
    """
    scans, twins = _without_twins(scans)
    groups = {}
    for path in sorted(scans, key=lambda path: (len(Path(path).name.split("_")), str(path))):
        entities, _, _ = parse_name(path)
        alike = ("run", "part", *together)
        key = tuple(pair for pair in entities.items() if pair[0] not in alike)
        groups.setdefault(key, []).append(path)
    if not groups:
        return [], None
    ordered = [groups[key] for key in sorted(groups, key=lambda key: (len(key), key))]
    for runs in ordered:  # a name without run stands before run-2
        runs.sort(key=lambda path: (int("0" + re.sub(r"\D", "", _run(path))), str(path)))
    all_runs = sum(ordered, [])
    contents = (
        {path: read_content(path) for path in all_runs} if kind == "t1w" and all_runs[1:] else {}
    )
    partial = find_partial(ordered, contents)
    ordered = [[path for path in runs if path not in partial] for runs in ordered]
    choice = choose_content(ordered, contents)
    runs = ordered[choice]
    chosen = runs[:1] if only_first else runs
    notes = _tell_twins(twins, chosen)
    if len(ordered) > 1:
        notes.append(_tell_choice(ordered, choice, contents, kind))
    if len(runs) > 1:
        notes.append(f"{len(chosen)} of {len(runs)} runs of {Path(runs[0]).name}")
    notes += [f"without {Path(path).name} ({contents[path].words})" for path in partial]
    return chosen, "; ".join(notes) or None


def _tell_choice(groups, choice, contents, kind):
    """Describe which scan was chosen among several names, why, and how to choose another."""
    chosen, other_groups = groups[choice], groups[:choice] + groups[choice + 1 :]
    reason = "which measures most" if choice else "the plainest"
    sentence = f"{Path(chosen[0]).name}, {reason} of {len(groups)}"
    if kind is None:
        return sentence
    alternatives = []
    for path, *_ in other_groups[:MOST_NAMES]:
        about = [contents[path].words] if contents.get(path) else []
        about += [] if alternatives else [tell_way(kind, path, chosen)]  # one example is enough
        about = "; ".join(filter(None, about))
        alternatives.append(Path(path).name + (f" ({about})" if about else ""))
    further = (
        f" and {len(other_groups) - MOST_NAMES} more" if len(other_groups) > MOST_NAMES else ""
    )
    return f"{sentence}, and not {', '.join(alternatives)}{further}"


def _without_twins(scans):
    """Leave out every ``.nii`` that lies beside a ``.nii.gz`` of the same name."""
    names = {str(path) for path in scans}
    twins = sorted(name for name in names if f"{name}.gz" in names)
    return [path for path in scans if str(path) not in twins], twins


def _tell_twins(twins, chosen):
    """Return notes on chosen scans that lie beside a ``.nii`` of the same name."""
    stems = {str(path).removesuffix(".gz") for path in chosen}
    return [f"{Path(path).name}.gz and not {Path(path).name}" for path in twins if path in stems]


def _run(path):
    return parse_name(path)[0].get("run", "")
