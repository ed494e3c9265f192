"""Grad-CAM: weight the features of the last convolution by their mean slope.

The published map keeps only positive values, and so ignores the other sex; here it keeps its sign.
In real scans it does not localise known sources well: see the references.

References
----------
Selvaraju RR, et al. Grad-CAM: visual explanations from deep networks via gradient-based
localization. ICCV 2017. doi:10.1109/ICCV.2017.74
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.errors import InputError

NEEDS = {"evidence", "gradient", "convolution"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "none"
EXACT_ON_LINEAR = False
EXACT_ZERO = False


def attribute(rows, view):
    """Compute the signed class activation map of each volume.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence and module are read.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, X, Y, Z), interpolated linearly from the grid of the last
        convolution; positive speaks for male, or for older.

    Raises
    ------
    InputError
        If the model has no convolution over volumes.
    """
    layer = _find_last_convolution(view.module)
    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        values = _map_one(view.module, layer, volume, view.mask.shape)
        yield Answer(
            float(evaluate(view.evidence, volume[None])[0]), values[None], np.array([], int)
        )


def _find_last_convolution(module):
    from torch import nn

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv3d)]
    if not layers:
        raise InputError(
            "Found a model without a convolution over volumes for the attribution 'grad_cam', "
            "needed a network such as cnn3, resnet10, sfcn or bagnet. Leave the method out."
        )
    return layers[-1]


def _map_one(module, layer, volume, grid):
    import torch
    from torch.nn.functional import interpolate

    outputs = []
    handle = layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    try:
        with torch.enable_grad():
            batch = torch.from_numpy(volume[None]).to(layer.weight.device).requires_grad_(True)
            evidence = module(batch).sum()
            (slope,) = torch.autograd.grad(evidence, outputs[0])
    finally:
        handle.remove()
    weights = slope.mean((2, 3, 4), keepdim=True)
    coarse = (weights * outputs[0]).sum(1, keepdim=True).detach()
    fine = interpolate(coarse, size=grid, mode="trilinear", align_corners=False)
    return fine[0, 0].double().cpu().numpy()
