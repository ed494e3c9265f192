"""The options that a study gives to a network: what its ``build`` takes, checked by name."""

import difflib
import inspect

from bids_sexclf.errors import InputError

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


def choose(study, name, build):
    """Give a study's options for a network.

    Parameters
    ----------
    study : settings.Study
        ``model_options`` is read.
    name : str
        Of the catalogue entry.
    build : callable
        Of its file.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If the network takes no option of this name; the message lists those it takes.
    """
    given = dict(study.model_options.get(name, {}))
    takes = known(build)
    unknown = sorted(set(given) - set(takes))
    if unknown:
        close = difflib.get_close_matches(unknown[0], takes, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"Found {', '.join(unknown)} among the model_options of {name!r}, needed some of "
            f"{', '.join(takes) or 'none: it takes no options'}. Correct the study.{hint}"
        )
    return given
