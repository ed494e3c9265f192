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
"""Sidecar fields that the correction of distortion needs; missing ones are noted only."""

DIFFUSION = ("dwi", "bval", "bvec", "dwi_mask", "dwi_motion", "maps")
"""Columns of the worklist that hold diffusion data."""

WITHOUT = "prepared without its diffusion data"
"""Start of the note of a session that loses only its diffusion data; the last part of a note."""

UNPLANNED: dict = {"parts": [], "series_notes": []}


def plan_or_fault(dataset, row, preparation):
    """Plan the diffusion series of a participant-session; return a fault instead of raising.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    row : dict
        Of the worklist.
    preparation : settings.Preparation

    Returns
    -------
    planned : dict
        As `plan_series` returns it.
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
    """List the sidecar fields that a raw series lacks.

    Parameters
    ----------
    planned : dict
        As `plan_series` returns it.
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
    """List unreadable sidecars of a raw T1w; none of their values is needed."""
    scans = [path for path in paths(row["t1w"]) if source_of(path) == "raw"]
    bad = {}
    for path in scans:
        bad |= bad_sidecars_of(dataset, path)
    return [f"{name} {reason}, and is not needed" for name, reason in bad.items()]


def leave_out_diffusion(row, faults):
    """Remove the diffusion data from a row of the worklist.

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
    """List a ``.nii`` that lies beside a ``.nii.gz`` of the same name and holds other voxels.

    Parameters
    ----------
    path : pathlib.Path
        The file that is used.
    image : volumes.Inspection
        Inspection of that file.

    Returns
    -------
    list of str
    """
    twin = path.with_name(path.name.removesuffix(".gz"))
    if twin == path or not twin.exists() or inspect(twin).fingerprint == image.fingerprint:
        return []
    return [f"lies beside {twin.name}, which holds other voxels; needed one scan. Remove one"]


def orientation_notes(path):
    """List what the header of a scan does not determine about its orientation.

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
    """List the faults of the images that the correction of distortion reads.

    Parameters
    ----------
    images : iterable of path-like

    Returns
    -------
    list of str
    """
    faults = []
    for path in map(Path, images):
        faults_of_image = inspect(path).faults
        faults += [f"{path.name} {fault}, needed for --distortion" for fault in faults_of_image]
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
        Texts to be written after the name of the series.
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
