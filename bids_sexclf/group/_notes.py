"""Notes of what was read and written, and whether the same files still lie there."""

import json
import os
import time

from bids_sexclf.fingerprints import SETTLED_NS, fingerprint, is_same

_compared: dict = {}
"""What the files of this process were compared with: state of the file and digest to the answer."""


def take(files):
    """Take the fingerprints of files.

    Parameters
    ----------
    files : dict of str to path-like
        Label to file.

    Returns
    -------
    dict of str to dict or None
        Label to fingerprint; None where there is no file that can be read.
    """
    return {label: _take(path) for label, path in files.items()}


def _take(path):
    try:
        return fingerprint(path)
    except OSError:
        return None


def list_changed(files, known):
    """List the files that differ from their fingerprints.

    Parameters
    ----------
    files : dict of str to path-like
        Label to file.
    known : dict of str to dict or None
        As `take` has given it.

    Returns
    -------
    list of str
        Labels of files that are new, are gone, or have another content.
    """
    both = [label for label in files if label in known]
    changed = [label for label in both if not _is_same(files[label], known[label])]
    return [*changed, *(label for label in {**known, **files} if label not in both)]


def _is_same(path, known):
    """Compare a file with a fingerprint; a file that rests is compared once per process."""
    try:
        state = os.stat(path)
    except OSError:
        return known is None
    if not isinstance(known, dict):
        return known is None and _take(path) is None
    changed = max(state.st_mtime_ns, state.st_ctime_ns)
    key = (state.st_dev, state.st_ino, state.st_size, changed, known.get("sha256"))
    if key not in _compared:
        same = is_same(path, known)
        if time.time_ns() - changed < SETTLED_NS:
            return same
        _compared[key] = same
    return _compared[key]


def read_note(path):
    """Read a note, which is a JSON object.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict or None
        None where there is none, or it is damaged: what it was about is then made again.
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
        As `read_note` gives it.
    key : str

    Returns
    -------
    dict of str to dict or None
        Empty where the note has none.
    """
    known = (note or {}).get(key)
    return known if isinstance(known, dict) else {}


def name_some(labels, most=3):
    """Name a few of many files.

    Parameters
    ----------
    labels : list of str
    most : int

    Returns
    -------
    str

    Examples
    --------
    >>> name_some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = len(labels) - most
    return ", ".join(labels[:most]) + (f" and {more} more" if more > 0 else "")
