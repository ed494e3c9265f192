"""What an entry of the catalogue takes beside the study, checked by name."""

import inspect

from bids_sexclf.errors import InputError, suggest

SET_BY_DATA = ("grid", "channels", "outputs")
"""What the maps and the target of a study decide."""


def known(build):
    """Name the options that a study may set.

    Parameters
    ----------
    build : callable
        Of a network file.

    Returns
    -------
    list of str

    Examples
    --------
    >>> known(lambda grid, channels=1, outputs=2, depth=12: None)
    ['depth']
    """
    return [name for name in inspect.signature(build).parameters if name not in SET_BY_DATA]


def takes(entry):
    """Name the options of an entry: of its network and its pretraining, or of its classifier.

    Parameters
    ----------
    entry : module
        Of the model catalogue.

    Returns
    -------
    list of str
    """
    if not hasattr(entry, "build"):
        own = inspect.signature(entry.Classifier.__init__).parameters.values()
        return [one.name for one in own if one.name not in ("self", "study")]
    return known(entry.build) + (known_pretraining(entry) if hasattr(entry, "pretrain") else [])


def known_pretraining(entry):
    """Name the options of an entry's ``pretrain``: its keywords that have a default."""
    parameters = inspect.signature(entry.pretrain).parameters.values()
    return [one.name for one in parameters if one.default is not one.empty]


def check(given, name, entry):
    """Return options if an entry takes them.

    Parameters
    ----------
    given : dict
    name : str
        What the study calls the model.
    entry : module

    Returns
    -------
    dict
        A copy.

    Raises
    ------
    InputError
        If it takes no option of this name; the message lists those it takes.
    """
    from bids_sexclf.settings import RECIPE

    taken = takes(entry)
    unknown = sorted(set(given) - set(taken))
    if unknown:
        raise InputError(
            f"Found {', '.join(unknown)} among the options of {name!r}, needed some of "
            f"{', '.join(taken) or 'none: it takes no options'}; or of the training choices "
            f"{', '.join(RECIPE)}. Correct the study."
            f"{suggest(unknown, [*taken, *RECIPE])}"
        )
    return dict(given)
