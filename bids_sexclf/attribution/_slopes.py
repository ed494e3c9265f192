"""Compute the slope of evidence by automatic differentiation."""

import numpy as np

AT_ONCE = 4
"""Volumes whose gradients are held at a time."""


def compute_slopes(module, volumes):
    """Compute the derivative of evidence with respect to each voxel.

    Parameters
    ----------
    module : torch.nn.Module
        Raw volumes (k, [C,] X, Y, Z) to evidence (k,).
    volumes : ndarray of float32, shape (k, [C,] X, Y, Z)

    Returns
    -------
    ndarray of float64, the shape of `volumes`
        Evidence per unit of the map.
    """
    import torch

    from bids_sexclf.training.devices import reproducible

    weights = [*module.parameters(), *module.buffers()]
    device = weights[0].device if weights else torch.device("cpu")
    slopes = np.empty(volumes.shape)
    for start in range(0, len(volumes), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        batch = torch.from_numpy(np.ascontiguousarray(volumes[rows], np.float32)).to(device)
        batch.requires_grad_(True)
        with reproducible(), torch.enable_grad():
            (slope,) = torch.autograd.grad(module(batch).sum(), batch)
        slopes[rows] = slope.double().cpu().numpy()
    return slopes
