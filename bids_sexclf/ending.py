"""End a command early: write the reason, and return the exit code."""

import errno
import os
import sys
import traceback
from contextlib import suppress

from bids_sexclf.crashes import describe, write_crash
from bids_sexclf.errors import OUR_FAULT, SYSTEM
from bids_sexclf.faults import AGAIN, Explanation, explain
from bids_sexclf.layout import versions
from bids_sexclf.stopping import Stopped
from bids_sexclf.texts import clean

MOST = 8000
"""Longest message, characters."""


def end_with(fault, arguments, out, verbose=0, program="bids-sexclf"):
    """Write the reason why a command ends to the standard error.

    Parameters
    ----------
    fault : Exception or KeyboardInterrupt
    arguments : list of str
        Of the command line.
    out : path-like
        The output folder, where a fault of the program is described.
    verbose : int, optional
        Show the traceback too.
    program : str
        Name of the command.

    Returns
    -------
    int
        The exit code.
    """
    if verbose:
        _say("".join(traceback.format_exception(fault)))
    explained = _explain_stop(fault) or _explain_output(fault) or explain(fault)
    explained = explained or _tell_crash(fault, arguments, out)
    _say(f"{program}: {clean(explained.message, MOST)}\n")
    _drop_what_cannot_be_written()
    return explained.exit_code


def open_streams():
    """Replace closed output streams by the null device, since cron may start without them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _explain_stop(fault):
    if not isinstance(fault, KeyboardInterrupt):
        return None
    stop = fault if isinstance(fault, Stopped) else Stopped()
    return Explanation(str(stop), stop.exit_code)


def _explain_output(fault):
    """Explain a fault of writing to the standard output."""
    if not isinstance(fault, OSError) or fault.filename is not None:
        return None
    if fault.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return None
    try:
        sys.stdout.write("\n")  # one more line shows whether it is this disk that is full
        sys.stdout.flush()
    except OSError:
        return Explanation(
            f"OSError: Found no room for what this command prints ({os.strerror(fault.errno)}), "
            "needed room on the disk that its output is sent to. Make room there, or send it "
            f"elsewhere. {AGAIN}",
            SYSTEM,
        )
    except ValueError:  # it was closed
        return None
    return None


def _tell_crash(fault, arguments, out):
    """Explain a fault of the program, and write a crash report."""
    words, numbers = [str(word) for word in arguments], versions()
    path = write_crash(fault, words, out, numbers)
    if path is None:
        _say(describe(fault, words, numbers))
    description = f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
    return Explanation(
        f"Found a fault of bids_sexclf itself ({description}), needed the program to go on. It is "
        f"not your fault: please send {path or 'the lines above'} to the developers. It holds "
        "versions, the command line and the position of the fault, and no data of participants. "
        "What is finished is kept.",
        OUR_FAULT,
    )


def _say(text):
    """Write to the standard error; ignore a closed terminal."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _drop_what_cannot_be_written():
    """Drop unwritten output, so that Python exits cleanly if it cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
