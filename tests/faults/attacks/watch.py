"""Note every write of a run below a folder, in all of its processes; let writes fail from one on.

An audit hook of Python sees each file that is opened to write, made, moved or linked. What a
library writes in another language it does not see. All processes append to one log, records of
equal length, so that the place of a record is the number of its write.
"""

import errno
import hashlib
import json
import os
import sys
from pathlib import Path

EVENTS = ("open", "os.mkdir", "os.rename", "os.truncate", "os.link", "os.symlink", "os.putxattr")
VARIABLE = "ATTACKED_WRITES"
RECORD = 256
"""Bytes of a record of the log."""
HERE = Path(__file__).parent
CODE = ("bids_sexclf", "nipype")
"""Packages whose lines tell two sites of writes apart."""

active = [False]


def begin(place, log, first=None, number=errno.ENOSPC):
    """Watch this process.

    Parameters
    ----------
    place : str
        Folder below which writes count.
    log : str
        File with a record of each write: a digest of the lines that led to it, what was done, and
        the path below the folder.
    first : int, optional
        Number of the first write that fails, as do all after it.
    number : int
        Of the error of the operating system.
    """
    log = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    active[0] = True

    def hook(event, given):
        if not active[0] or event not in EVENTS or not _writes(event, given):
            return
        path = given[1] if event == "os.rename" else given[0]
        if isinstance(path, int) or not os.fsdecode(path).startswith(place):
            return
        path = os.fsdecode(path)
        record = f"{_site()} {event} {os.path.relpath(path, place)}".encode()[: RECORD - 1]
        os.write(log, record.ljust(RECORD - 1) + b"\n")
        index = os.lseek(log, 0, os.SEEK_CUR) // RECORD - 1
        if first is not None and index >= first:
            raise OSError(number, os.strerror(number), path)

    sys.addaudithook(hook)


def end():
    """Watch no more; a hook cannot be taken away again, so that it is switched off."""
    active[0] = False


def begin_as_told():
    """Watch this process where an environment variable says so."""
    if os.environ.get(VARIABLE):
        begin(**json.loads(os.environ[VARIABLE]))


def tell_children(**choices):
    """Let the processes that this one starts be watched too: choices of `begin`."""
    os.environ[VARIABLE] = json.dumps(choices)
    paths = [str(HERE / "hook"), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def read_log(path):
    """List the writes of a log: pairs of site and words."""
    if not Path(path).exists():
        return []
    lines = Path(path).read_bytes().decode(errors="replace").splitlines()
    return [tuple(line.rstrip().split(" ", 1)) for line in lines]


def first_of_each_site(writes):
    """Give the number of the first write of each site.

    Examples
    --------
    >>> first_of_each_site([("a", "open x"), ("b", "open y"), ("a", "open z")])
    [0, 1]
    """
    seen = {}
    for index, (site, _) in enumerate(writes):
        seen.setdefault(site, index)
    return list(seen.values())


def _writes(event, given):
    if event != "open":
        return True
    _, mode, flags = given
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _site():
    """Give a digest of the lines of the program that lead to a write."""
    frame, lines = sys._getframe(2), []
    while frame is not None:
        name = frame.f_globals.get("__name__") or ""
        if name.partition(".")[0] in CODE:
            lines.append(f"{name}:{frame.f_lineno}")
        frame = frame.f_back
    return hashlib.sha256(" ".join(lines).encode()).hexdigest()[:12]
