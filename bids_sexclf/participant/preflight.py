"""Check every scan of every participant before any computing, and list every fault at once."""

import shutil
from pathlib import Path

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.execute import pool
from bids_sexclf.fieldmaps import choose
from bids_sexclf.layout import find_fieldmaps, read_metadata
from bids_sexclf.people import read_participants
from bids_sexclf.volumes import inspect

DWI_FIELDS = ("PhaseEncodingDirection", "TotalReadoutTime")
"""What distortion correction will ask of a series; its absence is noted, and leaves nobody out."""


def check_dataset(dataset, worklist, processes=1, advance=None, labelled=True, distortion="none"):
    """Split a worklist into what can run and what cannot.

    Parameters
    ----------
    dataset : bids.BIDSLayout
    worklist : pandas.DataFrame
        As `layout.find_scans` gives it.
    processes : int
        Files are read by this many processes.
    advance : callable, optional
        Called after each participant-session.
    labelled : bool
        Leave out participants whose sex or age is unknown.
    distortion : str
        `settings.Preparation.distortion`; a participant-session that lacks what a method named
        there needs is left out.

    Returns
    -------
    ready : pandas.DataFrame
        Rows without a fault; ``note`` tells what they lack without being left out for it.
    excluded : pandas.DataFrame
        participant_id, session_id, stage, reason: one row per participant-session left out, with
        all its faults.
    """
    import pandas as pd

    root = Path(dataset.root)
    people, faults = read_participants(root, labelled)
    rows = worklist.to_dict("records")
    with pool(processes) as executor:
        futures = [executor.submit(check_scans, root, row) for row in rows]
        checked = []
        for future in futures:
            checked.append(future.result())
            if advance:
                advance()
    found = [list(scan_faults) for scan_faults, _ in checked]
    known = set(people["participant_id"])
    for row, own in zip(rows, found, strict=True):
        person = row["participant_id"]
        own += faults.get(person, [])
        if labelled and person not in known:
            own.append("no row in participants.tsv, needed one with sex and age")
        notes = [row["note"], _missing_fields(dataset, row)]
        try:
            chosen = plan_distortion(dataset, row, distortion)
            notes.append(_told(chosen) if distortion != "none" else None)
        except InputError as fault:
            own.append(str(fault))
        row["note"] = "; ".join(filter(None, notes)) or None
    for first, reason in _copies(rows, [prints for _, prints in checked]):
        found[first].append(reason)
    columns = ["participant_id", "session_id", "stage", "reason"]
    excluded = [
        [row["participant_id"], row["session_id"], "preflight", "; ".join(own)]
        for row, own in zip(rows, found, strict=True)
        if own
    ]
    ready = [row for row, own in zip(rows, found, strict=True) if not own]
    return (
        pd.DataFrame(ready, columns=worklist.columns, dtype=object),
        pd.DataFrame(excluded, columns=columns, dtype=object),
    )


def check_scans(root, row):
    """List the faults of one participant-session's scans.

    Parameters
    ----------
    root : path-like
        Of the dataset.
    row : dict
        Of the worklist.

    Returns
    -------
    faults : list of str
    fingerprints : dict of str to str
        Kind of scan to the digest of its values.
    """
    faults, prints = [], {}
    if not row["t1w"] and not row["dwi"]:
        return ["no T1w and no diffusion series, needed one of them"], {}
    for kind, ndim in (("t1w", 3), ("dwi", 4)):
        if not row[kind]:
            continue
        seen = inspect(Path(root, row[kind]))
        own = list(seen.faults)
        size = len([n for n in seen.shape if n > 1]) if kind == "t1w" else len(seen.shape)
        if seen.shape and size != ndim:
            own.append(f"has shape {seen.shape}, needed {ndim} dimensions")
        elif seen.shape and min(seen.shape[:3]) < 8:
            own.append(f"has shape {seen.shape}, needed at least 8 voxels along each axis")
        if seen.shape and kind == "dwi" and len(seen.shape) == 4:
            own += check_gradient_files(root, row, seen.shape[3])
        faults += [f"{Path(row[kind]).name} {fault}" for fault in own]
        prints[kind] = seen.fingerprint
    return faults, prints


def check_gradient_files(root, row, count):
    """List the faults of a series' b-values and b-vectors.

    Parameters
    ----------
    root : path-like
    row : dict
        Of the worklist, with ``bval`` and ``bvec``.
    count : int
        Volumes of the series.

    Returns
    -------
    list of str
    """
    from bids_sexclf.diffusion import fit_tensor

    missing = [kind for kind in ("bval", "bvec") if not row[kind]]
    if missing:
        return [f"has no {' and no '.join(missing)} file"]
    try:
        bvals = np.loadtxt(Path(root, row["bval"]), ndmin=1).ravel()
        bvecs = np.loadtxt(Path(root, row["bvec"]), ndmin=2)
    except (OSError, ValueError) as fault:
        return [f"has b-values or b-vectors that cannot be read ({fault})"]
    bvecs = bvecs.T if bvecs.shape[0] == 3 and bvecs.shape[1] != 3 else bvecs
    faults = []
    if bvals.size != count:
        faults.append(f"has {bvals.size} b-values for {count} volumes")
    if bvecs.shape != (count, 3):
        faults.append(
            f"has {len(bvecs)} b-vectors of {bvecs.shape[-1]} numbers for {count} volumes"
        )
    if faults:
        return faults
    if not (bvals <= 50).any():
        faults.append(f"has no b=0 volume (lowest b-value {bvals.min():g}), needed one at most 50")
    weighted = bvals > 50
    length = np.linalg.norm(bvecs[weighted], axis=1)
    wrong = int((~(np.abs(length - 1) < 0.05)).sum())
    if wrong:
        faults.append(f"has {wrong} b-vectors that are not of unit length")
    if not faults:
        try:  # a fit of one voxel meets every demand on the gradients, and no other rule can drift
            fit_tensor(np.ones((1, 1, 1, count)), bvals, np.nan_to_num(bvecs))
        except InputError as fault:
            faults.append(f"cannot determine a tensor: {fault}")
    return faults


def plan_distortion(dataset, row, asked):
    """Choose how the distortion of one participant-session's series will be corrected.

    Parameters
    ----------
    dataset : bids.BIDSLayout
    row : dict
        Of the worklist.
    asked : str
        `settings.Preparation.distortion`.

    Returns
    -------
    fieldmaps.Correction or None
        None without a series.

    Raises
    ------
    InputError
        If what the method needs is absent.
    """
    if not row["dwi"]:
        return None
    found = find_fieldmaps(dataset, row) if asked != "none" else {}
    return choose(asked, found, t1w=bool(row["t1w"]), topup=bool(shutil.which("topup")))


def _told(chosen):
    """Say in a note how distortion will be corrected, and why."""
    if chosen is None:
        return None
    if chosen.method == "none":
        return f"distortion stays: {chosen.why}"
    return f"distortion corrected by {chosen.method}: {chosen.why}"


def _missing_fields(dataset, row):
    """Say which sidecar fields a series lacks."""
    if not row["dwi"]:
        return None
    held = read_metadata(dataset, row["dwi"])
    missing = [field for field in DWI_FIELDS if field not in held]
    name = Path(row["dwi"]).name
    return f"{name} lacks {' and '.join(missing)}" if missing else None


def _copies(rows, prints):
    """Find scans that lie under two ids: neither can be trusted."""
    held = {}
    for index, own in enumerate(prints):
        for kind, digest in own.items():
            if digest:
                held.setdefault((kind, digest), []).append(index)
    for (kind, _), members in held.items():
        people = {rows[index]["participant_id"] for index in members}
        if len(people) < 2:
            continue
        for index in members:
            others = sorted(people - {rows[index]["participant_id"]})
            yield (
                index,
                (
                    f"{Path(rows[index][kind]).name} holds the same values as the scan of "
                    f"{', '.join(others)}, needed one scan per participant"
                ),
            )
