"""Index a BIDS dataset (pybids), without the sidecars that cannot be read."""

import hashlib
import json
import os
import re
import warnings
from importlib.resources import files
from pathlib import Path

from bids_sexclf.disk import read_object, read_small, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.layout.entities import parse_name

NOT_RAW = ("code", "derivatives", "models", "sourcedata", "stimuli")
"""Folders of a dataset that hold no raw scan."""

LABEL = re.compile(r"[0-9a-zA-Z]+")
"""Valid label of a participant or a session in BIDS."""

MARK = "bids_sexclf_index.json"
"""File beside a stored index, with its dataset and state."""

NO_FIELDS = {"subject", "session", "run", "suffix", "extension", "datatype", "acquisition"}
"""Entities of names; a sidecar with another value than the name makes the index fail."""

LARGEST_SIDECAR = 2**26
"""Largest size of a sidecar, bytes."""


def open_dataset(bids_dir, validate=True, database_dir=None):
    """Index a BIDS dataset.

    Parameters
    ----------
    bids_dir : path-like
    validate : bool
        Leave out files whose names are not valid BIDS.
    database_dir : path-like, optional
        Where the index is kept between runs. It is made again where the dataset has changed.

    Returns
    -------
    bids.BIDSLayout
        Its ``bad_sidecars`` maps unreadable JSON files (path relative to the dataset) to the
        reason; its ``closed`` lists folders that may not be read. Its ``folders`` maps the labels
        of all participants with a folder to the labels of their sessions.

    Raises
    ------
    InputError
        If the folder is not a BIDS dataset, or `database_dir` holds the index of another one.
    """
    from bids import BIDSLayout, BIDSLayoutIndexer

    if not Path(bids_dir).is_dir():
        raise InputError(
            f"Found no folder {bids_dir}, needed a BIDS dataset. Correct the first argument."
        )
    bids_dir = Path(bids_dir).resolve()
    bad, loops, closed, state = survey(bids_dir)
    if "dataset_description.json" in bad:
        raise InputError(
            f"Found {bids_dir}/dataset_description.json, which {bad['dataset_description.json']}; "
            "needed the file that every BIDS dataset begins with. Mend it."
        )
    ignored = [re.compile(rf"^/{re.escape(path)}$") for path in (*bad, *loops, *closed)]
    ignored += [re.compile(rf"^/({'|'.join(NOT_RAW)})"), re.compile(r"^/\.")]
    mark = {"Root": str(bids_dir), "Validated": validate, "State": state}
    fresh = database_dir is None or not _is_current(Path(database_dir), mark)
    try:
        dataset = BIDSLayout(
            bids_dir,
            validate=validate,
            database_path=database_dir,
            reset_database=database_dir is not None and fresh,
            config=_configs(bids_dir),
            indexer=BIDSLayoutIndexer(validate=validate, ignore=ignored),
        )
    except Exception as fault:  # pybids raises many kinds on unexpected input
        raise InputError(
            f"Found {bids_dir}, which is no BIDS dataset: {' '.join(str(fault).split())} Needed a "
            "folder with dataset_description.json and sub-* folders. Correct the first argument, "
            "add the file, or name a folder of HCP or CC-359 by --derivatives hcp=PATH or "
            "cc359=PATH too."
        ) from fault
    if database_dir is not None and fresh:
        write_json(mark, Path(database_dir, MARK))
    dataset.bad_sidecars, dataset.closed = bad, closed
    dataset.folders = _list_folders(bids_dir)
    return dataset


def _list_folders(root):
    """List the folders of participants and of their sessions.

    pybids lists only participants who have a file with a valid name. It ignores folders that are
    empty (not yet fetched), or whose files have the name of another participant.
    """
    sessions_of = {}
    for path in sorted(root.glob("sub-*")):
        label = path.name.removeprefix("sub-")
        if LABEL.fullmatch(label) and path.is_dir():
            names = (
                folder.name.removeprefix("ses-") for folder in path.glob("ses-*") if folder.is_dir()
            )
            sessions_of[label] = {name for name in names if LABEL.fullmatch(name)}
    return sessions_of


def _configs(root):
    """Return the naming rules of pybids, limited to the part of a path within the dataset.

    The original rules search the whole path: below ``/data/sub-01/bids`` every file would belong
    to participant 01, and below ``/data/ses-2/bids`` to session 2.
    """
    folder = files("bids") / "layout" / "config"
    about = read_object(Path(root, "dataset_description.json"))
    kinds = ["bids", "derivatives"] if about.get("DatasetType") == "derivative" else ["bids"]
    rules = [json.loads((folder / f"{kind}.json").read_text()) for kind in kinds]
    begin = f"^{re.escape(str(root))}(?s:.*?)"
    for entity in (entity for rule in rules for entity in rule["entities"]):
        if "pattern" in entity:
            entity["pattern"] = f"{begin}(?:{entity['pattern']})"
    return rules


def _is_current(folder, mark):
    """Return whether a folder holds an up-to-date index of a dataset."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    try:
        stored = json.loads((folder / MARK).read_text())
        root = stored["Root"]
    except (OSError, ValueError, KeyError, TypeError):
        root = "a dataset that is not named there"
    if root != mark["Root"]:
        raise InputError(
            f"Found {folder} with the index of {root}, needed that of {mark['Root']}. Name another "
            "or an empty folder by --bids-database-dir; the index is made there."
        )
    if stored != mark:
        warnings.warn(
            f"{folder} keeps the index of an earlier state of {root}; it is made again.",
            stacklevel=2,
        )
    return stored == mark


def survey(root):
    """Check all raw files of a dataset.

    Parameters
    ----------
    root : path-like

    Returns
    -------
    bad : dict of str to str
        Unreadable JSON files, relative to the dataset, to the reason, which is written after the
        name of the file.
    loops : list of str
        Links to one of their own parent folders; they are not followed.
    closed : list of str
        Folders that may not be read, relative to the dataset.
    state : str
        Digest of names, sizes and times of change.
    """
    bad, loops, closed, state = {}, [], [], hashlib.sha256()
    for folder, below, names in os.walk(root, followlinks=True):
        inside = os.path.relpath(folder, root)
        at_top = inside == "."
        hidden = [name for name in below if name.startswith(".") or (at_top and name in NOT_RAW)]
        circles = [name for name in below if _leads_back(os.path.join(folder, name), root)]
        loops += [f"{inside}/{name}".removeprefix("./") for name in circles]
        below[:] = sorted(set(below) - set(hidden) - set(circles))
        barred = [name for name in below if not _may_enter(os.path.join(folder, name))]
        closed += [f"{inside}/{name}".removeprefix("./") for name in barred]
        below[:] = [name for name in below if name not in barred]
        state.update("".join(f"{inside}/{name} closed\n" for name in barred).encode())
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = os.path.join(folder, name)
            try:
                about = os.stat(path)
                state.update(f"{inside}/{name} {about.st_size} {about.st_mtime_ns}\n".encode())
            except OSError:  # a broken link
                state.update(f"{inside}/{name}\n".encode(errors="surrogateescape"))
            reason = _json_fault(path) if name.endswith(".json") else None
            if reason:
                bad[name if at_top else f"{inside}/{name}"] = reason
    return bad, loops, closed, state.hexdigest()


def _may_enter(folder):
    """Return whether the files of a folder may be listed and read."""
    return os.access(folder, os.R_OK | os.X_OK)


def _leads_back(path, root):
    """Return whether a link points to a parent folder, so that following it never ends.

    Parameters
    ----------
    path : str
        Below `root`, and reached through links perhaps.
    root : path-like
    """
    if not os.path.islink(path):
        return False
    target, above = os.path.realpath(path), os.path.dirname(path)
    while True:
        if os.path.realpath(above) == target:
            return True
        if os.path.relpath(above, root) == ".":
            return False
        above = os.path.dirname(above)


def _json_fault(path):
    """Return the reason why a JSON file cannot be read as an object, or None."""
    if os.path.islink(path) and not os.path.exists(path):
        return "is a link to a file that is not there (fetch it: datalad get, git annex get)"
    try:
        content = read_small(path, LARGEST_SIDECAR)
        if not content.strip():
            return "is empty"
        if content.startswith(b"\xef\xbb\xbf"):
            return "begins with a byte-order mark; save it as UTF-8 without one"
        values = json.loads(content.decode())
        if not isinstance(values, dict):
            return "holds no JSON object {...}"
        json.dumps(values, ensure_ascii=False).encode()  # a lone surrogate is not text
        targets = values.get("IntendedFor") or []
        targets = targets if isinstance(targets, list) else [targets]
        if not all(isinstance(target, str) for target in targets):
            return "holds an IntendedFor that is not text or a list of texts"
        mixed = sorted(NO_FIELDS & set(values))
        if mixed:
            return f"holds {mixed[0]!r}, which only the name of a file may tell"
    except UnicodeError:
        return "is not UTF-8 text; save it as UTF-8"
    except RecursionError:
        return "is nested too deeply"
    except OSError as fault:
        return f"cannot be read ({fault.strerror})"
    except ValueError as fault:
        return f"is no JSON ({fault})"
    return None


class PlainFolder:
    """A folder that is not a BIDS dataset: it has the methods of a layout and holds no scan.

    Parameters
    ----------
    root : path-like
    """

    bad_sidecars: dict = {}
    closed: list = []
    folders: dict = {}

    def __init__(self, root):
        self.root = str(Path(root).resolve())

    def get(self, **_):
        """Return an empty list."""
        return []

    get_subjects = get_sessions = get

    def get_metadata(self, _):
        """Know nothing."""
        return {}

    def get_entities(self, **_):
        """Know nothing."""
        return {}


def read_metadata(dataset, path):
    """Return the sidecar of a scan, inherited values included.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    path : path-like
        Relative to the dataset, or absolute.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If a sidecar of the scan cannot be read, since its values would be missing.
    """
    bad = bad_sidecars_of(dataset, path)
    if bad:
        name, reason = next(iter(bad.items()))
        raise InputError(
            f"Found {name}, the sidecar of {Path(path).name}, which {reason}; needed a JSON file. "
            "Mend it, or fetch it again."
        )
    return dataset.get_metadata(str(Path(dataset.root) / path))


def bad_sidecars_of(dataset, path):
    """Find the unreadable sidecars of a scan, by the inheritance principle of BIDS.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    path : path-like
        Of a scan, relative to the dataset or absolute.

    Returns
    -------
    dict of str to str
        Path relative to the dataset, to the reason.
    """
    scan = Path(os.path.relpath(Path(dataset.root) / path, dataset.root))
    entities, suffix, _ = parse_name(scan)

    def concerns(name):
        sidecar_entities, kind, _ = parse_name(name)
        above = Path(name).parent in scan.parents
        return above and kind == suffix and sidecar_entities.items() <= entities.items()

    bad = getattr(dataset, "bad_sidecars", {})
    return {name: reason for name, reason in bad.items() if concerns(name)}
