"""Catalogue of targets: one file per target, whose name the user types.

An entry defines ``TARGET``: a `TwoClasses` or a `Quantity`. It holds the column of the cohort that
is learnt, its coding, loss and scores, the effect that an attribution tests, and the words of the
report. No other package depends on which target a study has.
"""

from bids_sexclf import catalogue
from bids_sexclf.targets._base import Target
from bids_sexclf.targets._classes import TwoClasses, balance
from bids_sexclf.targets._quantity import Quantity

__all__ = ["Quantity", "Target", "TwoClasses", "balance", "find", "names"]


def names():
    """List the targets that a study may name.

    Returns
    -------
    list of str
    """
    return catalogue.names(__name__)


def find(name):
    """Find a target by its name.

    Parameters
    ----------
    name : str
        The file's name without suffix, e.g. ``"sex"``.

    Returns
    -------
    Target

    Raises
    ------
    InputError
        If there is none; the message lists those that exist.

    Examples
    --------
    >>> find("sex").kind, find("age").kind
    ('classes', 'quantity')
    """
    return catalogue.find(__name__, name).TARGET
