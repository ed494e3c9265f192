"""Find the scans that can correct the distortion of a diffusion series."""

from pathlib import Path

from bids_sexclf.layout.content import find_part
from bids_sexclf.layout.dataset import read_metadata
from bids_sexclf.layout.entities import label, parse_name
from bids_sexclf.layout.sidecars import OF_FIELDMAPS, OF_SERIES, check_sidecar

HERTZ = {"hz": 1.0, "rad/s": 0.15915494309189535, "t": 42577478.518}
"""Factors from units of a field map to Hz (tesla: gyromagnetic ratio of the proton)."""

FORMS = {"phasediff": ("phasediff",), "phases": ("phase1", "phase2"), "field": ("fieldmap",)}
"""Form of a gradient-echo field map to the suffixes of its images, beside a magnitude."""

GRADIENT_ECHO = ("phasediff", "phase1", "phase2", "fieldmap", "magnitude", "magnitude1",
                 "magnitude2")  # fmt: skip
"""Suffixes of the images of gradient-echo field maps."""


def find_fieldmaps(dataset, row):
    """Find the scans that can correct the distortion of one diffusion series.

    Parameters
    ----------
    dataset : bids.BIDSLayout
    row : dict
        Of the worklist, with a ``dwi``.

    Returns
    -------
    dict
        ``name`` of the series; its ``direction`` (None without a sign), ``axis`` and ``readout``
        (s); ``named``: whether its B0FieldSource names a field map; ``inputs``: ``opposite``
        (name, path, bval, direction, readout) and ``fieldmap`` (name, kind, phase, magnitude,
        delay, scale), None where there is none; ``notes``: missing files to which field maps
        refer.

    Raises
    ------
    InputError
        If a sidecar of the series, or of a scan that may correct it, cannot be read or used.

    Notes
    -----
    Scans of the same session count: those that share a B0FieldIdentifier with the series'
    B0FieldSource where it has one, else those whose IntendedFor names the series, else, if no
    field map of the session has an IntendedFor, all. For a gradient-echo field map, the sidecar of
    one image is enough.
    """
    path = Path(dataset.root, row["dwi"])
    about = read_metadata(dataset, path)
    check_sidecar(path.name, about, OF_SERIES)
    query = {"subject": label(row["participant_id"], "sub"), "extension": [".nii.gz", ".nii"]}
    session = parse_name(path)[0].get("ses")
    if session:
        query["session"] = session
    scans = dataset.get(datatype=["fmap", "dwi"], **query)
    if not session:  # of what lies beside the sessions only
        scans = [scan for scan in scans if "ses" not in parse_name(scan.path)[0]]
    scans = [(Path(s.path), read_metadata(dataset, s.path)) for s in scans if Path(s.path) != path]
    scans = [s for s in scans if _is_gradient_echo(s[0]) or find_part(*s) is None]
    for scan, values in scans:
        check_sidecar(scan.name, values, OF_FIELDMAPS)
    notes = _missing_targets(dataset, query["subject"], session, scans)
    notes += _missing_sources(path, about, scans)
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


def _missing_targets(dataset, subject, session, scans):
    """List missing files that are named in IntendedFor of a session's field maps."""
    homes = [Path(dataset.root), Path(dataset.root, f"sub-{subject}")]
    homes += [homes[1] / f"ses-{session}"] if session else []
    notes = []
    for path, about in scans:
        entries = _listed(about.get("IntendedFor"))
        inside = [entry.split(":", 2)[-1] for entry in entries]
        missing = [name for name in inside if not any((home / name).exists() for home in homes)]
        if missing:
            further = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            notes.append(f"{path.name} is meant for {missing[0]}{further}, not there")
    return notes


def _missing_sources(path, about, scans):
    """List missing field maps that the B0FieldSource of a series names."""
    identifiers = {f for _, values in scans for f in _listed(values.get("B0FieldIdentifier"))}
    identifiers |= set(_listed(about.get("B0FieldIdentifier")))
    missing = [f for f in _listed(about.get("B0FieldSource")) if f not in identifiers]
    return [f"{path.name} has B0FieldSource {f}, which no scan of the session bears as "
            "B0FieldIdentifier" for f in missing]  # fmt: skip


def _listed(values):
    return [values] if isinstance(values, str) else list(values or [])


def _stem(name):
    """Return a name without path, suffix and extension: the part shared by a field map's images.

    Examples
    --------
    >>> _stem("ses-1/fmap/sub-1_ses-1_run-1_phasediff.nii.gz")
    'sub-1_ses-1_run-1'
    """
    return Path(name).name.split(".")[0].rsplit("_", 1)[0]


def _scan_name(name):
    """Return a name without path and extension: ``.nii`` and ``.nii.gz`` are one scan."""
    return Path(name).name.split(".")[0]


def _meant_for(path, about, scans):
    """Return the scans that are meant for a series, by their sidecars.

    The images of one gradient-echo field map (phases, magnitudes, field) belong together by their
    names or by one B0FieldIdentifier: the sidecar of one counts for all.
    """
    fields = set(_listed(about.get("B0FieldSource")))
    if fields:
        named = [s for s in scans if fields & set(_listed(s[1].get("B0FieldIdentifier")))]
        return _with_companions(named, scans)
    maps = [s for s in scans if s[0].parent.name == "fmap"]
    if not any(s[1].get("IntendedFor") for s in maps):
        return scans
    name = _scan_name(path)
    meant = [
        s for s in maps if any(_scan_name(e) == name for e in _listed(s[1].get("IntendedFor")))
    ]
    return _with_companions(meant, scans) + [s for s in scans if s not in maps]


def _with_companions(chosen, scans):
    """Return the chosen scans with the other images of their gradient-echo field maps."""
    stems = {_stem(path) for path, _ in chosen if _is_gradient_echo(path)}
    fields = {f for path, about in chosen if _is_gradient_echo(path)
              for f in _listed(about.get("B0FieldIdentifier"))}  # fmt: skip
    return [
        (path, about)
        for path, about in scans
        if any(path == chosen_path for chosen_path, _ in chosen)
        or (
            _is_gradient_echo(path)
            and (_stem(path) in stems or fields & set(_listed(about.get("B0FieldIdentifier"))))
        )
    ]


def _is_gradient_echo(path):
    suffix = _scan_name(path).rsplit("_", 1)[-1]
    return path.parent.name == "fmap" and suffix in GRADIENT_ECHO


def _opposite(dataset, direction, scans):
    """Choose the scan of opposite phase encoding; field maps come first."""
    reverse = direction and (direction[0] if direction.endswith("-") else direction + "-")
    kinds = ("epi", "sbref", "dwi")
    candidates = [
        (kinds.index(kind), path, about)
        for path, about in scans
        for kind in [path.name.split(".")[0].rsplit("_", 1)[-1]]
        if kind in kinds and direction and about.get("PhaseEncodingDirection") == reverse
    ]
    if not candidates:
        return None
    _, path, about = min(candidates, key=lambda entry: entry[0])
    return {
        "name": path.name,
        "path": str(path),
        "bval": _find_bval(dataset, path),
        "direction": about["PhaseEncodingDirection"],
        "readout": about.get("TotalReadoutTime"),
    }


def _find_bval(dataset, path):
    """Return the file of b-values of a series, or of an ``epi`` field map if it has one."""
    beside = path.with_name(path.name.split(".")[0] + ".bval")
    if beside.exists():
        return str(beside)
    is_series = path.name.split(".")[0].endswith("_dwi")
    bval = dataset.get_nearest(str(path), extension=".bval", suffix="dwi") if is_series else None
    return str(bval) if bval else None


def _gradient_echo(scans):
    """Choose the gradient-echo field map: a phase difference, both phases, or a field."""
    by_name = {_scan_name(p): (p, about) for p, about in scans if _is_gradient_echo(p)}
    for stem in sorted({_stem(name) for name in by_name}):
        for kind, suffixes in FORMS.items():
            images = [by_name.get(f"{stem}_{suffix}") for suffix in suffixes]
            magnitude = _find_magnitude(stem, images, by_name) if all(images) else None
            entry = magnitude and _field_entry(kind, images, str(magnitude))
            if entry:
                return entry
    return None


def _find_magnitude(stem, images, by_name):
    """Find the magnitude of a field map: by its name, by an identifier, or as the only one."""
    magnitudes = {name: scan for name, scan in by_name.items() if "_magnitude" in name}
    for suffix in ("magnitude1", "magnitude", "magnitude2"):
        if f"{stem}_{suffix}" in magnitudes:
            return magnitudes[f"{stem}_{suffix}"][0]
    fields = set(_listed(images[0][1].get("B0FieldIdentifier")))
    shared = [
        path
        for _, (path, about) in sorted(magnitudes.items())
        if fields & set(_listed(about.get("B0FieldIdentifier")))
    ]
    if shared:
        return shared[0]
    stems = {_stem(name) for name in magnitudes}
    return magnitudes[min(magnitudes)][0] if len(stems) == 1 else None


def _field_entry(kind, images, magnitude):
    """Return the entry of one field map, or None if its sidecar lacks a required field."""
    path, about = images[0]
    entry = {
        "name": path.name,
        "kind": kind,
        "phase": [str(p) for p, _ in images],
        "magnitude": magnitude,
        "delay": None,
        "scale": HERTZ.get(str(about.get("Units", "")).lower()),
    }
    if kind == "field":
        return entry if entry["scale"] else None
    times = (
        (about.get("EchoTime1"), about.get("EchoTime2"))
        if kind == "phasediff"
        else tuple(metadata.get("EchoTime") for _, metadata in images)
    )
    if None in times or times[0] == times[1]:
        return None
    # A difference is second minus first; were the echo times swapped, so would be its sign.
    return entry | {"delay": times[1] - times[0], "scale": 1.0}
