"""All errors of the program, with their exit codes.

A message has three parts: what was found, what was needed, what to do.
Only ``cli.py`` catches these, prints them and exits.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Data, a table or a setting cannot be used."""

    exit_code = 65


class GridError(ValueError):
    """Volumes do not lie on one grid (shape or affine)."""

    exit_code = 66


class LeakageError(ValueError):
    """Test participants would take part in training."""

    exit_code = 67


class ToolError(RuntimeError):
    """An external tool or resource is missing or has failed."""

    exit_code = 69


class BusyError(RuntimeError):
    """Another process works on the same thing."""

    exit_code = 75


PARTIAL = 3
"""Exit code of a run that finished, but left participants out."""

USAGE = 64
"""Exit code for unknown or contradictory arguments."""

OUR_FAULT = 70
"""Exit code for a fault of the program itself; a file in ``logs`` describes it."""

NO_MEMORY = 71
"""Exit code if memory is used up."""

SYSTEM = 74
"""Exit code if a disk is full, not accessible, or does not respond."""


class ShortageError(RuntimeError):
    """Memory has run out."""

    exit_code = NO_MEMORY


class StorageError(RuntimeError):
    """A disk is full, not accessible, or does not respond."""

    exit_code = SYSTEM


REFUSALS = (
    InputError, GridError, LeakageError, ToolError, BusyError, ShortageError, StorageError,
)  # fmt: skip


def suggest(unknown: Iterable[str], known_names: Iterable[str]) -> str:
    """Return which names a user may have meant, to stand at the end of a message.

    Parameters
    ----------
    unknown, known_names : iterable of str
        What was typed; what exists.

    Returns
    -------
    str
        Empty where no existing name is similar.

    Examples
    --------
    >>> suggest(["cnn4", "fa"], ["cnn3", "FA", "MD"])
    " Did you mean 'cnn3' and 'FA'?"
    >>> suggest(["ridge"], ["cnn3"])
    ''
    """
    spelt = {str(name).casefold(): str(name) for name in known_names}
    close = [get_close_matches(str(name).casefold(), spelt, n=1) for name in unknown]
    meant = dict.fromkeys(repr(spelt[name]) for names in close for name in names)
    return f" Did you mean {' and '.join(meant)}?" if meant else ""
