"""Guided backpropagation: the slope of evidence through active units with positive slopes.

A rectifier passes a slope on only where its input and the slope are positive. The result is
positive for the explained output. So there is one map for the evidence and one for its opposite;
the second is subtracted from the first.

The map resembles edges of the volume even with random weights: see the references.

References
----------
Springenberg JT, et al. Striving for simplicity: the all convolutional net. ICLR workshop 2015.
arXiv:1412.6806

Adebayo J, et al. Sanity checks for saliency maps. NeurIPS 2018. arXiv:1810.03292
"""

from contextlib import contextmanager

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._slopes import compute_slopes

NEEDS = {"evidence", "gradient", "rectifier"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "none"
EXACT_ON_LINEAR = False
EXACT_ZERO = True


def attribute(rows, view):
    """Compute the guided slope of each volume.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence and module are read. Rectifiers that are functions and no layers stay as they are.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, [C,] X, Y, Z); positive speaks for male, or for older.
    """
    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        with _guided(view.module):
            male = compute_slopes(view.module, volume[None])
            female = compute_slopes(_Opposite(view.module), volume[None])
        whole = float(evaluate(view.evidence, volume[None])[0])
        yield Answer(whole, male - female, np.array([], int))


class _Opposite:
    """A module that returns the evidence for the other class."""

    def __init__(self, module):
        self.module = module
        self.parameters, self.buffers = module.parameters, module.buffers

    def __call__(self, volumes):
        return -self.module(volumes)


@contextmanager
def _guided(module):
    """Limit rectifiers to positive slopes at positive inputs, within a context."""
    import torch
    from torch import nn

    class Guide(torch.autograd.Function):
        @staticmethod
        def forward(context, maps):
            context.save_for_backward(maps > 0)
            return maps.clamp(min=0)

        @staticmethod
        def backward(context, slope):
            (active,) = context.saved_tensors
            return slope.clamp(min=0) * active

    layers = [layer for layer in module.modules() if isinstance(layer, nn.ReLU)]
    for layer in layers:
        setattr(layer, "forward", Guide.apply)  # noqa: B010  (a method, says the type checker)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
