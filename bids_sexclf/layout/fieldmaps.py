"""Find what can correct the distortion of a diffusion series."""

from pathlib import Path

from bids_sexclf.layout.dataset import read_metadata
from bids_sexclf.layout.entities import label
from bids_sexclf.layout.sidecars import OF_FIELDMAPS, OF_SERIES, check_sidecar

HERTZ = {"hz": 1.0, "rad/s": 0.15915494309189535, "t": 42577478.518}
"""What makes Hz of the units a field map may have (tesla: by the proton's gyromagnetic ratio)."""


def find_fieldmaps(dataset, row):
    """Find what can correct the distortion of one diffusion series.

    Parameters
    ----------
    dataset : bids.BIDSLayout
    row : dict
        Of the worklist, with a ``dwi``.

    Returns
    -------
    dict
        ``name`` of the series; its ``direction`` (None without a sign), ``axis`` and ``readout``
        (s); ``named``: whether its B0FieldSource names what corrects it; ``inputs``: ``opposite``
        (name, path, bval, direction, readout) and ``fieldmap`` (name, kind, phase, magnitude,
        delay, scale), None where there is none; ``notes``: files that field maps are meant for and
        that do not exist.

    Raises
    ------
    InputError
        If a sidecar of the series, or of a scan that may correct it, cannot be read or used.

    Notes
    -----
    Scans of the same session count: those that share a B0FieldIdentifier with the series'
    B0FieldSource where it has one, else those whose IntendedFor names the series, else, if no
    field map of the session is intended for anything, all.
    """
    path = Path(dataset.root, row["dwi"])
    about = read_metadata(dataset, path)
    check_sidecar(path.name, about, OF_SERIES)
    where = {"subject": label(row["participant_id"], "sub"), "extension": [".nii.gz", ".nii"]}
    if row["session_id"]:
        where["session"] = label(row["session_id"], "ses")
    scans = dataset.get(datatype=["fmap", "dwi"], **where)
    scans = [(Path(s.path), read_metadata(dataset, s.path)) for s in scans if Path(s.path) != path]
    for scan, values in scans:
        check_sidecar(scan.name, values, OF_FIELDMAPS)
    notes = _missing_targets(dataset, where["subject"], scans)
    scans = _meant_for(path, about, sorted(scans, key=lambda scan: str(scan[0])))
    direction = about.get("PhaseEncodingDirection")
    return {
        "name": path.name,
        "direction": direction,
        "axis": direction or about.get("PhaseEncodingAxis"),
        "readout": about.get("TotalReadoutTime"),
        "named": bool(about.get("B0FieldSource")),
        "inputs": {
            "opposite": _opposite(dataset, direction, scans),
            "fieldmap": _gradient_echo(scans),
        },
        "notes": notes,
    }


def _missing_targets(dataset, subject, scans):
    """Say which files the field maps of a session are meant for that do not exist."""
    homes = Path(dataset.root), Path(dataset.root, f"sub-{subject}")
    notes = []
    for path, about in scans:
        entries = _listed(about.get("IntendedFor"))
        inside = [entry.split(":", 2)[-1] for entry in entries]
        missing = [name for name in inside if not any((home / name).exists() for home in homes)]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            notes.append(f"{path.name} is meant for {missing[0]}{more}, not there")
    return notes


def _listed(values):
    return [values] if isinstance(values, str) else list(values or [])


def _meant_for(path, about, scans):
    """Keep the scans that are meant for a series, by what the sidecars say."""
    fields = set(_listed(about.get("B0FieldSource")))
    if fields:
        named = [s for s in scans if fields & set(_listed(s[1].get("B0FieldIdentifier")))]
        # Magnitude images often carry no identifier of their own.
        folders = {p.parent for p, _ in named}
        return named + [
            s for s in scans if "_magnitude" in s[0].name and s[0].parent in folders
            and s not in named
        ]  # fmt: skip
    maps = [s for s in scans if s[0].parent.name == "fmap"]
    if not any(s[1].get("IntendedFor") for s in maps):
        return scans
    meant = [
        s for s in maps if any(e.endswith(path.name) for e in _listed(s[1].get("IntendedFor")))
    ]
    return meant + [s for s in scans if s not in maps]


def _opposite(dataset, direction, scans):
    """Choose the scan that was encoded against a direction: a field map's first."""
    other = direction and (direction[0] if direction.endswith("-") else direction + "-")
    kinds = ("epi", "sbref", "dwi")
    found = [
        (kinds.index(kind), path, about)
        for path, about in scans
        for kind in [path.name.split(".")[0].rsplit("_", 1)[-1]]
        if kind in kinds and direction and about.get("PhaseEncodingDirection") == other
    ]
    if not found:
        return None
    _, path, about = min(found, key=lambda entry: entry[0])
    return {
        "name": path.name,
        "path": str(path),
        "bval": _find_bval(dataset, path),
        "direction": about["PhaseEncodingDirection"],
        "readout": about.get("TotalReadoutTime"),
    }


def _find_bval(dataset, path):
    """Return the b-values of a series, or those beside an ``epi`` field map that has some."""
    beside = path.with_name(path.name.split(".")[0] + ".bval")
    if beside.exists():
        return str(beside)
    is_series = path.name.split(".")[0].endswith("_dwi")
    bval = dataset.get_nearest(str(path), extension=".bval", suffix="dwi") if is_series else None
    return str(bval) if bval else None


def _gradient_echo(scans):
    """Choose the gradient-echo field map: a phase difference, both phases, or a field."""
    held = {p.name.split(".")[0]: (p, about) for p, about in scans if p.parent.name == "fmap"}

    def beside(stem, suffix, *others):
        names = [f"{stem}_{kind}" for kind in others]
        if f"{stem}_{suffix}" in held and all(name in held for name in names):
            return [held[f"{stem}_{suffix}"], *(held[name] for name in names)]
        return None

    for stem in sorted({name.rsplit("_", 1)[0] for name in held}):
        size = next(
            (held[n][0] for n in (f"{stem}_magnitude1", f"{stem}_magnitude") if n in held), None
        )
        if size is None:
            continue
        for kind, found in (
            ("phasediff", beside(stem, "phasediff")),
            ("phases", beside(stem, "phase1", "phase2")),
            ("field", beside(stem, "fieldmap")),
        ):
            made = found and _field_entry(kind, found, str(size))
            if made:
                return made
    return None


def _field_entry(kind, found, magnitude):
    """Describe one field map, or nothing if its sidecar lacks what reading it takes."""
    path, about = found[0]
    entry = {
        "name": path.name,
        "kind": kind,
        "phase": [str(p) for p, _ in found],
        "magnitude": magnitude,
        "delay": None,
        "scale": HERTZ.get(str(about.get("Units", "")).lower()),
    }
    if kind == "field":
        return entry if entry["scale"] else None
    times = (
        (about.get("EchoTime1"), about.get("EchoTime2"))
        if kind == "phasediff"
        else tuple(other.get("EchoTime") for _, other in found)
    )
    if None in times or times[0] == times[1]:
        return None
    # A difference is second minus first; were the echo times swapped, so would be its sign.
    return entry | {"delay": times[1] - times[0], "scale": 1.0}
