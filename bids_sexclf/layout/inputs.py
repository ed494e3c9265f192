"""Find what there is to prepare in a BIDS dataset (pybids)."""

import os
import re
from pathlib import Path

from bids_sexclf.errors import InputError
from bids_sexclf.layout.entities import ENTITIES, label, parse_name
from bids_sexclf.layout.filters import check_filters

SEVERAL = ";"
"""What stands between the paths of one cell of the worklist."""

SUFFIXES = {"t1w": "T1w", "dwi": "dwi"}
"""Kinds of raw scans, to the suffix of their names."""

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
"""Columns of the worklist that hold paths; the last six are only what others have prepared."""


def paths(cell):
    """List the paths of one cell of the worklist.

    Examples
    --------
    >>> paths("run-1.nii.gz;run-2.nii.gz"), paths(None)
    (['run-1.nii.gz', 'run-2.nii.gz'], [])
    """
    return cell.split(SEVERAL) if cell else []


def find_scans(dataset, participants=None, sessions=None, filters=None, others=(), first=()):
    """List what there is to prepare: one row is one participant-session.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    participants, sessions : list of str, optional
        Labels, with or without their prefix; all by default.
    filters : dict, optional
        BIDS entities per kind of scan, keys ``t1w``, ``dwi``, ``t1w_mask``, ``dwi_mask``, ``maps``.
    others : iterable of tuple
        (participant_id, session_id) that others have prepared, in the dataset or not; a session
        of None stands for all of the participant's.
    first : iterable of str
        Kinds, ``t1w`` or ``dwi``, of which only the first run is taken.

    Returns
    -------
    pandas.DataFrame
        The columns of the ``worklist`` table; paths relative to the dataset, those of several runs
        joined by a semicolon.

    Raises
    ------
    InputError
        If a named participant or session does not exist, or a filter is unknown.
    """
    import pandas as pd

    filters = check_filters(filters or {})
    held = _participants(dataset, others)
    chosen = _existing(participants, held, "sub", "--participant-label")
    every = {session for own in held.values() for session in own}
    known = _existing(sessions, every, "ses", "--session-label")
    scans = {
        (kind, is_filtered): _list_scans(
            dataset, suffix, filters.get(kind, {}) if is_filtered else {}
        )
        for kind, suffix in SUFFIXES.items()
        for is_filtered in (True, False)
        if is_filtered or kind in filters
    }
    gradients = {file.path for file in dataset.get(suffix="dwi", extension=[".bval", ".bvec"])}
    rows = []
    for participant in chosen:
        own = sorted(set(held[participant]) & set(known))
        if sessions and not own:
            continue
        for session in own or [None]:
            rows.append(_row(dataset, participant, session, scans, gradients, filters, first))
    columns = ["participant_id", "session_id", *SCANS, "note"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _participants(dataset, others):
    """Give every participant's sessions, in the dataset and in what others have prepared."""
    from bids.layout import Query

    held = {name: set() for name in dataset.get_subjects()}
    for file in dataset.get(session=Query.REQUIRED, subject=Query.REQUIRED):
        held[file.entities["subject"]].add(file.entities["session"])
    for participant, sessions in getattr(dataset, "folders", {}).items():
        held.setdefault(participant, set()).update(sessions)
    for participant, session in others:
        own = held.setdefault(label(participant, "sub"), set())
        if session:
            own.add(label(session, "ses"))
    return held


def _existing(asked, known, entity, flag):
    """Check labels that a user asked for against those that exist."""
    known = sorted(known)
    if not asked:
        return known
    asked = [label(entry, entity) for entry in asked]
    missing = [entry for entry in asked if entry not in known]
    if missing:
        raise InputError(
            f"Found no {entity}-{', '.join(missing)} in the dataset, needed "
            f"{_list_known(known)}. "
            f"Correct {flag}."
        )
    return [entry for entry in known if entry in asked]


def _list_known(labels):
    if not labels:
        return "no label, as none exists"
    more = " …" if len(labels) > 8 else ""
    return f"some of the {len(labels)} that exist ({', '.join(labels[:8])}{more})"


def _row(dataset, participant, session, scans, gradients, filters, first):
    """One row of the worklist, of what lies in the dataset."""
    found = {kind: [] for kind in SUFFIXES}
    notes = []
    for kind, suffix in SUFFIXES.items():
        own = _own(scans[kind, True], participant, session)
        found[kind], note = choose_scans(own, _together(filters.get(kind, {})), kind in first)
        notes.append(note)
        every = _own(scans.get((kind, False), {}), participant, session)
        if every and not own:
            notes.append(f"the filter of --bids-filter-file leaves none of {len(every)} {suffix}")
    found["dwi"], note = _alike(dataset, found["dwi"])
    for extension in ("bval", "bvec"):
        beside = [_nearest(dataset, path, extension, gradients) for path in found["dwi"]]
        found[extension] = beside if all(beside) else []
    cells = {
        kind: SEVERAL.join(os.path.relpath(path, dataset.root) for path in whole) or None
        for kind, whole in found.items()
    }
    row = {"participant_id": f"sub-{participant}", "session_id": session and f"ses-{session}"}
    row |= dict.fromkeys(SCANS) | cells
    return row | {"note": "; ".join(filter(None, (*notes, note))) or None}


def _list_scans(dataset, suffix, filters):
    """List everybody's scans of one kind that the filter lets pass.

    One question for all: the index looks through all files for each.

    Returns
    -------
    dict of str to list of tuple
        Label of the participant to (label of the session or None, path).
    """
    query, found = {"suffix": suffix, "extension": [".nii.gz", ".nii"]}, {}
    for scan in dataset.get(**(query | filters), invalid_filters="allow"):
        own = scan.entities
        found.setdefault(own.get("subject"), []).append((own.get("session"), scan.path))
    return found


def _own(scans, participant, session):
    """List the scans of one participant-session."""
    return [path for own, path in scans.get(participant, []) if session in (None, own)]


def _nearest(dataset, path, extension, gradients):
    """Find the file of b-values or b-vectors of a series: of its own name, or inherited."""
    beside = re.sub(r"\.nii(\.gz)?$", f".{extension}", path)
    if beside in gradients:
        return beside
    return dataset.get_nearest(path, extension=f".{extension}", suffix="dwi")


def _together(filters):
    """Name the entities of which a filter asks several labels at once: these belong together."""
    return [
        ENTITIES.get(key, key)
        for key, value in filters.items()
        if isinstance(value, list) and len(value) > 1
    ]


def choose_scans(scans, together=(), only_first=False):
    """Choose one scan, with all its runs: that with the plainest name.

    Parameters
    ----------
    scans : iterable of path-like
    together : iterable of str
        Entities whose labels may differ between the parts of one scan, beside ``run``.
    only_first : bool
        Leave the further runs.

    Returns
    -------
    list
        The runs in the order of their names; empty without any scan.
    str or None
        What was chosen, where there was a choice.
    """
    scans, twins = _without_twins(scans)
    groups = {}
    for path in sorted(scans, key=lambda path: (len(Path(path).name.split("_")), str(path))):
        entities, _, _ = parse_name(path)
        key = tuple(pair for pair in entities.items() if pair[0] not in ("run", *together))
        groups.setdefault(key, []).append(path)
    if not groups:
        return [], None
    runs = groups[min(groups, key=lambda key: (len(key), key))]
    # A name without run stands before run-2.
    runs.sort(key=lambda path: (int("0" + re.sub(r"\D", "", _run(path))), str(path)))
    chosen = runs[:1] if only_first else runs
    stems = {str(path).removesuffix(".gz") for path in chosen}
    notes = [f"{Path(path).name}.gz and not {Path(path).name}" for path in twins if path in stems]
    if len(groups) > 1:
        notes.append(f"{Path(runs[0]).name}, the plainest of {len(groups)}")
    if len(runs) > 1:
        notes.append(f"{len(chosen)} of {len(runs)} runs of {Path(runs[0]).name}")
    return chosen, "; ".join(notes) or None


def _without_twins(scans):
    """Leave out every ``.nii`` that lies beside a ``.nii.gz`` of its name: they are one scan."""
    names = {str(path) for path in scans}
    twins = sorted(name for name in names if f"{name}.gz" in names)
    return [path for path in scans if str(path) not in twins], twins


def _run(path):
    return parse_name(path)[0].get("run", "")


def _alike(dataset, series):
    """Keep the runs whose sidecars tell the same phase encoding as the first one's."""
    if len(series) < 2:
        return series, None
    fields = ("PhaseEncodingDirection", "TotalReadoutTime", "EchoTime")
    told = [[dataset.get_metadata(path).get(field) for field in fields] for path in series]
    alike = [path for path, own in zip(series, told, strict=True) if own == told[0]]
    if len(alike) == len(series):
        return series, None
    others = ", ".join(Path(path).name for path in series if path not in alike)
    return alike, f"without {others}, whose sidecar tells another {', '.join(fields)}"
