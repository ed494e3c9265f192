"""Write a crash report for the developers, without data about participants."""

import os
import platform
import re
import tempfile
import time
import traceback
from functools import cache
from pathlib import Path

from bids_sexclf import __version__

PACKAGE = Path(__file__).parent
ADDRESS = "the issue page of bids_sexclf"
HIDDEN = "<hidden>"
LABELLED = ("--participant-label", "--participant_label", "--session-label")


def write_crash(fault, arguments, out, versions):
    """Write a crash report, to be sent to the developers.

    Parameters
    ----------
    fault : BaseException
    arguments : list of str
        Of the command line.
    out : path-like
        The output folder.
    versions : dict of str to str
        Of the tools.

    Returns
    -------
    pathlib.Path or None
        The file, in ``logs`` of the output folder, or in the folder for temporary files if that is
        not writable; None if neither is writable.
    """
    text = describe(fault, arguments, versions)
    name = f"crash-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    for folder in (Path(out) / "logs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return path
        except OSError:
            continue
    return None


def describe(fault, arguments, versions):
    """Return the text of a crash report, without data about participants.

    Parameters
    ----------
    fault : BaseException
    arguments : list of str
    versions : dict of str to str

    Returns
    -------
    str
    """
    lines = [
        f"bids_sexclf {__version__}",
        f"Python {platform.python_version()} on {platform.platform()}",
        *(f"{name} {number}" for name, number in versions.items()),
        f"command: {' '.join(_hide_labels(arguments))}",
        "",
        *_trace(fault),
    ]
    return "\n".join(lines) + "\n"


def _hide_labels(arguments):
    """Return a command line with the labels of participants and sessions hidden."""
    shown, hiding = [], False
    for word in map(str, arguments):
        flag, is_joined, _ = word.partition("=")
        if word.startswith("-"):
            hiding = flag in LABELLED
            shown.append(f"{flag}={HIDDEN}" if hiding and is_joined else _hide_ids(word))
        else:
            shown.append(HIDDEN if hiding else _hide_ids(word))
    return shown


def _trace(fault):
    """Return the lines of a traceback: the positions in the code, and the message without data."""
    lines = "".join(traceback.format_exception(fault)).splitlines()
    return [
        _hide_ids(line if re.match(r'\s*(\| )?\s*File "', line) else _hide_quoted(line))
        for line in lines
    ]


def _hide_ids(text):
    """Hide labels of participants and sessions, and the name of the home folder."""
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(home, "~")
    return re.sub(r"\b(sub|ses)([-_])[A-Za-z0-9]+", rf"\1\2{HIDDEN}", text)


def _hide_quoted(line):
    """Hide quoted parts of a message, unless they occur in the code of the program."""
    return re.sub(
        r"""(['"])((?:(?!\1).)+)\1""",
        lambda match: match[0] if _is_ours(match[0]) else f"{match[1]}{HIDDEN}{match[1]}",
        line,
    )


def _is_ours(quoted):
    """Return whether the quoted words occur, also quoted, in the code of the program."""
    return f"'{quoted[1:-1]}'" in _own_text() or f'"{quoted[1:-1]}"' in _own_text()


@cache
def _own_text():
    paths = [*PACKAGE.rglob("*.py"), *PACKAGE.glob("data/**/*.json")]
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(paths))
