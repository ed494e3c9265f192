"""Fingerprints of files: detect changed content, mostly without reading the file."""

import os
import time

from bids_sexclf.disk import digest_file

SETTLED_NS = 2_000_000_000
"""Age of a change from which its time is reliable, ns: clocks are coarse, and may differ."""


def fingerprint(path: str | os.PathLike) -> dict:
    """Compute the fingerprint of a file.

    Parameters
    ----------
    path : path-like
        Links are followed.

    Returns
    -------
    dict
        size (bytes), mtime_ns and ctime_ns (times of the last change of content and of the last
        change of any kind, ns since 1970), sha256 (hexadecimal). For a file that changed within
        the last two seconds both times are None, because a further change could have the same
        time stamp; then only the digest counts.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    state = os.stat(
        path
    )  # taken before reading, so that a change meanwhile is detected the next time
    settled = time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS
    return {
        "size": state.st_size,
        "mtime_ns": state.st_mtime_ns if settled else None,
        "ctime_ns": state.st_ctime_ns if settled else None,
        "sha256": digest_file(path),
    }


def is_same(path: str | os.PathLike, recorded: dict) -> bool:
    """Return whether a file has the content of a fingerprint.

    A file of equal size with equal times is the same, and is not read. A file of another size is
    different. In all other cases (a file that was moved, copied, touched, or replaced) the digest
    decides.

    Parameters
    ----------
    path : path-like
    recorded : dict
        As `fingerprint` returns it.

    Returns
    -------
    bool
        False also where the file cannot be read, or `recorded` is no fingerprint.
    """
    try:
        state = os.stat(path)
        if state.st_size != recorded["size"]:
            return False
        if (state.st_mtime_ns, state.st_ctime_ns) == (recorded["mtime_ns"], recorded["ctime_ns"]):
            return True
        return digest_file(path) == recorded["sha256"]
    except (OSError, KeyError, TypeError):
        return False


def renew(path, recorded):
    """Compute the fingerprint of a file, and read it only if it may have changed.

    Parameters
    ----------
    path : path-like
    recorded : dict or None
        An earlier fingerprint. It is returned where size and times are those of the file.

    Returns
    -------
    dict
        As `fingerprint` returns it.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    state = os.stat(path)
    times = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "ctime_ns": state.st_ctime_ns}
    try:
        if all(recorded[key] == value for key, value in times.items()) and recorded["sha256"]:
            return recorded
    except (KeyError, TypeError):
        pass
    return fingerprint(path)
