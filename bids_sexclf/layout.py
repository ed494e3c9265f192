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
    "matplotlib",
    "torch",
    "lightning",
    "nilearn",
    "scikit-learn",
)
IGNORED = (
    "*_dwimap.*",
    "*_xfm.*",
    "*_quality.json",
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
            "or add the file."
        ) from fault


def label(text, entity):
    """Give an entity's label without its prefix: ``sub-01`` and ``01`` both become ``01``."""
    return re.sub(rf"^{entity}-", "", str(text))


def find_scans(dataset, participants=None, sessions=None, filters=None):
    """List what there is to prepare: one row is one participant-session.

    Parameters
    ----------
    dataset : bids.BIDSLayout
    participants, sessions : list of str, optional
        Labels, with or without their prefix; all by default.
    filters : dict, optional
        BIDS entities per kind of scan, keys ``t1w`` and ``dwi``.

    Returns
    -------
    pandas.DataFrame
        The columns of the ``worklist`` table; paths relative to the dataset.

    Raises
    ------
    InputError
        If a named participant or session does not exist, or a filter is unknown.
    """
    import pandas as pd

    filters = filters or {}
    if set(filters) - {"t1w", "dwi"}:
        raise InputError(
            f"Found filters for {sorted(set(filters) - {'t1w', 'dwi'})}, needed 't1w' or 'dwi'. "
            "Correct --bids-filter-file."
        )
    chosen = _existing(participants, dataset.get_subjects(), "sub", "--participant-label")
    known = _existing(sessions, dataset.get_sessions(), "ses", "--session-label")
    rows = []
    for participant in chosen:
        own = [s for s in dataset.get_sessions(subject=participant) if s in known]
        if sessions and not own:
            continue
        for session in own or [None]:
            rows.append(_row(dataset, participant, session, filters))
    columns = ["participant_id", "session_id", "t1w", "dwi", "bval", "bvec", "note"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


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


def _row(dataset, participant, session, filters):
    """One row of the worklist."""
    t1w, t1w_note = _one_scan(dataset, participant, session, "T1w", filters.get("t1w", {}))
    dwi, dwi_note = _one_scan(dataset, participant, session, "dwi", filters.get("dwi", {}))
    bval, bvec = (_beside(dataset, dwi, suffix) for suffix in (".bval", ".bvec"))
    inside = [
        os.path.relpath(path, dataset.root) if path else None for path in (t1w, dwi, bval, bvec)
    ]
    note = "; ".join(filter(None, (t1w_note, dwi_note))) or None
    return [f"sub-{participant}", f"ses-{session}" if session else None, *inside, note]


def _beside(dataset, path, extension):
    """Find the file of a series by BIDS inheritance, or nothing."""
    return dataset.get_nearest(path, extension=extension, suffix="dwi") if path else None


def _one_scan(dataset, participant, session, suffix, filters):
    """Choose one scan: what the filter says, else the plainest name, and say so."""
    query = {"suffix": suffix, "extension": [".nii.gz", ".nii"], "subject": participant}
    if session:
        query["session"] = session
    found = dataset.get(**(query | filters), invalid_filters="allow")
    scans = sorted((scan for scan in found), key=lambda scan: (_plainness(scan), scan.filename))
    if not scans:
        return None, None
    note = f"{scans[0].filename}, the plainest of {len(scans)}" if len(scans) > 1 else None
    return scans[0].path, note


def _plainness(scan):
    return len(scan.filename.split("_"))


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
        ``path`` relative to `out`, sorted by path.
    """
    spec, given = names()[entry], {key.rstrip("_"): value for key, value in entities.items()}
    pattern = r"(?P<participant_id>sub-[a-zA-Z0-9]+)(?:_(?P<session_id>ses-[a-zA-Z0-9]+))?"
    for key in (key for key in ORDER if key in spec["entities"]):
        value = spec["entities"][key]
        value = given.get(key, value) if value == "*" else value
        group = key + "_" if key == "from" else key
        pattern += rf"_{key}-" + (
            rf"(?P<{group}>[a-zA-Z0-9]+)" if value == "*" else re.escape(value)
        )
    pattern = re.compile(pattern + re.escape(f"_{spec['suffix']}{spec['extension']}"))
    found = []
    for path in sorted(Path(out).glob(f"sub-*/**/*_{spec['suffix']}{spec['extension']}")):
        match = pattern.fullmatch(path.name)
        if match and spec["folder"] in ("", path.parent.name):
            found.append(match.groupdict() | {"path": path.relative_to(out).as_posix()})
    return found


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
