"""Catalogue of targets, what is learnt from a brain: one per file, its name is what a user types.

An entry gives ``TARGET``: a `TwoClasses` or a `Quantity`. It says which column of the cohort is
learnt, how it is coded, by which loss and score, what an attribution tests, and in which words the
report speaks of it. No other room asks which target a study has.
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
