"""Fingerprints of files: whether a file still has the content that it had, told cheaply."""

import hashlib
import os
import time
from pathlib import Path

SETTLED_NS = 2_000_000_000
"""Age of a change from which its time is believed, ns: clocks tick coarsely, and may differ."""


def fingerprint(path):
    """Take the fingerprint of a file.

    Parameters
    ----------
    path : path-like
        Links are followed.

    Returns
    -------
    dict
        size (bytes), mtime_ns and ctime_ns (times of the last change of content and of the last
        change of any kind, ns since 1970), sha256 (hexadecimal). Of a file that changed within
        the last two seconds both times are None, because a further change may fall on the same
        tick of the clock; then only the digest can tell.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    state = os.stat(path)  # before the reading: a change meanwhile is then seen the next time
    settled = time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS
    return {
        "size": state.st_size,
        "mtime_ns": state.st_mtime_ns if settled else None,
        "ctime_ns": state.st_ctime_ns if settled else None,
        "sha256": _digest(path),
    }


def is_same(path, known):
    """Return whether a file has the content of a fingerprint.

    A file of equal size whose two times are equal is the same, and is not read. A file of another
    size is another. In all other cases (a file that was moved, copied, touched, or replaced) the
    digest decides.

    Parameters
    ----------
    path : path-like
    known : dict
        As `fingerprint` gives it.

    Returns
    -------
    bool
        False also where the file cannot be read, or `known` is no fingerprint.
    """
    try:
        state = os.stat(path)
        if state.st_size != known["size"]:
            return False
        if (state.st_mtime_ns, state.st_ctime_ns) == (known["mtime_ns"], known["ctime_ns"]):
            return True
        return _digest(path) == known["sha256"]
    except (OSError, KeyError, TypeError):
        return False


def renew(path, known):
    """Take the fingerprint of a file, and read it only where it may have changed.

    Parameters
    ----------
    path : path-like
    known : dict or None
        An earlier fingerprint. It is returned where size and times are those of the file.

    Returns
    -------
    dict
        As `fingerprint` gives it.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    state = os.stat(path)
    times = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "ctime_ns": state.st_ctime_ns}
    try:
        if all(known[key] == value for key, value in times.items()) and known["sha256"]:
            return known
    except (KeyError, TypeError):
        pass
    return fingerprint(path)


def _digest(path):
    """Return the SHA-256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
