"""Take from a network what it has learnt, layer by layer from its output to its input.

References
----------
Adebayo J, et al. Sanity checks for saliency maps. NeurIPS 2018. arXiv:1810.03292
"""

import copy

import torch
from lightning.pytorch.utilities.seed import isolate_rng


def list_layers(network):
    """List the layers of a network that hold weights or statistics, from output to input.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    list of str
        Dotted names; the network itself is ``""`` where it holds weights of its own.
    """
    names = [
        name
        for name, layer in network.named_modules()
        if [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
    ]
    return names[::-1]


def randomise(model, count, seed):
    """Copy a fitted network, and give the layers next to its output fresh weights.

    Parameters
    ----------
    model : training.networks.NetworkClassifier
        Fitted; it stays as it is.
    count : int
        Layers, from the output on, whose weights and statistics become those of an untrained
        network; all of them where it exceeds the number of layers. How volumes are standardised
        stays.
    seed : int
        Of the fresh weights.

    Returns
    -------
    training.networks.NetworkClassifier
    """
    changed = copy.copy(model)
    changed.module = copy.deepcopy(model.module)
    network = changed.module.network
    with isolate_rng():
        torch.manual_seed(seed)
        fresh = dict(model.build_fresh().named_modules())
    layers = dict(network.named_modules())
    with torch.no_grad():
        for name in list_layers(network)[:count]:
            _copy_state(fresh[name], layers[name])
    changed.module.eval()
    return changed


def _copy_state(source, layer):
    """Copy the parameters and buffers of one layer, without those of the layers within it."""
    for kind in ("named_parameters", "named_buffers"):
        values = dict(getattr(source, kind)(recurse=False))
        for name, value in getattr(layer, kind)(recurse=False):
            value.copy_(values[name])
