"""Locks between processes: a process locks a file while it works, and others can see which one."""

import errno
import fcntl
import json
import os
import resource
import shlex
import socket
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from bids_sexclf.errors import BusyError

UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
"""Errors of a file system without locks."""

_open_files: set = set()
"""Descriptors of the locks that this process holds."""

_told: set = set()
"""Folders without locks that were already reported."""


@contextmanager
def hold(path, activity, wait=True, tell=None):
    """Hold a lock while the block runs.

    The operating system releases the lock when its holder ends, even if it is killed. The lock
    file is never removed, since two processes could then hold one lock.

    Parameters
    ----------
    path : path-like
        The lock file. It is made where it is missing, with its folder.
    activity : str
        What happens while the lock is held, e.g. "sub-001 is being prepared". A process that
        finds the lock held tells it with the holder's process and machine.
    wait : bool
        Whether to wait until the holder has ended.
    tell : callable, optional
        Called once with a sentence that names the holder, before the wait starts.

    Raises
    ------
    BusyError
        If another process holds the lock, and `wait` is false.
    """
    handle = _open(Path(path))
    _open_files.add(handle)
    try:
        _take(handle, path, activity, wait, tell)
        _write(handle, _describe(activity))
        yield
        _write(handle, None)
    finally:
        _open_files.discard(handle)
        os.close(handle)


def _open(path):
    """Open a lock file; programs that this process starts do not inherit the descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except PermissionError:  # another user's file; reading it is enough for a lock
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as fault:
        if fault.errno != errno.EMFILE:
            raise
    # A run holds a lock for each participant, possibly thousands.
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return os.open(path, flags, 0o666)


def _take(handle, path, activity, wait, tell):
    """Take the lock of an open file, or raise the error that names its holder."""
    if _flock(handle, path, fcntl.LOCK_EX | fcntl.LOCK_NB):
        return
    holder = _tell_holder(handle, activity)
    if not wait:
        raise BusyError(
            f"Found that {holder}; needed this alone. Wait until that process has ended, then "
            "run the same command again."
        )
    if tell:
        tell(f"{holder}; waiting until it has ended")
    _flock(handle, path, fcntl.LOCK_EX)


def _flock(handle, path, operation):
    """Return whether the lock was taken; on a file system without locks it counts as taken."""
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        return False
    except OSError as fault:
        if fault.errno not in UNSUPPORTED:
            raise
        folder = Path(path).parent
        if folder not in _told:
            _told.add(folder)
            warnings.warn(
                f"The file system of {folder} has no locks ({fault.strerror}). Do not start two "
                "runs that write to the same folder at the same time.",
                stacklevel=5,
            )
    return True


def _describe(activity):
    """Return a description of this process."""
    return {
        "what": activity,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": shlex.join(sys.argv),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _write(handle, description):
    """Write the description of the holder; on a full disk, the lock holds without it."""
    try:
        os.ftruncate(handle, 0)
        if description:
            os.pwrite(handle, json.dumps(description).encode(), 0)
    except OSError:
        pass


def _tell_holder(handle, activity):
    """Return the holder of a lock as a sentence without its full stop."""
    for _ in range(10):
        try:
            holder = json.loads(os.pread(handle, 65536, 0))
            since = holder["since"]
            moment = since[11:16] if since[:10] == time.strftime("%Y-%m-%d") else since[:16]
            moment = moment.replace("T", " ")
            return f"{holder['what']} by process {holder['pid']} on {holder['host']} since {moment}"
        except (ValueError, KeyError, TypeError):
            time.sleep(0.02)  # the holder has taken the lock, but not yet written its description
    return f"{activity} by another process"


def _close_in_child():
    """Close the locks of the parent in a forked child, which may live longer than the parent."""
    for handle in _open_files:
        os.close(handle)
    _open_files.clear()


os.register_at_fork(after_in_child=_close_in_child)
