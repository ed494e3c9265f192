"""Write files so that incomplete ones never remain, also when several jobs share a folder."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from bids_sexclf.errors import InputError

PART = ".part-"
"""Prefix of the name of a file while it is being written."""

FORGOTTEN_S = 86_400
"""Age from which an incomplete file may be removed on a file system without locks, s."""


@contextmanager
def whole(path):
    """Provide a temporary name beside `path`, and rename it at the end, so that `path` is complete.

    Parameters
    ----------
    path : path-like
        Where the finished file shall lie; missing folders are made.

    Yields
    ------
    pathlib.Path
        The name to write to. It keeps the suffixes of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PART, suffix="-" + path.name)
    try:
        with suppress(OSError):  # a file system without locks; see `remove_parts`
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.chmod(name, 0o666 & ~_umask())
        yield Path(name)
        os.replace(name, path)
    except BaseException as fault:
        Path(name).unlink(missing_ok=True)
        if isinstance(fault, OSError) and fault.filename is None:
            fault.filename = str(path)  # a write that fails names no file
        raise
    finally:
        os.close(handle)


def remove_parts(paths):
    """Remove incomplete files of killed processes, but not files that are being written.

    A process locks the file that it writes; the operating system releases the lock when the
    process ends.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        Those that are no parts are left alone.
    """
    for path in paths:
        if path.name.startswith(PART):
            with suppress(OSError):  # it was already removed, or cannot be removed: no harm
                _remove_part(path)


def _remove_part(path):
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError as fault:
        written = fault.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)
        if not written and time.time() - os.fstat(handle).st_mtime > FORGOTTEN_S:
            path.unlink()
    finally:
        os.close(handle)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(content: object, path: str | os.PathLike) -> None:
    """Write a JSON file; an incomplete file never remains.

    Parameters
    ----------
    content : dict or list
    path : path-like
    """
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_object(path: str | os.PathLike) -> dict:
    """Read a JSON object; an empty one where the file is missing or damaged."""
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_small(path: str | os.PathLike, largest: int = 2**30) -> bytes:
    """Return the bytes of a file that should be small, such as a table or a list of choices.

    Parameters
    ----------
    path : path-like
    largest : int
        Bytes.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is a pipe or a device, which may have no end, or holds more than `largest` bytes.
    """
    about = os.stat(path)
    if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
        raise ValueError("it is a pipe or a device, and no ordinary file")
    if about.st_size > largest:
        raise ValueError(f"it has more than {largest:_} bytes".replace("_", " "))
    return Path(path).read_bytes()


def digest_file(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal; it is read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def lies_in(inner: str | os.PathLike, outer: str | os.PathLike) -> bool:
    """Return whether a path is a folder or lies below it.

    Folders are compared by device and inode, so that links, other spellings and bind mounts of one
    folder count as the same.

    Parameters
    ----------
    inner : path-like
        It need not exist.
    outer : path-like

    Returns
    -------
    bool
    """
    inner, outer = Path(inner).resolve(), Path(outer).resolve()
    return any(_is_same(path, outer) for path in (inner, *inner.parents))


def _is_same(first, second):
    """Return whether two resolved paths name one file; both need not exist."""
    try:
        return first == second or os.path.samefile(first, second)
    except OSError:  # one of them does not exist or is not accessible
        return False


def remove_folder(folder: str | os.PathLike, within: str | os.PathLike) -> None:
    """Remove a folder of the program. Only this function may remove whole folders.

    Parameters
    ----------
    folder : path-like
        A missing folder is no error.
    within : path-like
        The folder must lie strictly below this one, and no link may lead out of it.

    Raises
    ------
    InputError
        If the folder is not inside `within`. Then nothing is removed.
    """
    folder, within = Path(folder), Path(within).resolve()
    real = folder.resolve()
    if folder.is_symlink() or real == within or within not in real.parents:
        raise InputError(
            f"Found {folder} (in truth {real}) to be removed, needed a folder below {within}. "
            "Nothing was removed. Remove it by hand if it is not needed."
        )
    shutil.rmtree(real, ignore_errors=True)


SOCKET_ROOM = 60
"""Longest path of a folder for sockets of libraries, whose names are limited to 107 bytes."""


@contextmanager
def temporary_files(folder, sockets=False):
    """Set the folder for temporary files of this process and of those it starts meanwhile.

    Parameters
    ----------
    folder : path-like
        Made where it is missing.
    sockets : bool
        Whether processes shall reach each other through it: a long path then goes by a short
        name. Where a socket does not fit, torch's readers of volumes wait for ever.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    used = _shorten(folder) if sockets else str(folder)
    variables = {
        "TMPDIR": used,
        "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", f"{used}/matplotlib"),
    }
    before, place = {name: os.environ.get(name) for name in variables}, tempfile.tempdir
    os.environ |= variables
    tempfile.tempdir = used
    try:
        yield
    finally:
        tempfile.tempdir = place
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _shorten(folder):
    """Return a short link to a folder, valid until this process ends, or the folder itself."""
    if _has_room(folder):
        return str(folder)
    from multiprocessing.util import Finalize

    for place in (tempfile.gettempdir(), "/tmp"):  # noqa: S108
        try:
            home = tempfile.mkdtemp(prefix="bids", dir=place)
        except OSError:  # a container may have no other folder that can be written to
            continue
        # After multiprocessing has emptied its own folder (-100), which may lie behind this name.
        Finalize(None, shutil.rmtree, (home, True), exitpriority=-200)
        name = os.path.join(home, "tmp")
        if _has_room(name):
            os.symlink(folder, name)
            return name
    return str(folder)


def _has_room(folder):
    return len(os.fsencode(folder)) <= SOCKET_ROOM
