"""Weights that were learnt elsewhere: who they were learnt from must not be tested here."""

import json
from pathlib import Path

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
    try:
        known = set(json.loads(card.read_text())["participants"]) if card.exists() else None
    except (ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"Found {card}, which does not list participants ({fault!r}); needed "
            '{"participants": ["sub-01", ...]}. Write it anew.'
        ) from fault
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
