"""Plan the processing of raw diffusion series: their parts and the correction of distortion."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from bids_sexclf.derivatives.prepared import source_of
from bids_sexclf.distortion.fieldmaps import Correction, choose
from bids_sexclf.errors import REFUSALS, InputError
from bids_sexclf.layout import SEVERAL, find_fieldmaps, group_by_encoding, paths, read_metadata
from bids_sexclf.layout.dataset import bad_sidecars_of
from bids_sexclf.layout.sidecars import OF_SERIES, check_sidecar, shared_fields

DWI_CELLS = ("dwi", "bval", "bvec")


@dataclass(frozen=True)
class Part:
    """The series of one phase encoding, which are joined before any other step.

    Attributes
    ----------
    files : tuple of int
        Positions of the series in the row of the worklist.
    metadata : dict
        The sidecar of the first one.
    distortion : fieldmaps.Correction or None
        None where nothing is to be corrected.
    partner : int or None
        Position of the part of opposite phase encoding that the correction is found with.
    """

    files: tuple = (0,)
    metadata: dict = field(default_factory=dict)
    distortion: Correction | None = None
    partner: int | None = None

    @property
    def corrected(self):
        """Whether distortion is corrected."""
        return self.distortion is not None and self.distortion.method != "none"


def parts_of(row):
    """Return the planned parts of a row of the worklist; a single part where none are planned."""
    return row.get("parts") or [Part(files=tuple(range(len(paths(row.get("dwi"))))))]


def plan_series(dataset, row, preparation):
    """Read the sidecars of diffusion series, and choose how their distortion will be corrected.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    row : dict
        Of the worklist. The first of several series of one phase encoding counts for all.
    preparation : settings.Preparation

    Returns
    -------
    dict
        ``parts``: list of `Part`, empty without a raw series; ``series_notes``: list of str.

    Raises
    ------
    InputError
        If an input of the chosen method is absent, or a sidecar holds an unusable value.
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
    """Plan series whose sidecars can be used."""
    from bids_sexclf.interfaces.eddy import encoding_row
    from bids_sexclf.participant.dwi import uses_eddy

    series = paths(row["dwi"])
    if not series or source_of(series[0]) != "raw":
        return {"parts": [], "series_notes": []}
    sidecars = []
    for path in series:
        sidecars.append(read_metadata(dataset, path))
        check_sidecar(path, sidecars[-1], OF_SERIES)
    encodings = [
        (about.get("PhaseEncodingDirection"), about.get("TotalReadoutTime")) for about in sidecars
    ]
    groups = group_by_encoding(encodings)
    parts = [Part(tuple(group), sidecars[group[0]]) for group in groups]
    if uses_eddy(preparation):
        for part in parts:
            encoding_row(part.metadata)  # refuses a sidecar that cannot tell it
    if preparation.distortion == "none":
        return {"parts": parts, "series_notes": []}
    candidates = [find_fieldmaps(dataset, row | {"dwi": series[part.files[0]]}) for part in parts]
    partners = _pair(candidates, [[series[index] for index in part.files] for part in parts])
    tools = {"t1w": bool(row["t1w"]), "topup": bool(shutil.which("topup"))}
    planned = []
    for part, fieldmaps, partner in zip(parts, candidates, partners, strict=True):
        if partner is not None:
            first = parts[partner].files[0]
            fieldmaps["inputs"]["opposite"] = {
                "name": candidates[partner]["name"],
                "path": str(Path(dataset.root, series[first])),
                "bval": str(Path(dataset.root, paths(row["bval"])[first])),
                "direction": candidates[partner]["direction"],
                "readout": candidates[partner]["readout"],
            }
        chosen = choose(preparation.distortion, fieldmaps, **tools)
        paired = chosen.method in ("topup", "opposite")
        planned.append(replace(part, distortion=chosen, partner=partner if paired else None))
    notes = dict.fromkeys(note for fieldmaps in candidates for note in fieldmaps["notes"])
    return {"parts": planned, "series_notes": list(notes)}


def _pair(candidates, names):
    """Pair parts of opposite phase encodings: the b0 volumes of one correct the other.

    Parameters
    ----------
    candidates : list of dict
        As `find_fieldmaps` returns it, for each part.
    names : list of list of str
        The series of each part.

    Returns
    -------
    list of int or None
        The partner of each part; None also where B0FieldSource names another scan.
    """
    partners = [None] * len(candidates)
    for first, part in enumerate(candidates):
        for second in range(first + 1, len(candidates)):
            if partners[first] is None and partners[second] is None:
                pairs = ((part, names[second]), (candidates[second], names[first]))
                if _are_opposite(part, candidates[second]) and all(
                    _may_serve(*pair) for pair in pairs
                ):
                    partners[first], partners[second] = second, first
    return partners


def _are_opposite(one, second_part):
    first, second = one["direction"], second_part["direction"]
    return bool(first and second) and first != second and first[0] == second[0]


def _may_serve(candidate, names):
    """Return whether the sidecar of a part allows these series to correct its distortion."""
    opposite = candidate["inputs"]["opposite"]
    return not candidate["named"] or (
        opposite is not None and opposite["name"] in [Path(name).name for name in names]
    )


def keep_correctable(dataset, row, preparation):
    """Leave out series that must not be pooled because their distortion cannot be corrected.

    Scans of two phase encodings show one head in two shapes: unless both are corrected, only the
    encoding with the most information is kept.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    row : dict
        Of the worklist.
    preparation : settings.Preparation

    Returns
    -------
    dict
        The row.
    """
    if len(paths(row["dwi"])) < 2:
        return row
    try:
        parts = plan_series(dataset, row, preparation)["parts"]
    except REFUSALS:  # told where the row is checked
        return row
    if len(parts) < 2 or all(part.corrected for part in parts):
        return row
    beside = [part for part in parts if part.corrected] if parts[0].corrected else parts[:1]
    kept_indices = [index for part in beside for index in part.files]
    cells = {kind: paths(row[kind]) for kind in DWI_CELLS}
    dropped = [
        Path(name).name for index, name in enumerate(cells["dwi"]) if index not in kept_indices
    ]
    cells = {
        kind: SEVERAL.join(files[index] for index in kept_indices) if files else None
        for kind, files in cells.items()
    }
    note = f"without {', '.join(dropped)}: another phase encoding, and distortion is not corrected"
    return row | cells | {"note": "; ".join(filter(None, (row.get("note"), note)))}


def read_acquisition(dataset, row):
    """Read how the raw scans of a row were acquired.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    row : dict
        Of the worklist.

    Returns
    -------
    dict
        ``acquisition``: ``t1w`` and ``dwi`` to the fields that all scans of the kind share.
    """
    fields = {}
    for kind in ("t1w", "dwi"):
        scans = [path for path in paths(row[kind]) if source_of(path) == "raw"]
        if scans and not any(bad_sidecars_of(dataset, path) for path in scans):
            fields[kind] = shared_fields([read_metadata(dataset, path) for path in scans])
    return {"acquisition": fields}


def tell_series(planned):
    """Return a note about the planned correction of distortion and its reason.

    Parameters
    ----------
    planned : dict
        As `plan_series` returns it.

    Returns
    -------
    str or None
    """
    notes = list(planned["series_notes"])
    for part in planned["parts"]:
        chosen = part.distortion
        if chosen is not None and chosen.method == "none":
            notes.append(f"distortion stays: {chosen.why}")
        elif chosen is not None:
            notes.append(f"distortion corrected by {chosen.method}: {chosen.why}")
    return "; ".join(dict.fromkeys(notes)) or None


def images_of(planned):
    """List the images that corrections of distortion read.

    Parameters
    ----------
    planned : dict
        As `plan_series` returns it.

    Returns
    -------
    list of str
        Paths.
    """
    images = []
    for part in planned["parts"]:
        inputs = (part.distortion and part.distortion.inputs) or {}
        images += [inputs.get("path"), *(inputs.get("phase") or []), inputs.get("magnitude")]
    return list(dict.fromkeys(path for path in images if path))
