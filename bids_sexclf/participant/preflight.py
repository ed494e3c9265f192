"""Check every scan of every participant before any computing, and list every fault at once."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bids_sexclf.anatomy.brain import LEAST_BRAIN_ML, volume_ml
from bids_sexclf.derivatives.foreign import read_motion
from bids_sexclf.derivatives.prepared import locate, take_over
from bids_sexclf.errors import InputError
from bids_sexclf.execute import pool
from bids_sexclf.layout import paths
from bids_sexclf.participant.series import images_of, tell_series
from bids_sexclf.participant.series_checks import (
    bad_sidecar_notes,
    check_gradient_files,
    fieldmap_faults,
    leave_out_diffusion,
    missing_fields,
    orientation_notes,
    plan_or_fault,
    twin_faults,
)
from bids_sexclf.people import NO_ROW, read_participants
from bids_sexclf.settings import Preparation
from bids_sexclf.volumes import inspect, load, same_grid, turn_axes


def check_dataset(
    dataset, worklist, processes=1, advance=None, labelled=True, folders=None, preparation=None
):
    """Split a worklist into what can run and what cannot.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    worklist : pandas.DataFrame
        As `layout.find_scans` gives it.
    processes : int
        Files are read by this many processes.
    advance : callable, optional
        Called after each participant-session.
    labelled : bool
        Leave out participants whose sex or age is unknown.
    folders : dict of str to path-like, optional
        What others have prepared.
    preparation : settings.Preparation, optional
        A diffusion series that lacks what a method named there needs is left out.

    Returns
    -------
    ready : pandas.DataFrame
        Rows without a fault; ``note`` tells what they lack without being left out for it. What is
        wrong with diffusion data does not cost a sound T1w: the row then has no diffusion data.
    excluded : pandas.DataFrame
        participant_id, session_id, stage, reason: one row per participant-session left out, with
        all its faults.
    """
    import pandas as pd

    root = Path(dataset.root)
    preparation = preparation or Preparation()
    people, faults = read_participants(root, labelled, preparation)
    rows = worklist.to_dict("records")
    plans = [plan_or_fault(dataset, row, preparation) for row in rows]
    with pool(processes) as executor:
        futures = [
            executor.submit(check_scans, root, row, folders, preparation, images_of(planned))
            for row, (planned, _) in zip(rows, plans, strict=True)
        ]
        checked = []
        for future in futures:
            checked.append(future.result())
            if advance:
                advance()
    known = set(people["participant_id"])
    found = []
    for row, seen, (planned, fault) in zip(rows, checked, plans, strict=True):
        person = row["participant_id"]
        own = seen.faults + faults.get(person, [])
        if labelled and person not in known:
            own.append(NO_ROW)
        diffusion = seen.diffusion + ([fault] if fault else [])
        notes = [row["note"], *missing_fields(planned, row), tell_series(planned), *seen.notes]
        notes += bad_sidecar_notes(dataset, row)
        if not row["t1w"] and (row["dwi"] or row["maps"]):
            notes.append("no T1w in any session")
        if diffusion and row["t1w"] and not own:
            notes.append(leave_out_diffusion(row, diffusion))
        else:
            own += diffusion
        found.append(own)
        row["note"] = "; ".join(filter(None, notes)) or None
    for first, reason in _copies(rows, [seen.prints for seen in checked]):
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


@dataclass
class Findings:
    """What reading one participant-session's files has shown.

    Attributes
    ----------
    faults, diffusion : list of str
        What is wrong; what is wrong with the diffusion series or maps only.
    notes : list of str
        What was seen, and leaves nothing out.
    prints : dict of str to str
        Path of each scan, as the worklist spells it, to the digest of its values.
    """

    faults: list = field(default_factory=list)
    diffusion: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    prints: dict = field(default_factory=dict)


def check_scans(root, row, folders=None, preparation=None, fieldmaps=()):
    """List the faults of one participant-session's scans, and of what others have prepared.

    Parameters
    ----------
    root : path-like
        Of the dataset.
    row : dict
        Of the worklist.
    folders : dict of str to path-like, optional
        What others have prepared.
    preparation : settings.Preparation, optional
    fieldmaps : iterable of path-like
        Images by which distortion will be corrected.

    Returns
    -------
    Findings
    """
    places = {"raw": root} | (folders or {})
    preparation, seen = preparation or Preparation(), Findings()
    record = take_over(row, places, preparation.template)
    if not (record.t1w or record.dwi or record.maps):
        why = f" ({row['note']})" if row.get("note") else ""
        seen.faults.append(
            f"no T1w and no diffusion series with a valid BIDS name, needed one of them{why}"
        )
        return seen
    shapes = {}
    for kind, ndim in (("t1w", 3), ("dwi", 4), ("maps", 3)):
        faults = seen.faults if kind == "t1w" else seen.diffusion
        for uri in paths(row.get(kind)):
            path = locate(uri, places)
            image = inspect(path)
            own = [*image.faults, *_shape_faults(image.shape, ndim, kind)]
            seen.notes += orientation_notes(path)
            own += twin_faults(path, image)
            faults += [f"{path.name} {fault}" for fault in own]
            seen.prints[uri], shapes[uri] = image.fingerprint, image.shape
    for kind in ("dwi", "maps"):
        seen.diffusion += _grid_faults([locate(uri, places) for uri in paths(row.get(kind))])
    runs = [shapes[uri] for uri in paths(row.get("dwi"))]
    if runs and all(len(shape) == 4 for shape in runs):
        counts = [shape[3] for shape in runs]
        faults, notes = check_gradient_files(record, counts, preparation.b0_threshold)
        seen.diffusion += [f"{record.dwi[0].name} {fault}" for fault in faults]
        seen.notes += [f"{record.dwi[0].name} {note}" for note in notes]
    seen.faults += _mask_faults(record.t1w_mask, record.t1w)
    seen.diffusion += _mask_faults(record.dwi_mask, record.dwi)
    for path in (record.t1w_to_template, record.template_to_t1w):
        seen.faults += _transform_faults(path)
    seen.diffusion += _motion_faults(record) + _space_faults(record) + fieldmap_faults(fieldmaps)
    return seen


def _shape_faults(shape, ndim, kind):
    """Say whether an image has the dimensions of its kind."""
    count = int(np.prod(shape[3:], dtype=object))
    if kind == "t1w" and len(shape) > 3 and count > 1:
        return [f"holds {count} volumes, needed one; split it (fslsplit, mri_convert --frame) and "
                "keep the T1w"]  # fmt: skip
    size = len([n for n in shape if n > 1]) if kind == "t1w" else len(shape)
    if shape and size != ndim:
        return [f"has shape {shape}, needed {ndim} dimensions"]
    if shape and min(shape[:3]) < 8:
        return [f"has shape {shape}, needed at least 8 voxels along each axis"]
    return []


def _grid_faults(files):
    """Say which images do not lie on the first one's grid."""
    if len(files) < 2:
        return []
    grids = [_grid(path) for path in files]
    return [
        f"{path.name} lies on another grid than {files[0].name}, needed one; choose one by "
        "--bids-filter-file, or take --dwi-runs first"
        for path, own in zip(files[1:], grids[1:], strict=True)
        if own and grids[0] and not same_grid(own, grids[0])
    ]


def _grid(path):
    """Give shape and affine, or nothing where the image cannot be read (told elsewhere)."""
    import nibabel as nib

    try:
        image = nib.load(path)
    except Exception:  # nibabel raises many kinds on a damaged header
        return None
    return tuple(image.shape[:3]), image.affine


def _mask_faults(mask, scans):
    """List the faults of a mask that others have made, on the first of its scans."""
    if mask is None:
        return []
    seen = inspect(mask)
    if seen.faults:
        return [f"{mask.name} {fault}" for fault in seen.faults]
    values, affine = load(mask)
    if values.ndim != 3:
        return [f"{mask.name} has shape {values.shape}, needed 3 dimensions"]
    held = volume_ml(values > 0, affine)
    if held < LEAST_BRAIN_ML:
        return [f"{mask.name} holds {held:.0f} mL, needed a brain of at least {LEAST_BRAIN_ML} mL"]
    grid = _grid(scans[0]) if scans else None
    if grid:
        values, affine = turn_axes(values, affine, grid[1])
    if grid and not same_grid((values.shape, affine), grid, voxels=0.5):
        return [
            f"{mask.name} of shape {values.shape} does not lie on the grid of {scans[0].name} "
            f"({grid[0]}), needed the mask of that scan"
        ]
    return []


def _transform_faults(path):
    """Say whether a transform is a whole HDF5 file: its head tells where it must end."""
    if path is None:
        return []
    try:
        with open(path, "rb") as stream:
            head = stream.read(64)
    except OSError as fault:
        return [f"{path.name} cannot be read ({fault})"]
    if head[:8] != b"\x89HDF\r\n\x1a\n":
        return [f"{path.name} is no HDF5 file, needed a transform as ITK writes it"]
    # Where the address of the end stands depends on the version of the superblock.
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(head[8])
    end = int.from_bytes(head[place : place + 8], "little") if place else 0
    if path.stat().st_size < end:
        return [f"{path.name} is truncated: it ends after {path.stat().st_size} of {end} bytes"]
    return []


def _motion_faults(record):
    """Say whether the motion that another tool found can be read."""
    if record.dwi_motion is None:
        return []
    try:
        moved, _ = read_motion(record.dwi_motion)
    except (InputError, OSError, ValueError) as fault:
        return [f"{record.dwi_motion.name} cannot be read ({fault})"]
    return [] if np.isfinite(moved).all() else [f"{record.dwi_motion.name} holds no numbers"]


def _space_faults(record):
    """Say whether maps can be brought to the template."""
    if record.maps_space == "T1w" and not record.aligned:
        first = next(iter(record.maps.values()))
        return [
            f"{first.name} lies in the space of a T1w that is not at hand; needed it, by "
            "--derivatives qsiprep=PATH beside qsirecon=PATH, or maps in the template's space"
        ]
    return []


def _copies(rows, prints):
    """Find scans that lie under two ids: neither can be trusted."""
    held = {}
    for index, own in enumerate(prints):
        for uri, digest in own.items():
            if digest:
                held.setdefault(digest, []).append((index, uri))
    for members in held.values():
        people = {rows[index]["participant_id"] for index, _ in members}
        if len(people) < 2:
            continue
        for index, uri in members:
            others = sorted(people - {rows[index]["participant_id"]})
            yield (
                index,
                (
                    f"{Path(uri).name} holds the same values as the scan of "
                    f"{', '.join(others)}, needed one scan per participant"
                ),
            )
