"""The card: the JSON file that says what a saved classifier is, and which bytes belong to it."""

import hashlib
import json
from pathlib import Path

from bids_sexclf import __version__
from bids_sexclf.disk import digest_file, write_json
from bids_sexclf.errors import InputError

CARD = "model.json"

AGAIN = "Run again with --first fit."


def write_card(folder, design, content, files=()):
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
    """
    digests = {name: digest_file(Path(folder) / name) for name in files}
    card = {"design": design, "version": __version__, "files": digests} | content
    # What is read again must be what was digested: a round through JSON turns tuples into lists.
    card = json.loads(json.dumps(card))
    write_json(card | {"digest": _digest_card(card)}, Path(folder) / CARD)


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
        If it is absent, damaged, or of another design; if the card, or a file that belongs to it,
        has not the content that was saved.
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
        found = card["design"]
        kept = card.pop("digest", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise InputError(
            f"Found no usable {path} ({fault!r}); needed a saved {design!r}. {AGAIN}"
        ) from fault
    if found != design:
        raise InputError(
            f"Found {found!r} in {path}, needed {design!r}. Choose the folder or the model that "
            "belongs to the other."
        )
    if kept != _digest_card(card):
        raise InputError(
            f"Found {path} with other content than was saved, needed the card that the fit stage "
            f"wrote. {AGAIN}"
        )
    for name, digest in card["files"].items():
        _check_file(path.with_name(name), digest)
    return card


def _check_file(path, digest):
    """Refuse a file that is absent, or has other bytes than were saved."""
    try:
        same = digest_file(path) == digest
    except OSError as fault:
        raise InputError(
            f"Found no {path} ({fault.strerror}), needed the file that the fit stage wrote. {AGAIN}"
        ) from fault
    if not same:
        raise InputError(
            f"Found {path} with other content than was saved, needed the file that the fit stage "
            f"wrote. {AGAIN}"
        )


def _digest_card(card):
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
