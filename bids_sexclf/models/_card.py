"""The card: the JSON file that says what a saved classifier is."""

import json
from pathlib import Path

from bids_sexclf import __version__
from bids_sexclf.disk import write_json
from bids_sexclf.errors import InputError

CARD = "model.json"


def write_card(folder, design, content):
    """Write the card of a classifier.

    Parameters
    ----------
    folder : path-like
        Where ``model.json`` shall lie.
    design : str
        Name of the catalogue entry.
    content : dict
        JSON-able.
    """
    write_json({"design": design, "version": __version__} | content, Path(folder) / CARD)


def read_card(folder, design):
    """Read the card of a classifier.

    Parameters
    ----------
    folder : path-like
        Where ``model.json`` lies.
    design : str
        Name of the catalogue entry it must be of.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it is absent, damaged, or of another design.
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
        found = card["design"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"Found no usable {path} ({fault!r}); needed a saved {design!r}. Run the fit stage "
            "again."
        ) from fault
    if found != design:
        raise InputError(
            f"Found {found!r} in {path}, needed {design!r}. Choose the folder or the model that "
            "belongs to the other."
        )
    return card
