"""Weights from other sources: the participants they were trained on must not be tested here."""

import json
from pathlib import Path

from bids_sexclf.cells import entity
from bids_sexclf.errors import InputError, LeakageError, suggest

WORDS = ("none", "imagenet")
"""What a study may give as weights beside a file."""


def find_file(path):
    """Return the path of a file of weights, and check that it exists.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If it does not exist.
    """
    path = Path(str(path))
    if not path.is_file():
        raise InputError(
            f"Found no file {path}, needed the weights that a model is to begin with. Put the file "
            "there, or correct weights: a relative path begins in the folder where the command is "
            f"run.{suggest([path], WORDS)}"
        )
    return path


def list_files(options):
    """List the files of the weights of a variant.

    Parameters
    ----------
    options : dict
        Of a variant; ``weights`` is read.

    Returns
    -------
    list of pathlib.Path
        The weights, and the card that names their training participants, even if it is missing;
        empty if weights are one of `WORDS`.
    """
    weights = str(options.get("weights", "none"))
    return [] if weights in WORDS else [Path(weights), Path(weights).with_suffix(".json")]


def write_card(path, participants):
    """Write the card with the training participants of a file of weights.

    Parameters
    ----------
    path : path-like
        The weights; the card has the same name with ``.json``.
    participants : iterable of str
    """
    from bids_sexclf.disk import write_json

    card = {"participants": sorted(set(participants))}
    write_json(card, Path(path).with_suffix(".json"))


def check_weights(options, held_out):
    """Refuse weights that were trained on validation or test participants.

    Parameters
    ----------
    options : dict
        Of a variant; ``weights`` is read.
    held_out : iterable of str
        Participants of the validation and the test part.

    Raises
    ------
    InputError
        If an arm starts from weights without a card.
    LeakageError
        If a held-out participant was among the training participants of the weights.

    Notes
    -----
    Published weights of whole networks may have no card: then nothing can be checked, and the page
    of the catalogue states their training data. An arm of a transformer needs a card.
    """
    path = Path(str(options.get("weights", "none")))
    if not path.is_file():  # one of WORDS, or missing, which is reported when it is fitted
        return
    card = path.with_suffix(".json")
    participants = _read_card(card) if card.exists() else None
    if participants is None and options.get("arm", "scratch") != "scratch":
        raise InputError(
            f"Found no {card} beside the weights, needed the list of the participants that they "
            'were learnt from: {"participants": []} where they are none of this kind. Write it.'
        )
    shared = sorted((participants or set()) & set(held_out))
    if shared:
        raise LeakageError(
            f"Found {len(shared)} participants of a validation or test part ({shared[0]}, …) among "
            f"those that {path} was learnt from, needed none. Pretrain on others, or within the "
            "fold (without weights)."
        )


def _read_card(card):
    """Read the training participants of weights: a set of ids, spelled as in all tables."""
    try:
        names = json.loads(card.read_text(encoding="utf-8"))["participants"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("participants is no list of texts")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise InputError(
            f"Found {card}, which does not list participants ({fault}); needed "
            '{"participants": ["sub-01", ...]}. Write it anew.'
        ) from fault
    return {entity(name, "sub") for name in names}
