"""Read the filter file, in which a user selects scans by their BIDS entities."""

import json
from functools import cache

from bids_sexclf.disk import read_small
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.layout.entities import ENTITIES, ORDER

FILTERED = ("t1w", "dwi", "t1w_mask", "dwi_mask", "maps")
"""Kinds of scans that a filter can select."""

LARGEST_FILE = 10**6
"""Largest size of a filter file, bytes."""

EXAMPLE = '{"dwi": {"direction": "AP"}}'


def read_filters(path):
    """Read a file of BIDS filters.

    Parameters
    ----------
    path : path-like or None

    Returns
    -------
    dict of str to dict
        Kind of scan to entities; empty without a file.

    Raises
    ------
    InputError
        If it cannot be read, or has an unknown kind or entity.
    """
    if path is None:
        return {}
    try:
        filters = json.loads(read_small(path, LARGEST_FILE).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed JSON such as {EXAMPLE}. Correct "
            "--bids-filter-file."
        ) from fault
    return check_filters(filters)


def check_filters(filters):
    """Check that the kinds and entities of filters exist, and return them.

    Parameters
    ----------
    filters : dict of str to dict

    Returns
    -------
    dict of str to dict

    Raises
    ------
    InputError
    """
    whole = isinstance(filters, dict) and all(
        isinstance(entities, dict) for entities in filters.values()
    )
    if not whole:
        raise InputError(
            f"Found filters that are not entities by kind of scan, needed JSON such as {EXAMPLE}. "
            "Correct --bids-filter-file."
        )
    unknown = sorted(set(filters) - set(FILTERED))
    if unknown:
        raise InputError(
            f"Found filters for {unknown}, needed some of {', '.join(FILTERED)}. Correct "
            f"--bids-filter-file.{suggest(unknown, FILTERED)}"
        )
    for kind, entities in filters.items():
        odd = [name for name, value in entities.items() if not _is_value(value)]
        if odd:
            raise InputError(
                f"Found a filter for {kind} whose {odd[0]} is no label, needed text, a number, "
                f"null or a list of them, as in {EXAMPLE}. Correct --bids-filter-file."
            )
        raw = kind in ("t1w", "dwi")
        known_entities = _entities() | (set() if raw else set(ORDER))
        # A name that begins with a capital is a sidecar field, as in pybids.
        unknown = sorted(
            name for name in entities if name not in known_entities and not name[:1].isupper()
        )
        if unknown:
            long = {short: name for name, short in ENTITIES.items()}
            meant = [long.get(name, name) for name in unknown]
            raise InputError(
                f"Found a filter for {kind} by {unknown}, needed BIDS entities such as "
                "acquisition, direction, reconstruction, run or session. Correct "
                f"--bids-filter-file.{suggest(meant, known_entities)}"
            )
    return filters


def _is_value(value):
    entries = value if isinstance(value, list) else [value]
    return all(entry is None or isinstance(entry, str | int | float) for entry in entries)


@cache
def _entities():
    """Return the entities of pybids."""
    from bids.layout.models import Config

    configs = ("bids", "derivatives")
    return {"regex_search"} | {name for config in configs for name in Config.load(config).entities}
