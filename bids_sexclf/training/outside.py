"""Weights that were learnt elsewhere: who they were learnt from must not be tested here."""

import json
from pathlib import Path

from bids_sexclf.cells import entity
from bids_sexclf.errors import InputError, LeakageError, suggest

WORDS = ("none", "imagenet")
"""What a study may give as weights beside a file."""


def find_file(path):
    """Return the path of a file of weights if it is there.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If it is not.
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
    """List the files that the weights of a variant are read from.

    Parameters
    ----------
    options : dict
        Of a variant; ``weights`` is read.

    Returns
    -------
    list of pathlib.Path
        The weights and the card that says whom they know, whether or not it is there; empty where
        weights are one of `WORDS`.
    """
    weights = str(options.get("weights", "none"))
    return [] if weights in WORDS else [Path(weights), Path(weights).with_suffix(".json")]


def write_card(path, participants):
    """Write who a file of weights was learnt from, beside it.

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
    """Refuse weights that were learnt from those who validate or test them.

    Parameters
    ----------
    options : dict
        Of a variant; ``weights`` is read.
    held_out : iterable of str
        Participants of the validation and the test part.

    Raises
    ------
    InputError
        If an arm starts from weights that do not say whom they know.
    LeakageError
        If the weights know someone who is held out.

    Notes
    -----
    Published weights of whole networks may lack a card: then nothing can be checked, and the
    catalogue's page says what they were trained on. An arm of a transformer needs one.
    """
    path = Path(str(options.get("weights", "none")))
    if not path.is_file():  # one of WORDS; or gone, which fails its own fits by name
        return
    card = path.with_suffix(".json")
    known = _read_card(card) if card.exists() else None
    if known is None and options.get("arm", "scratch") != "scratch":
        raise InputError(
            f"Found no {card} beside the weights, needed the list of the participants that they "
            'were learnt from: {"participants": []} where they are none of this kind. Write it.'
        )
    shared = sorted((known or set()) & set(held_out))
    if shared:
        raise LeakageError(
            f"Found {len(shared)} participants of a validation or test part ({shared[0]}, …) among "
            f"those that {path} was learnt from, needed none. Pretrain on others, or within the "
            "fold (without weights)."
        )


def _read_card(card):
    """Read whom weights know: a set of participants, spelled as in every table."""
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
