"""The card of a saved classifier: a JSON file with its description and the digests of its files."""

import hashlib
import json
from pathlib import Path

from bids_sexclf import __version__
from bids_sexclf.disk import digest_file, write_json
from bids_sexclf.errors import InputError

CARD = "model.json"

AGAIN = "Run again with --first fit."


def write_card(folder, design, content, files=(), name=CARD):
    """Write the card of a classifier, with the digests of itself and of its files.

    Parameters
    ----------
    folder : path-like
        Where ``model.json`` shall lie.
    design : str
        Name of the catalogue entry.
    content : dict
        JSON-able.
    files : iterable of str
        Names of the files beside the card that the classifier is read from; written before.
    name : str
        Of the card.
    """
    digests = {file: digest_file(Path(folder) / file) for file in files}
    card = {"design": design, "version": __version__, "files": digests} | content
    # Digest the content as it is read again: JSON converts tuples to lists.
    card = json.loads(json.dumps(card))
    write_json(card | {"digest": _digest_card(card)}, Path(folder) / name)


def read_card(folder, design, name=CARD):
    """Read the card of a classifier.

    Parameters
    ----------
    folder : path-like
        Where ``model.json`` lies.
    design : str
        Name of the catalogue entry it must be of.
    name : str
        Of the card.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it is absent, damaged, or of another design; if the content of the card, or of one of
        its files, has changed.
    """
    path = Path(folder) / name
    card = _parse(path, design)
    stored = card.pop("digest", None)
    if card["design"] != design:
        raise InputError(
            f"Found {card['design']!r} in {path}, needed {design!r}. Choose the folder or the "
            "model that belongs to the other."
        )
    if stored != _digest_card(card):
        raise InputError(
            f"Found {path} with other content than was saved, needed the card that the fit stage "
            f"wrote. {AGAIN}"
        )
    for file, digest in card["files"].items():
        _check_file(path.with_name(file), digest)
    return card


def read_design(folder, name=CARD):
    """Read of which catalogue entry a saved classifier is.

    Parameters
    ----------
    folder : path-like
        Where the card lies.
    name : str
        Of the card.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the card is absent or damaged.
    """
    return _parse(Path(folder) / name, "model")["design"]


def _parse(path, wanted):
    """Read the JSON of a card, or refuse what is none."""
    try:
        card = json.loads(path.read_text())
        if not isinstance(card, dict) or not isinstance(card["design"], str):
            raise ValueError("it is of no design")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise InputError(
            f"Found no usable {path} ({fault!r}); needed a saved {wanted!r}. {AGAIN}"
        ) from fault
    return card


def _check_file(path, digest):
    """Raise InputError for a file that is missing or whose content has changed."""
    try:
        is_same = digest_file(path) == digest
    except OSError as fault:
        raise InputError(
            f"Found no {path} ({fault.strerror}), needed the file that the fit stage wrote. {AGAIN}"
        ) from fault
    if not is_same:
        raise InputError(
            f"Found {path} with other content than was saved, needed the file that the fit stage "
            f"wrote. {AGAIN}"
        )


def _digest_card(card):
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
