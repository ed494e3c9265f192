"""Measure the response of the first layer of a network to each participant.

The order of feature maps differs between networks: only values of one fold can be compared.

References
----------
Kan et al. 2020: mean and entropy of the 32 feature maps of the first convolution, men against
women.
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._networks import ask_part

NEEDS = {"evidence", "convolution"}
YIELDS = "feature_maps"
SCOPE = "group"
UNIT = "none"
EXACT_ON_LINEAR = False
EXACT_ZERO = False
SIGNED = False
BINS = 256


def attribute(rows, view):
    """Compute mean and entropy of each feature map of the first convolution, or of the patches.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence and module are read.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, 2 maps): first the means, in the unit of the layer, then the
        entropies, bits, of a histogram of 256 bins from the least to the largest value.
    """
    layer = _find_first(view.module)
    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        maps = _listen(view.module, layer, volume)
        values = [[one.mean() for one in maps] + [measure_entropy(one) for one in maps]]
        numbers = range(1, len(maps) + 1)
        names = [f"{measure} of map {n}" for measure in ("mean", "entropy") for n in numbers]
        whole = float(evaluate(view.evidence, volume[None])[0])
        index = np.arange(1, len(names) + 1)
        yield Answer(whole, np.array(values, float), index, names=tuple(names))


def _find_first(module):
    from torch import nn

    layers = (layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Conv3d)))
    return next(layers)


def _listen(module, layer, volume):
    """Return the feature maps of a layer, each with all its voxels of all images in a row."""
    outputs = []
    handle = layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    try:
        ask_part(module, module.network, volume)
    finally:
        handle.remove()
    # Images of a volume may pass in several chunks, along the first axis.
    maps = [one.movedim(1, 0).flatten(1).double().cpu().numpy() for one in outputs]
    return np.concatenate(maps, axis=1)


def measure_entropy(values):
    """Compute the entropy of a histogram of 256 bins from the least to the largest value, bits.

    Parameters
    ----------
    values : ndarray

    Returns
    -------
    float
        0 where all values are equal.

    Examples
    --------
    >>> measure_entropy(np.array([0.0, 1.0, 2.0, 3.0])), measure_entropy(np.ones(5))
    (2.0, 0.0)
    """
    if np.ptp(values) == 0:
        return 0.0
    counts = np.histogram(values, BINS)[0]
    shares = counts[counts > 0] / values.size
    return float(-(shares * np.log2(shares)).sum())
