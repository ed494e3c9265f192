"""Write the table of networks in ``docs/networks.md``: one row for each entry."""

import sys

from bids_sexclf import catalogue, citations, models
from bids_sexclf.training import signatures


def describe_networks():
    """Return the table of all networks, as Markdown.

    Returns
    -------
    str
        A row holds name, source, parameters with default options, grids and options.
    """
    lines = ["| name | from | parameters | grid | options |", "|---|---|---|---|---|"]
    for name in catalogue.names("bids_sexclf.models"):
        entry = models.find(name)
        if hasattr(entry, "build"):
            options = ", ".join(f"`{option}`" for option in dict.fromkeys(signatures.takes(entry)))
            cells = (f"`{name}`", _name_source(entry), count_parameters(entry), entry.GRIDS)
            lines.append(f"| {' | '.join((*cells, options))} |")
    return "\n".join(lines) + "\n"


def _name_source(entry):
    """Return authors and years of what an entry cites."""
    known = citations.library()
    return "; ".join(known[key].short for key in citations.keys_of(entry.SOURCE))


def count_parameters(entry):
    """Count the parameters of a network with default options; no memory is taken for them.

    Parameters
    ----------
    entry : module
        Of the model catalogue, with ``build``.

    Returns
    -------
    str
        The number, with the grid where it depends on the grid.
    """
    import inspect

    import torch

    parameters = inspect.signature(entry.build).parameters
    fresh = {"weights": "none"} if "weights" in parameters else {}

    def count(grid):
        with torch.device("meta"):
            network = entry.build(grid=grid, **fresh)
        return sum(weights.numel() for weights in network.parameters())

    grid = parameters["grid"].default
    here, larger = count(grid), count(tuple(length + 32 for length in grid))
    shown = f"{here:,}"
    return shown if here == larger else f"{shown} at {' x '.join(map(str, grid))}"


if __name__ == "__main__":
    sys.stdout.write(describe_networks())
