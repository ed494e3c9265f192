"""Every refusal, with its exit code.

A message has three parts: what was found, what was needed, what to do.
Only ``cli.py`` catches these, prints them and exits.
"""


class InputError(ValueError):
    """Refuse data, a table or a setting that cannot be used as it is."""

    exit_code = 65


class GridError(ValueError):
    """Refuse volumes that do not lie on one grid (shape or affine)."""

    exit_code = 66


class LeakageError(ValueError):
    """Refuse an evaluation in which test participants reach training."""

    exit_code = 67


class ToolError(RuntimeError):
    """Report that an outside tool or resource is missing or has failed."""

    exit_code = 69


REFUSALS = (InputError, GridError, LeakageError, ToolError)

PARTIAL = 3
"""Exit code of a run that finished, but left participants out."""

USAGE = 64
"""Exit code for unknown or contradictory arguments."""
