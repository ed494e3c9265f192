"""Check every scan of every participant before any computation, and list all faults at once."""

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
    """Split a worklist into participant-sessions that can run and those that cannot.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    worklist : pandas.DataFrame
        As `layout.find_scans` returns it.
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
        Rows without a fault; ``note`` lists harmless deficits. A fault of diffusion data does not
        exclude a sound T1w: the row then has no diffusion data.
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
    listed_people = set(people["participant_id"])
    all_faults = []
    for row, findings, (planned, fault) in zip(rows, checked, plans, strict=True):
        person = row["participant_id"]
        row_faults = findings.faults + faults.get(person, [])
        if labelled and person not in listed_people:
            row_faults.append(NO_ROW)
        diffusion = findings.diffusion + ([fault] if fault else [])
        notes = [row["note"], *missing_fields(planned, row), tell_series(planned), *findings.notes]
        notes += bad_sidecar_notes(dataset, row)
        if not row["t1w"] and (row["dwi"] or row["maps"]):
            notes.append("no T1w in any session")
        if diffusion and row["t1w"] and not row_faults:
            notes.append(leave_out_diffusion(row, diffusion))
        else:
            row_faults += diffusion
        all_faults.append(row_faults)
        row["note"] = "; ".join(filter(None, notes)) or None
    for first, reason in _copies(rows, [findings.prints for findings in checked]):
        all_faults[first].append(reason)
    columns = ["participant_id", "session_id", "stage", "reason"]
    excluded = [
        [row["participant_id"], row["session_id"], "preflight", "; ".join(row_faults)]
        for row, row_faults in zip(rows, all_faults, strict=True)
        if row_faults
    ]
    ready = [row for row, row_faults in zip(rows, all_faults, strict=True) if not row_faults]
    return (
        pd.DataFrame(ready, columns=worklist.columns, dtype=object),
        pd.DataFrame(excluded, columns=columns, dtype=object),
    )


@dataclass
class Findings:
    """Result of reading the files of one participant-session.

    Attributes
    ----------
    faults, diffusion : list of str
        Faults; faults that concern only the diffusion series or maps.
    notes : list of str
        Observations that exclude nothing.
    prints : dict of str to str
        Path of each scan, as the worklist spells it, to the digest of its values.
    """

    faults: list = field(default_factory=list)
    diffusion: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    prints: dict = field(default_factory=dict)


def check_scans(root, row, folders=None, preparation=None, fieldmaps=()):
    """List the faults of the scans and of the prepared files of one participant-session.

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
    preparation, findings = preparation or Preparation(), Findings()
    record = take_over(row, places, preparation.template)
    if not (record.t1w or record.dwi or record.maps):
        detail = f" ({row['note']})" if row.get("note") else ""
        findings.faults.append(
            f"no T1w and no diffusion series with a valid BIDS name, needed one of them{detail}"
        )
        return findings
    shapes = {}
    for kind, ndim in (("t1w", 3), ("dwi", 4), ("maps", 3)):
        faults = findings.faults if kind == "t1w" else findings.diffusion
        for uri in paths(row.get(kind)):
            path = locate(uri, places)
            image = inspect(path)
            image_faults = [*image.faults, *_shape_faults(image.shape, ndim, kind)]
            findings.notes += orientation_notes(path)
            image_faults += twin_faults(path, image)
            faults += [f"{path.name} {fault}" for fault in image_faults]
            findings.prints[uri], shapes[uri] = image.fingerprint, image.shape
    for kind in ("dwi", "maps"):
        findings.diffusion += _grid_faults([locate(uri, places) for uri in paths(row.get(kind))])
    runs = [shapes[uri] for uri in paths(row.get("dwi"))]
    if runs and all(len(shape) == 4 for shape in runs):
        counts = [shape[3] for shape in runs]
        faults, notes = check_gradient_files(record, counts, preparation.b0_threshold)
        findings.diffusion += [f"{record.dwi[0].name} {fault}" for fault in faults]
        findings.notes += [f"{record.dwi[0].name} {note}" for note in notes]
    findings.faults += _mask_faults(record.t1w_mask, record.t1w)
    findings.diffusion += _mask_faults(record.dwi_mask, record.dwi)
    for path in (record.t1w_to_template, record.template_to_t1w):
        findings.faults += _transform_faults(path)
    findings.diffusion += (
        _motion_faults(record) + _space_faults(record) + fieldmap_faults(fieldmaps)
    )
    return findings


def _shape_faults(shape, ndim, kind):
    """List the faults of an image's shape, given its kind."""
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
    """List the images whose grid differs from that of the first one."""
    if len(files) < 2:
        return []
    grids = [_grid(path) for path in files]
    return [
        f"{path.name} lies on another grid than {files[0].name}, needed one; choose one by "
        "--bids-filter-file, or take --dwi-runs first"
        for path, grid in zip(files[1:], grids[1:], strict=True)
        if grid and grids[0] and not same_grid(grid, grids[0])
    ]


def _grid(path):
    """Return shape and affine, or None where the image cannot be read (reported elsewhere)."""
    import nibabel as nib

    try:
        image = nib.load(path)
    except Exception:  # nibabel raises many kinds on a damaged header
        return None
    return tuple(image.shape[:3]), image.affine


def _mask_faults(mask, scans):
    """List the faults of a mask of another tool; its grid must be that of the first scan."""
    if mask is None:
        return []
    inspection = inspect(mask)
    if inspection.faults:
        return [f"{mask.name} {fault}" for fault in inspection.faults]
    values, affine = load(mask)
    if values.ndim != 3:
        return [f"{mask.name} has shape {values.shape}, needed 3 dimensions"]
    volume = volume_ml(values > 0, affine)
    if volume < LEAST_BRAIN_ML:
        return [
            f"{mask.name} holds {volume:.0f} mL, needed a brain of at least {LEAST_BRAIN_ML} mL"
        ]
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
    """Check that a transform is a complete HDF5 file; its header holds the expected size."""
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
    """List the faults of a motion file of another tool."""
    if record.dwi_motion is None:
        return []
    try:
        moved, _ = read_motion(record.dwi_motion)
    except (InputError, OSError, ValueError) as fault:
        return [f"{record.dwi_motion.name} cannot be read ({fault})"]
    return [] if np.isfinite(moved).all() else [f"{record.dwi_motion.name} holds no numbers"]


def _space_faults(record):
    """List the reasons why maps cannot be brought onto the template."""
    if record.maps_space == "T1w" and not record.aligned:
        first = next(iter(record.maps.values()))
        return [
            f"{first.name} lies in the space of a T1w that is not at hand; needed it, by "
            "--derivatives qsiprep=PATH beside qsirecon=PATH, or maps in the template's space"
        ]
    return []


def _copies(rows, prints):
    """Yield scans that two participants share: neither can be trusted."""
    places = {}
    for index, digests in enumerate(prints):
        for uri, digest in digests.items():
            if digest:
                places.setdefault(digest, []).append((index, uri))
    for members in places.values():
        people = {rows[index]["participant_id"] for index, _ in members}
        if len(people) < 2:
            continue
        for index, uri in members:
            other_people = sorted(people - {rows[index]["participant_id"]})
            yield (
                index,
                (
                    f"{Path(uri).name} holds the same values as the scan of "
                    f"{', '.join(other_people)}, needed one scan per participant"
                ),
            )
