"""Write what the developers need to mend a fault of the program, and nothing about participants."""

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
    """Write a file that describes a fault, to be sent to the developers.

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
        The file, in ``logs`` of the output folder, or in the folder for temporary files where
        that cannot be written to; None where neither can.
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
    """Describe a fault, without anything about participants.

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
    """Give a command line without labels of participants and sessions."""
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
    """List the lines of a traceback: where the fault was, and its message without data."""
    lines = "".join(traceback.format_exception(fault)).splitlines()
    return [
        _hide_ids(line if re.match(r'\s*(\| )?\s*File "', line) else _hide_quoted(line))
        for line in lines
    ]


def _hide_ids(text):
    """Hide labels of participants and sessions, and whose home folder it is."""
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(home, "~")
    return re.sub(r"\b(sub|ses)([-_])[A-Za-z0-9]+", rf"\1\2{HIDDEN}", text)


def _hide_quoted(line):
    """Hide what a message quotes, unless it stands in the program's own text."""
    return re.sub(
        r"""(['"])((?:(?!\1).)+)\1""",
        lambda match: match[0] if _is_ours(match[0]) else f"{match[1]}{HIDDEN}{match[1]}",
        line,
    )


def _is_ours(quoted):
    """Return whether the quoted words stand in the program's own text, quoted too."""
    return f"'{quoted[1:-1]}'" in _own_text() or f'"{quoted[1:-1]}"' in _own_text()


@cache
def _own_text():
    paths = [*PACKAGE.rglob("*.py"), *PACKAGE.glob("data/**/*.json")]
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(paths))
