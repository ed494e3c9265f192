"""Notes of the files that a stage has read and written, and the check that they are unchanged."""

import json
import os
import time

from bids_sexclf.fingerprints import SETTLED_NS, fingerprint, is_same

_compared: dict = {}
"""What the files of this process were compared with: state of the file and digest to the answer."""


def take(files):
    """Compute the fingerprints of files.

    Parameters
    ----------
    files : dict of str to path-like
        Label to file.

    Returns
    -------
    dict of str to dict or None
        Label to fingerprint; None if the file cannot be read.
    """
    return {label: _take(path) for label, path in files.items()}


def _take(path):
    try:
        return fingerprint(path)
    except OSError:
        return None


def list_changed(files, recorded):
    """List the files that differ from their fingerprints.

    Parameters
    ----------
    files : dict of str to path-like
        Label to file.
    recorded : dict of str to dict or None
        As `take` has given it.

    Returns
    -------
    list of str
        Labels of files that are new, missing or changed.
    """
    common = [label for label in files if label in recorded]
    changed = [label for label in common if not _is_same(files[label], recorded[label])]
    return [*changed, *(label for label in {**recorded, **files} if label not in common)]


def _is_same(path, recorded):
    """Compare a file with a fingerprint; an unchanged file is compared once per process."""
    try:
        state = os.stat(path)
    except OSError:
        return recorded is None
    if not isinstance(recorded, dict):
        return recorded is None and _take(path) is None
    changed = max(state.st_mtime_ns, state.st_ctime_ns)
    key = (state.st_dev, state.st_ino, state.st_size, changed, recorded.get("sha256"))
    if key not in _compared:
        is_equal = is_same(path, recorded)
        if time.time_ns() - changed < SETTLED_NS:
            return is_equal
        _compared[key] = is_equal
    return _compared[key]


def read_note(path):
    """Read a note, which is a JSON object.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict or None
        None if it is missing or damaged; its content is then made again.
    """
    try:
        with open(path, encoding="utf-8") as file:
            note = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return note if isinstance(note, dict) else None


def read_fingerprints(note, key):
    """Read the fingerprints of a note.

    Parameters
    ----------
    note : dict or None
        As `read_note` returns it.
    key : str

    Returns
    -------
    dict of str to dict or None
        Empty if the note has none.
    """
    recorded = (note or {}).get(key)
    return recorded if isinstance(recorded, dict) else {}


def name_some(labels, limit=3):
    """Return the names of a few of many files, and the number of the others.

    Parameters
    ----------
    labels : list of str
    limit : int

    Returns
    -------
    str

    Examples
    --------
    >>> name_some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    n_further = len(labels) - limit
    return ", ".join(labels[:limit]) + (f" and {n_further} more" if n_further > 0 else "")
