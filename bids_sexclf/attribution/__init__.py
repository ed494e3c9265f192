"""Catalogue of attribution methods: one per file, and the file's name is what a user types.

An entry declares

* ``NEEDS``: the inputs it reads from the view, some of `NEEDS`;
* ``YIELDS``: ``"regions"``, ``"voxels"``, ``"slices"``, ``"feature_maps"`` or ``"features"``;
* ``SCOPE``: ``"participant"``, or ``"group"`` if a value can only be compared with those of other
  participants in the same fold;
* ``UNIT``: ``"evidence"`` if values have its unit and sign: positive supports male, or older;
  ``"none"`` if values have no unit;
* ``EXACT_ON_LINEAR``: True if on a linear model the value of a region, or of a voxel, is the
  contribution of its voxels to the evidence minus that of the fill (without a fill: minus that of
  zero, or voxels times slope);
* ``EXACT_ZERO``: True if a voxel, or a region, that the model ignores gets exactly 0;
* ``SIGNED``, only if it is False: values are magnitudes, and support neither class;

and defines ``attribute(rows, view, **options)``, which yields one `Answer` for each participant of
``rows``, in their order. It gets a function from volumes to evidence, never a model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bids_sexclf import catalogue
from bids_sexclf.errors import InputError

NEEDS = {
    "evidence": "a model",
    "classes": "a target of two classes",
    "gradient": "a model with gradients (a network)",
    "rectifier": "a network with rectifiers (such as cnn3, resnet10, sfcn or bagnet)",
    "convolution": "a network with a convolution or a layer of patches",
    "local": "a network whose evidence is the mean of local ones (bagnet)",
    "slices": "a network of slices (imagenet2d or slice_resnet18)",
    "attention": "a transformer (vit)",
    "features": "a model of a table of features",
    "parcellation": "an atlas",
    "fill": "a fill",
}
"""What methods may need, in words."""
OF_MODEL = ("gradient", "rectifier", "convolution", "local", "slices", "attention")
"""Needs that depend on the model alone."""


@dataclass(frozen=True)
class Table:
    """Features of the training part, and their groups.

    Attributes
    ----------
    values : ndarray, shape (n, k)
        ``nan`` where a number is unknown.
    groups : tuple of str, length k
        Features of one group, say those of a region, are asked about together.
    """

    values: np.ndarray
    groups: tuple

    @property
    def middle(self):
        """Median of each feature, shape (k,); 0 where all are unknown."""
        has_values = np.isfinite(self.values).any(axis=0)
        middle = np.zeros(self.values.shape[1])
        middle[has_values] = np.nanmedian(self.values[:, has_values], axis=0)
        return middle


@dataclass(frozen=True)
class View:
    """The inputs of an attribution method.

    Attributes
    ----------
    evidence : callable
        Volumes (k, [C,] X, Y, Z) to evidence (k,); positive speaks for male, or is an age.
    mask : ndarray of bool, shape (X, Y, Z), or None
        The brain.
    parcellation : ndarray of int, shape (X, Y, Z), or None
        Atlas indices; 0 is background.
    fill : callable or None
        ``fill(volume, row) -> list of fills.Replacement``.
    module : torch.nn.Module or None
        The same function as `evidence`, differentiable.
    seed : int
    near : callable or None
        ``near(volume)`` gives the same function as `evidence` for volumes that differ from this
        one in few places: only what is touched is computed anew.
    classes : bool
        Whether evidence is a logit, and not a quantity.
    reference : Table or None
        Features of the training part, for models of tables; these have no mask.
    """

    evidence: Callable
    mask: np.ndarray | None
    parcellation: np.ndarray | None = None
    fill: Callable | None = None
    module: object = None
    seed: int = 0
    near: Callable | None = None
    classes: bool = True
    reference: object = None


@dataclass(frozen=True)
class Answer:
    """The result of a method for one participant.

    Attributes
    ----------
    evidence : float
        Of the whole volume.
    values : ndarray, shape (draws, units) or (draws, [C,] X, Y, Z)
        One row per replacement; a single row where nothing is replaced. No row where there was
        nothing to put in.
    index : ndarray of int, shape (units,)
        Atlas index of each unit, or its number from 1 where it is no region; empty for voxels.
    sources : tuple of (str or None)
        Whose volume was put in, per draw.
    weights : tuple of float
        Weight of each draw; they sum to 1.
    names : tuple of str
        Of units that are no regions.
    """

    evidence: float
    values: np.ndarray
    index: np.ndarray
    sources: tuple = (None,)
    weights: tuple = (1.0,)
    names: tuple = ()


def find(name):
    """Import an attribution method by its name.

    Parameters
    ----------
    name : str
        The file's name without suffix, e.g. ``"region_occlusion"``.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If there is none; the message lists those that exist.
    """
    return catalogue.find(__name__, name)


def attribute(name, rows, view, **options):
    """Apply a method to participants.

    Parameters
    ----------
    name : str
        Entry of the catalogue.
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : View
    **options
        Keywords of the entry's ``attribute``.

    Returns
    -------
    iterator of Answer

    Raises
    ------
    InputError
        If the view lacks what the method needs.
    """
    entry = find(name)
    check_needs(name, view)
    return entry.attribute(rows, view, **options)


def check_needs(name, view):
    """Raise InputError if a view lacks an input of a method.

    Parameters
    ----------
    name : str
        Entry of the catalogue.
    view : View

    Raises
    ------
    InputError
    """
    has = list_offers(view.module) | {"evidence"}
    has |= {"classes"} if view.classes else set()
    inputs = {"parcellation": view.parcellation, "fill": view.fill, "features": view.reference}
    has |= {need for need, value in inputs.items() if value is not None}
    lacking = [words for need, words in NEEDS.items() if need in find(name).NEEDS - has]
    if lacking:
        raise InputError(
            f"Found no {' and no '.join(lacking)} for the attribution {name!r}, which needs it. "
            "Leave the method out for this model, or give what it needs."
        )


def list_offers(module):
    """List the inputs for methods that a network provides.

    Parameters
    ----------
    module : torch.nn.Module or None
        The network, or the evidence made of it.

    Returns
    -------
    set of str
        Some of `OF_MODEL`.
    """
    if module is None:
        return set()
    from torch import nn

    layers, network = list(module.modules()), getattr(module, "network", module)
    offers = {
        "gradient": True,
        "rectifier": any(isinstance(layer, nn.ReLU) for layer in layers),
        "convolution": any(isinstance(layer, (nn.Conv2d, nn.Conv3d)) for layer in layers),
        "local": hasattr(network, "local"),
        "slices": hasattr(network, "slice_logits"),
        "attention": hasattr(network, "attention"),
    }
    return {need for need, offered in offers.items() if offered}


def is_signed(name):
    """Return whether the sign of a method's values shows the supported class.

    Parameters
    ----------
    name : str
        Entry of the catalogue.

    Returns
    -------
    bool
    """
    return getattr(find(name), "SIGNED", True)


def evaluate(evidence, volumes):
    """Compute the evidence of volumes, and check that it is one number each.

    Parameters
    ----------
    evidence : callable
    volumes : ndarray, shape (k, [C,] X, Y, Z)

    Returns
    -------
    ndarray of float64, shape (k,)

    Raises
    ------
    InputError
    """
    values = np.asarray(evidence(volumes), dtype=np.float64)
    if values.shape != (len(volumes),):
        raise InputError(
            f"Found evidence of shape {values.shape} for {len(volumes)} volumes, needed one number "
            "each. Pass a function from (k, X, Y, Z) to (k,)."
        )
    return values


def find_regions(parcellation):
    """Find the regions of a parcellation.

    Parameters
    ----------
    parcellation : ndarray of int, shape (X, Y, Z)
        Atlas indices; 0 is background.

    Returns
    -------
    ndarray of int
        The indices present, ascending, without the background 0.
    """
    indices = np.unique(parcellation)
    return indices[indices != 0]


def sum_regions(values, parcellation):
    """Sum values of voxels over the regions of an atlas, and over channels.

    Parameters
    ----------
    values : ndarray, shape (draws, [C,] X, Y, Z)
    parcellation : ndarray of int, shape (X, Y, Z)
        Atlas indices; 0 is background.

    Returns
    -------
    index : ndarray of int, shape (regions,)
    sums : ndarray of float64, shape (draws, regions)

    Examples
    --------
    >>> labels = np.array([0, 4, 2, 4])[:, None, None]
    >>> index, sums = sum_regions(np.arange(4.0)[None, :, None, None], labels)
    >>> index.tolist(), sums.tolist()
    ([2, 4], [[2.0, 4.0]])
    """
    index = find_regions(parcellation)
    labels = parcellation.ravel()
    flat = np.asarray(values, np.float64).reshape(len(values), -1, labels.size).sum(axis=1)
    size = int(labels.max()) + 1
    return index, np.array([np.bincount(labels, row, size)[index] for row in flat])
