"""Explain faults of the environment: what was found, what was needed, what to do.

A full disk, a missing permission, too little memory or a damaged file can occur in every line that
reads or writes. Only this module writes messages about them.
"""

import errno
import os
import re
import traceback
from pathlib import Path
from typing import NamedTuple

from bids_sexclf.errors import NO_MEMORY, REFUSALS, SYSTEM, InputError

PACKAGE = Path(__file__).parent

AGAIN = "Run the same command again: what is finished is kept."


class Explanation(NamedTuple):
    """The message about a fault.

    Attributes
    ----------
    message : str
        What was found, what was needed, what to do.
    exit_code : int
    """

    message: str
    exit_code: int


NO_ROOM = (
    "Found no room to write {path} ({cause}), needed free space on its disk, a larger quota, or a "
    "higher file size limit. Make room, or give another output or work folder. " + AGAIN
)

SYSTEM_WORDS = {
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): NO_ROOM,
    (errno.EACCES, errno.EPERM, errno.EROFS): (
        "Found that {path} may not be read or written ({cause}), needed the permission. Change it "
        "(chmod, or a mount that can be written to), or give another folder. " + AGAIN
    ),
    (errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY): (
        "Found {path}, which is a file where a folder is needed ({cause}); needed the other. Move "
        "or rename it, or give another folder. " + AGAIN
    ),
    (errno.EISDIR,): (
        "Found {path}, which is a folder where a file is needed ({cause}); needed the other. Move "
        "or rename it, or give another path. " + AGAIN
    ),
    (errno.ENOENT, errno.ENXIO, errno.ENODEV): (
        "Found no {path}, needed it ({cause}). Correct the path; if it was removed or moved while "
        "the program ran, put it back. " + AGAIN
    ),
    (errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ): (
        "Found {path}, which no file can be called here ({cause}); needed a plain and shorter path "
        "without links that lead in a circle. Give another folder or name."
    ),
    (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOLCK): (
        "Found too many open files or processes at {path} ({cause}), needed fewer. Use fewer "
        "processes by --nprocs, or raise the limits (ulimit -n, ulimit -u). " + AGAIN
    ),
    (
        errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.ETXTBSY, errno.EREMOTEIO,
        errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOTCONN,
    ): (
        "Found that {path} could not be reached ({cause}), needed a disk that answers. Look after "
        "the disk or the network folder. " + AGAIN
    ),
}  # fmt: skip
"""Messages of the kinds of errors of the operating system."""

PIPE_WORDS = (
    "Found that the program which reads this output, or another process of this run, has ended "
    "({cause}); needed it to the end. " + AGAIN + " To watch only the beginning, send the output "
    "to a file."
)

FULL_WORDS = re.compile(
    r"No space left|quota exceeded|File too large|database or disk is full|os error (?:28|27|122)\b"
    r"|errno = (?:28|27|122)\b",
    re.I,
)
"""Texts by which libraries report ENOSPC, EDQUOT and EFBIG in their own errors."""

MEMORY_WORDS = re.compile(r"can't allocate memory|out of memory|Cannot allocate memory", re.I)

POOLS = ("BrokenProcessPool", "ProcessRaisedException", "ProcessExitedException")
"""Errors raised after a worker was killed, as systems do when memory is used up."""

DAMAGED = {
    "JSONDecodeError": "JSON",
    "TOMLDecodeError": "TOML",
    "YAMLError": "YAML",
    "UnicodeDecodeError": "UTF-8 text",
    "ParserError": "table (TSV)",
    "EmptyDataError": "table (TSV)",
    "ParseError": "XML",
    "BadGzipFile": "gzip",
    "ImageFileError": "NIfTI",
    "HeaderDataError": "NIfTI",
    "SafetensorError": "safetensors",
    "DatabaseError": "SQLite",
    "EOFError": "whole",
    "RecursionError": "text",  # thousands of nested brackets
    "error": "gzip",  # of zlib
}
"""Names of errors that readers of files raise, to the kind of file that was needed."""


def explain(fault):
    """Return the message about a fault of the environment.

    Parameters
    ----------
    fault : BaseException

    Returns
    -------
    Explanation or None
        None where the fault is in the program.
    """
    while fault is not None:
        explained = _explain_one(fault)
        if explained is not None:
            return explained
        fault = (
            fault.__cause__
        )  # a library may have wrapped a fault of the disk in an exception of its own
    return None


def _explain_one(fault):
    if isinstance(fault, REFUSALS):
        return Explanation(f"{type(fault).__name__}: {fault}", fault.exit_code)
    kinds = {kind.__name__ for kind in type(fault).__mro__}
    if isinstance(fault, MemoryError) or kinds & {"OutOfMemoryError", *POOLS}:
        return _memory(fault)
    if isinstance(fault, OSError) and fault.errno is not None:
        return _system(fault)
    if FULL_WORDS.search(str(fault)):
        path = name_file(fault) or "a file"
        return Explanation(f"OSError: {NO_ROOM.format(path=path, cause=_short(fault))}", SYSTEM)
    if isinstance(fault, RuntimeError) and MEMORY_WORDS.search(str(fault)):
        return _memory(fault)
    path = name_file(fault)
    kind = next((DAMAGED[name] for name in DAMAGED if name in kinds), None)
    if path is None or kind is None or (kind == "gzip" and not _of_zlib(fault)):
        return None
    return Explanation(
        f"InputError: Found {path}, which cannot be read ({_short(fault)}); needed a {kind} file. "
        "Where bids_sexclf has made the file, remove it and run the same command again; else "
        "mend it, or copy it again from its source.",
        InputError.exit_code,
    )


def _of_zlib(fault):
    return type(fault).__name__ == "BadGzipFile" or type(fault).__module__ == "zlib"


def _memory(fault):
    return Explanation(
        f"MemoryError: Found too little memory ({_short(fault)}), needed more. Use fewer processes "
        "by --nprocs, plan for less by --mem, or use a machine with more memory. " + AGAIN,
        NO_MEMORY,
    )


def _system(fault):
    """Return the message about an error of the operating system, or None."""
    if fault.errno == errno.ENOMEM:
        return _memory(fault)
    words = next((SYSTEM_WORDS[kind] for kind in SYSTEM_WORDS if fault.errno in kind), None)
    if words is None and fault.errno in (errno.EPIPE, errno.ECONNRESET) and not fault.filename:
        words = PIPE_WORDS
    if words is None:
        return None
    path = name_file(fault)
    if words is NO_ROOM and isinstance(fault.filename2, (str, os.PathLike)):
        path = _final_name(fault.filename2)  # of a copy: its destination
    if fault.errno in (errno.ENOTDIR, errno.EEXIST):
        path = _in_the_way(path)
    message = words.format(path=path or "a file", cause=os.strerror(fault.errno))
    return Explanation(f"{type(fault).__name__}: {message}", SYSTEM)


def _in_the_way(path):
    """Return the first part of a path that is a file instead of a folder, or the path itself."""
    if path is None:
        return None
    for part in (*reversed(Path(path).parents), Path(path)):
        if os.path.lexists(part) and not part.is_dir():
            return part
    return path


def _short(fault):
    words = " ".join(str(fault).split())
    return words[:200] or type(fault).__name__


def name_file(fault):
    """Find the file that a fault concerns.

    Parameters
    ----------
    fault : BaseException

    Returns
    -------
    str or None
        The file named in the error; else the last path among the variables of the innermost
        function of this package.
    """
    named = getattr(fault, "filename", None)
    if isinstance(named, (str, bytes, os.PathLike)):
        return _final_name(os.fsdecode(named))
    for frame, _ in reversed(list(traceback.walk_tb(fault.__traceback__))):
        if not Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
            continue
        paths = [value for value in frame.f_locals.values() if isinstance(value, os.PathLike)]
        if paths:
            return _final_name(str(paths[-1]))
    return None


def _final_name(path):
    """Return the final name of a file that is written under a temporary name."""
    folder, name = os.path.split(path)
    return os.path.join(folder, re.sub(r"^\.part-[a-z0-9_]{8}-", "", name))
