"""Check every scan of every participant before any computing, and list every fault at once."""

from pathlib import Path

import numpy as np

from bids_sexclf.anatomy.brain import LEAST_BRAIN_ML, volume_ml
from bids_sexclf.errors import InputError
from bids_sexclf.execute import pool
from bids_sexclf.given.foreign import read_motion
from bids_sexclf.given.prepared import locate, source_of, take_over
from bids_sexclf.layout import paths, read_metadata
from bids_sexclf.participant.series import plan_series, tell_series
from bids_sexclf.people import read_participants
from bids_sexclf.settings import Preparation
from bids_sexclf.volumes import inspect, load, same_grid, turn_axes

DWI_FIELDS = ("PhaseEncodingDirection", "TotalReadoutTime")
"""What distortion correction will ask of a series; its absence is noted, and leaves nobody out."""


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
        A participant-session that lacks what a method named there needs is left out.

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
    preparation = preparation or Preparation()
    template = preparation.template
    rows = worklist.to_dict("records")
    with pool(processes) as executor:
        futures = [executor.submit(check_scans, root, row, folders, template) for row in rows]
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
            notes.append(tell_series(plan_series(dataset, row, preparation)))
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


def check_scans(root, row, folders=None, template=None):
    """List the faults of one participant-session's scans, and of what others have prepared.

    Parameters
    ----------
    root : path-like
        Of the dataset.
    row : dict
        Of the worklist.
    folders : dict of str to path-like, optional
        What others have prepared.
    template : str, optional
        Name of the template space.

    Returns
    -------
    faults : list of str
    fingerprints : dict of str to str
        Path of each scan, as the worklist spells it, to the digest of its values.
    """
    places = {"raw": root} | (folders or {})
    record = take_over(row, places, template)
    if not (record.t1w or record.dwi or record.maps):
        return ["no T1w and no diffusion series, needed one of them"], {}
    faults, prints, seen = [], {}, {}
    for kind, ndim in (("t1w", 3), ("dwi", 4), ("maps", 3)):
        for uri in paths(row.get(kind)):
            path = locate(uri, places)
            seen[uri] = inspect(path)
            own = [*seen[uri].faults, *_shape_faults(seen[uri].shape, ndim, kind)]
            faults += [f"{path.name} {fault}" for fault in own]
            prints[uri] = seen[uri].fingerprint
    for kind in ("dwi", "maps"):
        faults += _grid_faults([locate(uri, places) for uri in paths(row.get(kind))])
    shapes = [seen[uri].shape for uri in paths(row.get("dwi"))]
    if shapes and all(len(shape) == 4 for shape in shapes):
        name = record.dwi[0].name
        counts = [shape[3] for shape in shapes]
        faults += [f"{name} {fault}" for fault in check_gradient_files(record, counts)]
    for kind in ("t1w", "dwi"):
        faults += _mask_faults(getattr(record, f"{kind}_mask"), getattr(record, kind))
    for path in (record.t1w_to_template, record.template_to_t1w):
        faults += _transform_faults(path)
    return faults + _motion_faults(record) + _space_faults(record), prints


def _shape_faults(shape, ndim, kind):
    """Say whether an image has the dimensions of its kind."""
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


def check_gradient_files(record, counts):
    """List the faults of a series' b-values and b-vectors.

    Parameters
    ----------
    record : prepared.Record
        With ``bval`` and ``bvec``, one for each run.
    counts : list of int
        Volumes of each run.

    Returns
    -------
    list of str
    """
    missing = [kind for kind in ("bval", "bvec") if len(getattr(record, kind)) < len(counts)]
    if missing:
        return [f"has no {' and no '.join(missing)} file"]
    parts, faults = [], []
    for bval, bvec, count in zip(record.bval, record.bvec, counts, strict=True):
        try:
            bvals = np.loadtxt(bval, ndmin=1).ravel()
            bvecs = np.loadtxt(bvec, ndmin=2)
        except (OSError, ValueError) as fault:
            return [f"has b-values or b-vectors that cannot be read ({fault})"]
        bvecs = bvecs.T if bvecs.shape[0] == 3 and bvecs.shape[1] != 3 else bvecs
        if bvals.size != count:
            faults.append(f"has {bvals.size} b-values for {count} volumes")
        if bvecs.shape != (count, 3):
            faults.append(
                f"has {len(bvecs)} b-vectors of {bvecs.shape[-1]} numbers for {count} volumes"
            )
        parts.append((bvals, bvecs))
    return faults or _gradient_faults(*map(np.concatenate, zip(*parts, strict=True)))


def _gradient_faults(bvals, bvecs):
    """List the faults of the gradients of all runs together."""
    from bids_sexclf.diffusion import fit_tensor

    faults = []
    if not (bvals <= 50).any():
        faults.append(f"has no b=0 volume (lowest b-value {bvals.min():g}), needed one at most 50")
    weighted = bvals > 50
    length = np.linalg.norm(bvecs[weighted], axis=1)
    wrong = int((~(np.abs(length - 1) < 0.05)).sum())
    if wrong:
        faults.append(f"has {wrong} b-vectors that are not of unit length")
    if not faults:
        try:  # a fit of one voxel meets every demand on the gradients, and no other rule can drift
            fit_tensor(np.ones((1, 1, 1, len(bvals))), bvals, np.nan_to_num(bvecs))
        except InputError as fault:
            faults.append(f"cannot determine a tensor: {fault}")
    return faults


def _missing_fields(dataset, row):
    """Say which sidecar fields a raw series lacks."""
    series = paths(row["dwi"])
    if not series or source_of(series[0]) != "raw":
        return None
    held = read_metadata(dataset, series[0])
    missing = [field for field in DWI_FIELDS if field not in held]
    name = Path(series[0]).name
    return f"{name} lacks {' and '.join(missing)}" if missing else None


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
