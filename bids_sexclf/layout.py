"""Spell BIDS names: find inputs (pybids), name outputs, write sidecars."""

import json
import os
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from bids_sexclf import __version__
from bids_sexclf.disk import locked, whole, write_json
from bids_sexclf.errors import InputError

ORDER = (
    "acq",
    "rec",
    "dir",
    "run",
    "from",
    "to",
    "mode",
    "space",
    "atlas",
    "res",
    "model",
    "param",
    "label",
    "desc",
)
TOOLS = (
    "antspyx",
    "nipype",
    "dipy",
    "nibabel",
    "numpy",
    "pybids",
    "nireports",
    "torch",
    "lightning",
    "nilearn",
    "scikit-learn",
)
IGNORED = (
    "*_dwimap.*",
    "*_xfm.*",
    "*_quality.json",
    "*_morphometry.*",
    "*_desc-preproc_dwi.bv*",
    "*.html",
    "study-*",
    "figures",
    "**/figures",
    "work",
    "logs",
    "*.part-*",
    "excluded.*",
    "worklist.*",
)


# -- inputs -------------------------------------------------------------------------------------


def open_dataset(bids_dir, validate=True, database_dir=None):
    """Index a BIDS dataset.

    Parameters
    ----------
    bids_dir : path-like
    validate : bool
        Leave out files whose names are not valid BIDS.
    database_dir : path-like, optional
        Where pybids keeps its index between runs.

    Returns
    -------
    bids.BIDSLayout

    Raises
    ------
    InputError
        If the folder is no BIDS dataset.
    """
    from bids import BIDSLayout
    from bids.exceptions import PyBIDSError

    if not Path(bids_dir).is_dir():
        raise InputError(
            f"Found no folder {bids_dir}, needed a BIDS dataset. Correct the first argument."
        )
    try:
        return BIDSLayout(bids_dir, validate=validate, database_path=database_dir)
    except (ValueError, OSError, PyBIDSError) as fault:
        raise InputError(
            f"Found {bids_dir}, which is no BIDS dataset: {' '.join(str(fault).split())} Needed a "
            "folder with dataset_description.json and sub-* folders. Correct the first argument, "
            "add the file, or name a folder of HCP or CC-359 by --derivatives hcp=PATH or "
            "cc359=PATH too."
        ) from fault


class PlainFolder:
    """Stand for a folder that is no BIDS dataset: it holds no scan under a BIDS name.

    Parameters
    ----------
    root : path-like
    """

    def __init__(self, root):
        self.root = str(Path(root).resolve())

    def get(self, **_):
        """Find nothing."""
        return []

    get_subjects = get_sessions = get

    def get_metadata(self, _):
        """Know nothing."""
        return {}


def label(text, entity):
    """Give an entity's label without its prefix: ``sub-01`` and ``01`` both become ``01``."""
    return re.sub(rf"^{entity}-", "", str(text))


SEVERAL = ";"
"""What stands between the paths of one cell of the worklist."""

SCANS = (
    "t1w",
    "dwi",
    "bval",
    "bvec",
    "t1w_mask",
    "t1w_to_template",
    "template_to_t1w",
    "dwi_mask",
    "dwi_motion",
    "maps",
)
"""Columns of the worklist that hold paths; the last six are only what others have prepared."""

FILTERED = ("t1w", "dwi", "t1w_mask", "dwi_mask", "maps")


def paths(cell):
    """List the paths of one cell of the worklist.

    Examples
    --------
    >>> paths("run-1.nii.gz;run-2.nii.gz"), paths(None)
    (['run-1.nii.gz', 'run-2.nii.gz'], [])
    """
    return cell.split(SEVERAL) if cell else []


def find_scans(dataset, participants=None, sessions=None, filters=None, others=(), first=()):
    """List what there is to prepare: one row is one participant-session.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    participants, sessions : list of str, optional
        Labels, with or without their prefix; all by default.
    filters : dict, optional
        BIDS entities per kind of scan, keys ``t1w``, ``dwi``, ``t1w_mask``, ``dwi_mask``, ``maps``.
    others : iterable of tuple
        (participant_id, session_id) that others have prepared, in the dataset or not; a session
        of None stands for all of the participant's.
    first : iterable of str
        Kinds, ``t1w`` or ``dwi``, of which only the first run is taken.

    Returns
    -------
    pandas.DataFrame
        The columns of the ``worklist`` table; paths relative to the dataset, those of several runs
        joined by a semicolon.

    Raises
    ------
    InputError
        If a named participant or session does not exist, or a filter is unknown.
    """
    import pandas as pd

    filters = filters or {}
    if set(filters) - set(FILTERED):
        raise InputError(
            f"Found filters for {sorted(set(filters) - set(FILTERED))}, needed some of "
            f"{', '.join(FILTERED)}. Correct --bids-filter-file."
        )
    held = _participants(dataset, others)
    chosen = _existing(participants, held, "sub", "--participant-label")
    every = {session for own in held.values() for session in own}
    known = _existing(sessions, every, "ses", "--session-label")
    rows = []
    for participant in chosen:
        own = sorted(set(held[participant]) & set(known))
        if sessions and not own:
            continue
        for session in own or [None]:
            rows.append(_row(dataset, participant, session, filters, first))
    columns = ["participant_id", "session_id", *SCANS, "note"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _participants(dataset, others):
    """Give every participant's sessions, in the dataset and in what others have prepared."""
    held = {name: set(dataset.get_sessions(subject=name)) for name in dataset.get_subjects()}
    for participant, session in others:
        own = held.setdefault(label(participant, "sub"), set())
        if session:
            own.add(label(session, "ses"))
    return held


def _existing(asked, known, entity, flag):
    """Check labels that a user asked for against those that exist."""
    known = sorted(known)
    if not asked:
        return known
    asked = [label(entry, entity) for entry in asked]
    missing = [entry for entry in asked if entry not in known]
    if missing:
        raise InputError(
            f"Found no {entity}-{', '.join(missing)} in the dataset, needed some of the "
            f"{len(known)} that exist ({', '.join(known[:8])}{' …' if len(known) > 8 else ''}). "
            f"Correct {flag}."
        )
    return [entry for entry in known if entry in asked]


def _row(dataset, participant, session, filters, first):
    """One row of the worklist, of what lies in the dataset."""
    found = {kind: [] for kind in ("t1w", "dwi")}
    notes = []
    for kind, suffix in (("t1w", "T1w"), ("dwi", "dwi")):
        given = filters.get(kind, {})
        scans = _scans(dataset, participant, session, suffix, given)
        found[kind], note = choose_scans(scans, _together(given), kind in first)
        notes.append(note)
    found["dwi"], note = _alike(dataset, found["dwi"])
    for extension in ("bval", "bvec"):
        beside = [dataset.get_nearest(path, extension=f".{extension}", suffix="dwi")
                  for path in found["dwi"]]  # fmt: skip
        found[extension] = beside if all(beside) else []
    cells = {
        kind: SEVERAL.join(os.path.relpath(path, dataset.root) for path in whole) or None
        for kind, whole in found.items()
    }
    row = {"participant_id": f"sub-{participant}", "session_id": session and f"ses-{session}"}
    row |= dict.fromkeys(SCANS) | cells
    return row | {"note": "; ".join(filter(None, (*notes, note))) or None}


def _scans(dataset, participant, session, suffix, filters):
    """List the scans of one kind that the filter lets pass."""
    query = {"suffix": suffix, "extension": [".nii.gz", ".nii"], "subject": participant}
    if session:
        query["session"] = session
    return [scan.path for scan in dataset.get(**(query | filters), invalid_filters="allow")]


def _together(filters):
    """Name the entities of which a filter asks several labels at once: these belong together."""
    return [
        ENTITIES.get(key, key)
        for key, value in filters.items()
        if isinstance(value, list) and len(value) > 1
    ]


def choose_scans(scans, together=(), only_first=False):
    """Choose one scan, with all its runs: that with the plainest name.

    Parameters
    ----------
    scans : iterable of path-like
    together : iterable of str
        Entities whose labels may differ between the parts of one scan, beside ``run``.
    only_first : bool
        Leave the further runs.

    Returns
    -------
    list
        The runs in the order of their names; empty without any scan.
    str or None
        What was chosen, where there was a choice.
    """
    groups = {}
    for path in sorted(scans, key=lambda path: (len(Path(path).name.split("_")), str(path))):
        entities, _, _ = parse_name(path)
        key = tuple(pair for pair in entities.items() if pair[0] not in ("run", *together))
        groups.setdefault(key, []).append(path)
    if not groups:
        return [], None
    runs = groups[min(groups, key=lambda key: (len(key), key))]
    # A name without run stands before run-2.
    runs.sort(key=lambda path: (int("0" + re.sub(r"\D", "", _run(path))), str(path)))
    chosen = runs[:1] if only_first else runs
    notes = []
    if len(groups) > 1:
        notes.append(f"{Path(runs[0]).name}, the plainest of {len(groups)}")
    if len(runs) > 1:
        notes.append(f"{len(chosen)} of {len(runs)} runs of {Path(runs[0]).name}")
    return chosen, "; ".join(notes) or None


def _run(path):
    return parse_name(path)[0].get("run", "")


def _alike(dataset, series):
    """Keep the runs whose sidecars tell the same phase encoding as the first one's."""
    if len(series) < 2:
        return series, None
    fields = ("PhaseEncodingDirection", "TotalReadoutTime", "EchoTime")
    told = [[dataset.get_metadata(path).get(field) for field in fields] for path in series]
    alike = [path for path, own in zip(series, told, strict=True) if own == told[0]]
    if len(alike) == len(series):
        return series, None
    others = ", ".join(Path(path).name for path in series if path not in alike)
    return alike, f"without {others}, whose sidecar tells another {', '.join(fields)}"


ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "direction": "dir",
    "description": "desc",
}
"""Entities as pybids calls them, where that is not what stands in a name."""


def parse_name(path):
    """Split a BIDS name.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    entities : dict of str to str
        In the order of the name.
    suffix, extension : str

    Examples
    --------
    >>> parse_name("sub-1/dwi/sub-1_space-ACPC_desc-preproc_dwi.nii.gz")
    ({'sub': '1', 'space': 'ACPC', 'desc': 'preproc'}, 'dwi', '.nii.gz')
    """
    stem, dot, extension = Path(path).name.partition(".")
    *pairs, suffix = stem.split("_")
    return dict(pair.split("-", 1) for pair in pairs if "-" in pair), suffix, dot + extension


def read_metadata(dataset, path):
    """Give the sidecar of a scan, inherited values included.

    Parameters
    ----------
    dataset : bids.BIDSLayout
    path : path-like
        Relative to the dataset.

    Returns
    -------
    dict
    """
    return dataset.get_metadata(str(Path(dataset.root) / path))


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
        (s); ``inputs``: ``opposite`` (name, path, bval, direction, readout) and ``fieldmap``
        (name, kind, phase, magnitude, delay, scale), None where there is none.

    Notes
    -----
    Scans of the same session count: those that share a B0FieldIdentifier with the series'
    B0FieldSource where it has one, else those whose IntendedFor names the series, else, if no
    field map of the session is intended for anything, all.
    """
    path = Path(dataset.root, row["dwi"])
    about = dataset.get_metadata(str(path))
    where = {"subject": label(row["participant_id"], "sub"), "extension": [".nii.gz", ".nii"]}
    if row["session_id"]:
        where["session"] = label(row["session_id"], "ses")
    scans = dataset.get(datatype=["fmap", "dwi"], **where)
    scans = [(Path(s.path), dataset.get_metadata(s.path)) for s in scans if Path(s.path) != path]
    scans = _meant_for(path, about, sorted(scans, key=lambda scan: str(scan[0])))
    direction = about.get("PhaseEncodingDirection")
    return {
        "name": path.name,
        "direction": direction,
        "axis": direction or about.get("PhaseEncodingAxis"),
        "readout": about.get("TotalReadoutTime"),
        "inputs": {
            "opposite": _opposite(dataset, direction, scans),
            "fieldmap": _gradient_echo(scans),
        },
    }


def _meant_for(path, about, scans):
    """Keep the scans that are meant for a series, by what the sidecars say."""

    def listed(values):
        return [values] if isinstance(values, str) else list(values or [])

    fields = set(listed(about.get("B0FieldSource")))
    if fields:
        named = [s for s in scans if fields & set(listed(s[1].get("B0FieldIdentifier")))]
        # Magnitude images often carry no identifier of their own.
        folders = {p.parent for p, _ in named}
        return named + [
            s for s in scans if "_magnitude" in s[0].name and s[0].parent in folders
            and s not in named
        ]  # fmt: skip
    maps = [s for s in scans if s[0].parent.name == "fmap"]
    if not any(s[1].get("IntendedFor") for s in maps):
        return scans
    meant = [s for s in maps if any(e.endswith(path.name) for e in listed(s[1].get("IntendedFor")))]
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
    kind, path, about = min(found, key=lambda entry: entry[0])
    beside = {"extension": ".bval", "suffix": "dwi"}
    bval = dataset.get_nearest(str(path), **beside) if kinds[kind] == "dwi" else None
    return {
        "name": path.name,
        "path": str(path),
        "bval": str(bval) if bval else None,
        "direction": about["PhaseEncodingDirection"],
        "readout": about.get("TotalReadoutTime"),
    }


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


HERTZ = {"hz": 1.0, "rad/s": 0.15915494309189535, "t": 42577478.518}
"""What makes Hz of the units a field map may have (tesla: by the proton's gyromagnetic ratio)."""


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


# -- outputs ------------------------------------------------------------------------------------


@cache
def names():
    """Load the table of every derivative's name.

    Returns
    -------
    dict
        Entry to its folder, entities (``*`` is filled in), suffix and extension.
    """
    return json.loads((files("bids_sexclf") / "data" / "names.json").read_text())


REFERENCES = {"brain": "desc-brain_T1w", "mask": "desc-brain_mask", "white": "label-WM_mask"}


def reference(kind, template, resolution):
    """Name the template's own image on the group grid, relative to the output folder.

    Parameters
    ----------
    kind : {"brain", "mask", "white"}
    template : str
    resolution : str
        Label, as `number_label` spells it.

    Returns
    -------
    pathlib.Path
    """
    folder = f"tpl-{template}"
    return Path(folder, f"{folder}_res-{resolution}_{REFERENCES[kind]}.nii.gz")


def atlas_label(name):
    """Give the BIDS label of an atlas: its name, or its image's, without other characters."""
    return re.sub(r"[^a-zA-Z0-9]", "", Path(name).name.split(".")[0])


def atlas_reference(atlas, template, voxel_size):
    """Name an atlas image in the template's space, relative to the output folder.

    Parameters
    ----------
    atlas : str
        Label, as `atlas_label` spells it.
    template : str
    voxel_size : float
        mm.

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> atlas_of(atlas_reference("Lobes", "MNI152NLin6Asym", 1.0))
    'Lobes'
    """
    folder = f"tpl-{template}"
    name = f"{folder}_atlas-{atlas}_res-{number_label(voxel_size)}_dseg.nii.gz"
    return Path(folder, name)


def atlas_of(path):
    """Give the label of the atlas that a file's name tells."""
    return re.search(r"_atlas-([a-zA-Z0-9]+)", Path(path).name)[1]


def atlas_description(path):
    """Name the file that describes the atlas of a file in ``tpl-*``: beside that folder."""
    return Path(path).parent.parent / f"atlas-{atlas_of(path)}_description.json"


def number_label(value):
    """Spell a number as a BIDS label: 2.0 is ``2``, 1.25 is ``1p25``."""
    return f"{value:g}".replace(".", "p")


def derivative(entry, participant_id, session_id=None, **entities):
    """Name a derivative, relative to the output folder.

    Parameters
    ----------
    entry : str
        Key of ``data/names.json``.
    participant_id, session_id : str
        ``sub-01``; ``ses-1`` or None.
    **entities
        Values for the entry's open entities. ``from`` is given as ``from_``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If an open entity is not given, or an unknown one is.

    Examples
    --------
    >>> derivative("tensor_template", "sub-01", space="MNI152NLin6Asym", res="2",
    ...            param="fa").name
    'sub-01_space-MNI152NLin6Asym_res-2_model-tensor_param-fa_dwimap.nii.gz'
    """
    spec = names()[entry]
    given = {key.rstrip("_"): str(value) for key, value in entities.items()}
    filled = {
        key: given.get(key, value) if value == "*" else value
        for key, value in spec["entities"].items()
    }
    unknown, open_ = set(given) - set(filled), [key for key, v in filled.items() if v == "*"]
    if unknown or open_:
        raise InputError(
            f"Found entities {sorted(given)} for {entry!r}, needed "
            f"{[key for key, v in spec['entities'].items() if v == '*']}. Correct the call."
        )
    parts = [participant_id, *([session_id] if session_id else [])]
    parts += [f"{key}-{filled[key]}" for key in ORDER if key in filled]
    folder = Path(participant_id, session_id or "", spec["folder"])
    return folder / ("_".join([*parts, spec["suffix"]]) + spec["extension"])


def find_derivatives(out, entry, **entities):
    """Find every file that an entry names.

    Parameters
    ----------
    out : path-like
        Folder of derivatives.
    entry : str
        Key of ``data/names.json``.
    **entities
        Values for open entities; those left open match anything.

    Returns
    -------
    list of dict
        ``participant_id``, ``session_id`` (None without sessions), the open entities, and
        ``path`` relative to `out`, sorted by path. An open entity does not match a label that
        another entry spells out: ``space-ACPC`` is no template.
    """
    spec, given = names()[entry], {key.rstrip("_"): value for key, value in entities.items()}
    pattern = r"(?P<participant_id>sub-[a-zA-Z0-9]+)(?:_(?P<session_id>ses-[a-zA-Z0-9]+))?"
    for key in (key for key in ORDER if key in spec["entities"]):
        value = spec["entities"][key]
        value = given.get(key, value) if value == "*" else value
        group = key + "_" if key == "from" else key
        free = rf"(?P<{group}>{_but(entry, key)}[a-zA-Z0-9]+)"
        pattern += rf"_{key}-" + (free if value == "*" else re.escape(value))
    pattern = re.compile(pattern + re.escape(f"_{spec['suffix']}{spec['extension']}"))
    found = []
    for path in sorted(Path(out).glob(f"sub-*/**/*_{spec['suffix']}{spec['extension']}")):
        match = pattern.fullmatch(path.name)
        if match and spec["folder"] in ("", path.parent.name):
            found.append(match.groupdict() | {"path": path.relative_to(out).as_posix()})
    return found


def _but(entry, key):
    """Give a pattern that refuses labels of an open entity which other entries spell out."""
    own = names()[entry]
    alike = [
        other["entities"][key]
        for other in names().values()
        if all(other[part] == own[part] for part in ("folder", "suffix", "extension"))
        and list(other["entities"]) == list(own["entities"])
    ]
    return "".join(rf"(?!{re.escape(label)}(?![a-zA-Z0-9]))" for label in alike if label != "*")


def sidecar(path):
    """Name the JSON beside an image or table."""
    path = Path(path)
    return path.with_name(re.sub(r"\.(nii(\.gz)?|h5|mat|tsv|bval|bvec)$", "", path.name) + ".json")


def versions():
    """List this package's and its tools' versions.

    Returns
    -------
    dict of str to str
    """
    found = {"bids-sexclf": __version__}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found


def write_description(out, name, sources=None, dataset_type="derivative"):
    """Write dataset_description.json and .bidsignore of a folder of derivatives.

    Parameters
    ----------
    out : path-like
    name : str
        Title of the dataset.
    sources : dict, optional
        Link name to the path of a dataset these derivatives were made from.
    dataset_type : {"derivative", "raw"}
    """
    links = {key: Path(path).resolve().as_uri() for key, path in (sources or {}).items()}
    content = {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": dataset_type,
        "GeneratedBy": [{"Name": "bids_sexclf", "Version": __version__}],
        "HowToAcknowledge": "Cite the software and the methods named in the reports.",
    }
    container = os.environ.get("BIDS_SEXCLF_CONTAINER")
    if container:
        content["GeneratedBy"][0]["Container"] = {"Type": container, "Tag": __version__}
    if links:
        content["DatasetLinks"] = links
        content["SourceDatasets"] = [{"URL": uri} for uri in links.values()]
    write_json(content, Path(out) / "dataset_description.json")
    write_ignored(out)


def write_ignored(out, patterns=IGNORED):
    """Add patterns to .bidsignore; safe where several jobs share the folder.

    Parameters
    ----------
    out : path-like
    patterns : iterable of str
    """
    path = Path(out) / ".bidsignore"
    with locked(path.with_name(".bidsignore.lock")):
        present = path.read_text().splitlines() if path.exists() else []
        missing = [pattern for pattern in (*patterns, ".bidsignore.lock") if pattern not in present]
        if missing:
            with whole(path) as part:
                part.write_text("\n".join([*present, *missing]) + "\n")
