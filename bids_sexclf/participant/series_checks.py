"""Check what belongs to a diffusion series: gradients, sidecars, field maps, copies of its file."""

from pathlib import Path

import numpy as np

from bids_sexclf.derivatives.prepared import source_of
from bids_sexclf.diffusion.scheme import find_traces, read_gradients, scheme_faults
from bids_sexclf.errors import REFUSALS
from bids_sexclf.layout import paths
from bids_sexclf.layout.dataset import bad_sidecars_of
from bids_sexclf.participant.series import plan_series
from bids_sexclf.texts import count_noun
from bids_sexclf.volumes import inspect, knows_sides, measure_shear
from bids_sexclf.volumes.orientation import MOST_SHEAR_MM

DWI_FIELDS = ("PhaseEncodingDirection", "TotalReadoutTime")
"""What distortion correction will ask of a series; its absence is noted, and leaves nobody out."""

DIFFUSION = ("dwi", "bval", "bvec", "dwi_mask", "dwi_motion", "maps")
"""Columns of the worklist that hold diffusion data."""

WITHOUT = "prepared without its diffusion data"
"""How the note of who loses only the diffusion data begins; it is the last part of all notes."""

UNPLANNED = {"parts": [], "series_notes": []}


def plan_or_fault(dataset, row, preparation):
    """Plan a participant-session's diffusion series; no fault of it stops another's plan.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    row : dict
        Of the worklist.
    preparation : settings.Preparation

    Returns
    -------
    planned : dict
        As `plan_series` gives it.
    fault : str or None
        Why there is no plan.
    """
    try:
        return plan_series(dataset, row, preparation), None
    except REFUSALS as fault:
        return UNPLANNED, str(fault)
    except Exception as fault:  # a sidecar may hold anything
        name = Path(paths(row["dwi"])[0]).name
        return UNPLANNED, f"{name} has a sidecar that cannot be used ({fault!r})"


def missing_fields(planned, row):
    """Say which sidecar fields a raw series lacks.

    Parameters
    ----------
    planned : dict
        As `plan_series` gives it.
    row : dict
        Of the worklist.

    Returns
    -------
    list of str
    """
    lacking = []
    for part in planned["parts"]:
        missing = [field for field in DWI_FIELDS if part.metadata.get(field) is None]
        name = Path(paths(row["dwi"])[part.files[0]]).name
        lacking += [f"{name} lacks {' and '.join(missing)}"] if missing else []
    return lacking


def bad_sidecar_notes(dataset, row):
    """Tell the sidecars of a raw T1w that cannot be read; none of their values is needed."""
    scans = [path for path in paths(row["t1w"]) if source_of(path) == "raw"]
    bad = {}
    for path in scans:
        bad |= bad_sidecars_of(dataset, path)
    return [f"{name} {reason}, and is not needed" for name, reason in bad.items()]


def leave_out_diffusion(row, faults):
    """Take the diffusion data out of a row of the worklist.

    Parameters
    ----------
    row : dict
        Of the worklist; changed.
    faults : list of str
        Why.

    Returns
    -------
    str
        A note.
    """
    row |= dict.fromkeys(DIFFUSION)
    return f"{WITHOUT}: {'; '.join(faults)}"


def twin_faults(path, image):
    """Say whether a ``.nii`` beside a ``.nii.gz`` of the same name holds other voxels.

    Parameters
    ----------
    path : pathlib.Path
        Of the one that was taken.
    image : volumes.Inspection
        Of it.

    Returns
    -------
    list of str
    """
    other = path.with_name(path.name.removesuffix(".gz"))
    if other == path or not other.exists() or inspect(other).fingerprint == image.fingerprint:
        return []
    return [f"lies beside {other.name}, which holds other voxels; needed one scan. Remove one"]


def orientation_notes(path):
    """Say what a header leaves open about a scan's orientation.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    list of str
    """
    import nibabel as nib

    path, notes = Path(path), []
    if not knows_sides(path):
        notes.append(
            f"{path.name} tells no orientation (qform and sform codes are 0): its left and right "
            "are unknown"
        )
    try:
        image = nib.load(path)
        shear = measure_shear(image.shape, image.affine)
    except Exception:  # nibabel raises many kinds on a damaged header; told elsewhere
        return notes
    if MOST_SHEAR_MM < shear < float("inf"):
        notes.append(f"{path.name} has sheared axes ({shear:.1f} mm at a corner), resampled")
    return notes


def fieldmap_faults(images):
    """Say what is wrong with the images by which distortion will be corrected.

    Parameters
    ----------
    images : iterable of path-like

    Returns
    -------
    list of str
    """
    faults = []
    for path in map(Path, images):
        own = inspect(path).faults
        faults += [f"{path.name} {fault}, needed for --distortion" for fault in own]
    return faults


def check_gradient_files(record, counts, b0_threshold):
    """List the faults of a series' b-values and b-vectors.

    Parameters
    ----------
    record : prepared.Record
        With ``bval`` and ``bvec``, one for each run.
    counts : list of int
        Volumes of each run.
    b0_threshold : float
        s/mm².

    Returns
    -------
    faults, notes : list of str
        Each follows the name of the series.
    """
    missing = [kind for kind in ("bval", "bvec") if len(getattr(record, kind)) < len(counts)]
    if missing:
        return [f"has no {' and no '.join(missing)} file"], []
    parts, faults = [], []
    for bval, bvec, count in zip(record.bval, record.bvec, counts, strict=True):
        try:
            bvals, bvecs = read_gradients(bval, bvec)
        except REFUSALS as fault:
            return [f"has b-values or b-vectors that cannot be read: {fault}"], []
        if bvals.size != count:
            faults.append(f"has {bvals.size} b-values for {count} volumes")
        if len(bvecs) != count:
            faults.append(f"has {len(bvecs)} b-vectors for {count} volumes")
        parts.append((bvals, bvecs))
    if faults:
        return faults, []
    bvals, bvecs = map(np.concatenate, zip(*parts, strict=True))
    traces = find_traces(bvals, bvecs, b0_threshold)
    if traces.any() and record.dwi_done:  # what others have prepared is taken as it is
        traces[:] = False
    dropped = f"holds {count_noun(traces.sum(), 'trace volume')} (weighted, no direction), left out"
    notes = [dropped] if traces.any() else []
    return scheme_faults(bvals[~traces], bvecs[~traces], b0_threshold), notes
