"""Catalogue of networks and classifiers: one per file, and the file's name is what a user types.

An entry declares ``READS`` (``"volumes"``, or a tuple of columns of cohort.tsv) and gives a
``Classifier(study)`` with ``fit``, ``evidence``, ``save``, ``load`` and ``history``. Evidence is
the logit for male, in natural-log units, when both sexes are equally frequent: every
classifier weighs the two sexes alike, however many there are of each.

A network file is an ``nn.Module``, ``build(grid=..., ...)``, and one line from ``_torch``. What
else its ``build`` takes, a study sets by ``model_options``; ``TINY``, where there is one, holds
options with which two cores train on a grid of 32 voxels in seconds. An entry without a
``Classifier`` answers for voxels, not for participants: a study cannot name it.
"""

from bids_sexclf import catalogue
from bids_sexclf.errors import InputError


def find(name):
    """Import a classifier by its name.

    Parameters
    ----------
    name : str
        The file's name without suffix, e.g. ``"cnn3"``.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If there is none; the message lists those that exist.
    """
    return catalogue.find(__name__, name)


def find_classifier(name):
    """Import a classifier by its name, and refuse what tells no participants apart.

    Parameters
    ----------
    name : str

    Returns
    -------
    module
        With ``READS`` and ``Classifier``.

    Raises
    ------
    InputError
        If there is none of this name, or it is no classifier.
    """
    entry = find(name)
    if not hasattr(entry, "Classifier"):
        raise InputError(
            f"Found {name!r} among the models, which answers for voxels; needed one that answers "
            "for participants. Leave it out."
        )
    return entry


def build(name, **options):
    """Build a network with fresh weights, outside any study.

    Parameters
    ----------
    name : str
        A network of the catalogue.
    **options
        What its own ``build`` takes, e.g. ``grid``.

    Returns
    -------
    torch.nn.Module
        Volumes (batch, channels, X, Y, Z) to outputs (batch, outputs), or of an entry without a
        ``Classifier`` to outputs (batch, outputs, X, Y, Z).

    Raises
    ------
    InputError
        If there is none of this name, or it is no network.

    Examples
    --------
    >>> network = build("cnn3", grid=(58, 70, 58))
    >>> sum(weights.numel() for weights in network.parameters())
    322818
    """
    entry = find(name)
    if not hasattr(entry, "build"):
        networks = [other for other in catalogue.names(__name__) if hasattr(find(other), "build")]
        raise InputError(
            f"Found {name!r}, which is no network; needed one of {', '.join(networks)}. "
            f"Use its Classifier instead."
        )
    return entry.build(**options)
