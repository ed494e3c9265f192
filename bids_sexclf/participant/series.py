"""What is planned for a raw diffusion series before any computing: its sidecar, its distortion."""

import shutil

from bids_sexclf.distortion.fieldmaps import choose
from bids_sexclf.errors import REFUSALS, InputError
from bids_sexclf.given.prepared import source_of
from bids_sexclf.layout import find_fieldmaps, paths, read_metadata
from bids_sexclf.layout.sidecars import OF_SERIES, check_sidecar


def plan_series(dataset, row, preparation):
    """Read the sidecar of a series, and choose how its distortion will be corrected.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    row : dict
        Of the worklist. Of several runs the first one speaks for all.
    preparation : settings.Preparation

    Returns
    -------
    dict
        ``metadata``: the sidecar; ``distortion``: a `fieldmaps.Correction`, None where nothing
        is to be corrected; ``series_notes``: list of str.

    Raises
    ------
    InputError
        If what a method named by the user needs is absent, or a sidecar cannot be used.
    """
    try:
        return _plan_series(dataset, row, preparation)
    except REFUSALS:
        raise
    except Exception as fault:  # a sidecar may hold anything
        raise InputError(
            f"Found sidecars or field maps of {row['dwi']} that cannot be used "
            f"({type(fault).__name__}: {' '.join(str(fault).split())[:200]}); needed JSON with "
            "values as BIDS describes them. Correct them, or leave the series out by "
            "--bids-filter-file."
        ) from fault


def _plan_series(dataset, row, preparation):
    """Plan one series, where its sidecar can be used."""
    from bids_sexclf.interfaces.eddy import encoding_row
    from bids_sexclf.participant.dwi import uses_eddy

    series = paths(row["dwi"])
    if not series or source_of(series[0]) != "raw":
        return {"metadata": {}, "distortion": None, "series_notes": []}
    metadata, asked = read_metadata(dataset, series[0]), preparation.distortion
    check_sidecar(series[0], metadata, OF_SERIES)
    if uses_eddy(preparation):
        encoding_row(metadata)  # refuses a sidecar that cannot tell it
    if asked == "none":
        return {"metadata": metadata, "distortion": None, "series_notes": []}
    found = find_fieldmaps(dataset, row | {"dwi": series[0]})
    tools = {"t1w": bool(row["t1w"]), "topup": bool(shutil.which("topup"))}
    chosen = choose(asked, found, **tools)
    return {"metadata": metadata, "distortion": chosen, "series_notes": found["notes"]}


def tell_series(planned):
    """Say in a note how distortion will be corrected, and why.

    Parameters
    ----------
    planned : dict
        As `plan_series` gives it.

    Returns
    -------
    str or None
    """
    chosen, notes = planned["distortion"], list(planned["series_notes"])
    if chosen is not None and chosen.method == "none":
        notes.append(f"distortion stays: {chosen.why}")
    elif chosen is not None:
        notes.append(f"distortion corrected by {chosen.method}: {chosen.why}")
    return "; ".join(notes) or None


def images_of(planned):
    """List the images that a correction of distortion reads.

    Parameters
    ----------
    planned : dict
        As `plan_series` gives it.

    Returns
    -------
    list of str
        Paths.
    """
    chosen = planned["distortion"]
    inputs = (chosen.inputs if chosen is not None else None) or {}
    entries = [inputs.get("path"), *(inputs.get("phase") or []), inputs.get("magnitude")]
    return [path for path in entries if path]
