"""Catalogue of fills, which replace a hidden region: one per file, found by the file's name.

An entry defines ``prepare(tested, **options)``, which returns a function
``fill(volume, row) -> list of Replacement``. ``volume`` is the volume of the participant in that
row of ``tested.rows``; the voxels of the region are replaced by those of ``Replacement.volume``. An
empty list means that nothing can replace a region of this participant; ``LACKING`` of the entry
gives the reason. ``SAYS`` describes the fill, for the methods text.

``CLAIMS`` is True if regions hidden by this fill look like regions of people, so that a test of the
drops can support the claim that a model leans on a region.
"""

import inspect
from dataclasses import dataclass

import numpy as np

from bids_sexclf import catalogue
from bids_sexclf.errors import InputError, suggest


@dataclass(frozen=True)
class Replacement:
    """One volume whose voxels replace those of a hidden region.

    Attributes
    ----------
    volume : ndarray, shape ([C,] X, Y, Z)
        In the unit of the map.
    source : str or None
        Whose volume it is; None where it is nobody's.
    weight : float
        Weight of what this replacement gives; those of one participant sum to 1.
    """

    volume: np.ndarray
    source: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Tested:
    """The inputs of a fill: the people tested in one fold, and their grid.

    Attributes
    ----------
    rows : array-like, shape (n, [C,] X, Y, Z)
        Their volumes, read one by one.
    people : pandas.DataFrame
        Their n rows: ``participant_id``, ``session_id``, ``family`` (unrelated people differ in
        it), ``sex`` (``female`` or ``male``), and numbers such as ``age_years``.
    mask : ndarray of bool, shape (X, Y, Z)
    parcellation : ndarray of int, shape (X, Y, Z)
        Atlas indices; 0 is background.
    white : ndarray of bool, shape (X, Y, Z)
        White matter of the template.
    alike : tuple of str
        Columns of `people` that a donor should resemble the participant in.
    seed : int
    """

    rows: object
    people: object
    mask: np.ndarray
    parcellation: np.ndarray
    white: np.ndarray
    alike: tuple = ()
    seed: int = 0


def find(name):
    """Import a fill by its name.

    Parameters
    ----------
    name : str
        The file's name without suffix, e.g. ``"donors"``.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If there is none; the message lists those that exist.
    """
    return catalogue.find(__name__, name)


def prepare(name, tested, **options):
    """Prepare a fill for the people tested in one fold.

    Parameters
    ----------
    name : str
        Entry of the catalogue.
    tested : Tested
    **options
        Keywords of the entry's ``prepare``.

    Returns
    -------
    callable
        ``fill(volume, row) -> list of Replacement``.

    Raises
    ------
    InputError
        If there is no such fill, or it has no option of that name.
    """
    entry = find(name)
    check_options(entry.prepare, name, options)
    return entry.prepare(tested, **options)


def check_options(function, name, options):
    """Refuse options that are not keywords with a default of a function.

    Parameters
    ----------
    function : callable
    name : str
        What the user calls it.
    options : dict

    Raises
    ------
    InputError
    """
    parameters = inspect.signature(function).parameters.values()
    options_known = [one.name for one in parameters if one.default is not one.empty]
    unknown = sorted(set(options) - set(options_known))
    if unknown:
        raise InputError(
            f"Found {', '.join(unknown)} among the options of {name!r}, needed some of "
            f"{', '.join(options_known) or 'none: it takes no options'}. Correct the study."
            f"{suggest(unknown, options_known)}"
        )


def constant(value, volume, source=None):
    """Return a replacement of one number per channel.

    Parameters
    ----------
    value : float or array-like, shape (C,)
    volume : ndarray, shape ([C,] X, Y, Z)
        Its shape and type are taken.

    Returns
    -------
    Replacement
    """
    value = np.asarray(value, volume.dtype)
    value = value.reshape(value.shape + (1,) * (volume.ndim - value.ndim))
    return Replacement(np.broadcast_to(value, volume.shape), source)
