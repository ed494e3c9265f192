"""What is planned for a raw diffusion series before any computing: its sidecar, its distortion."""

import shutil

from bids_sexclf.distortion.fieldmaps import choose
from bids_sexclf.errors import REFUSALS, InputError
from bids_sexclf.given.prepared import source_of
from bids_sexclf.layout import find_fieldmaps, paths, read_metadata


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
        ``metadata``: the sidecar; ``distortion``: a `fieldmaps.Correction`. None where
        nothing is to be corrected.

    Raises
    ------
    InputError
        If what a method named by the user needs is absent, or a sidecar holds what cannot be used.
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
        return {"metadata": {}, "distortion": None}
    metadata, asked = read_metadata(dataset, series[0]), preparation.distortion
    if uses_eddy(preparation):
        encoding_row(metadata)  # refuses a sidecar that cannot tell it
    if asked == "none":
        return {"metadata": metadata, "distortion": None}
    found = find_fieldmaps(dataset, row | {"dwi": series[0]})
    tools = {"t1w": bool(row["t1w"]), "topup": bool(shutil.which("topup"))}
    return {"metadata": metadata, "distortion": choose(asked, found, **tools)}


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
    chosen = planned["distortion"]
    if chosen is None:
        return None
    if chosen.method == "none":
        return f"distortion stays: {chosen.why}"
    return f"distortion corrected by {chosen.method}: {chosen.why}"
