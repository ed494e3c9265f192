"""The options of an entry of the catalogue, checked by name."""

import inspect

from bids_sexclf.errors import InputError, suggest

SET_BY_DATA = ("grid", "channels", "outputs")
"""What the maps and the target of a study decide."""


def known(build):
    """Return the names of the options of a function.

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
    """Return the names of the options of an entry: network and pretraining, or classifier.

    Parameters
    ----------
    entry : module
        Of the model catalogue.

    Returns
    -------
    list of str
    """
    if not hasattr(entry, "build"):
        parameters = inspect.signature(entry.Classifier.__init__).parameters.values()
        return [one.name for one in parameters if one.name not in ("self", "study")]
    return known(entry.build) + (known_pretraining(entry) if hasattr(entry, "pretrain") else [])


def known_pretraining(entry):
    """Return the names of the options of an entry's ``pretrain``: keywords with a default."""
    parameters = inspect.signature(entry.pretrain).parameters.values()
    return [one.name for one in parameters if one.default is not one.empty]


def check(options, name, entry):
    """Check that an entry has the given options, and return them.

    Parameters
    ----------
    options : dict
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
        If it has no option of this name; the message lists all options.
    """
    from bids_sexclf.settings import RECIPE

    allowed = takes(entry)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InputError(
            f"Found {', '.join(unknown)} among the options of {name!r}, needed some of "
            f"{', '.join(allowed) or 'none: it takes no options'}; or of the training choices "
            f"{', '.join(RECIPE)}. Correct the study."
            f"{suggest(unknown, [*allowed, *RECIPE])}"
        )
    return dict(options)
