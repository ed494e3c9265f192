"""Volumes as stacks of images: cut them into slabs, process chunks, recompute to save memory."""

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

VIEWS = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis along which slices follow each other, in volumes whose axes point right, front, up."""


def slabs(volumes, axis, thickness):
    """Cut volumes into slabs that do not overlap; the slices of a slab become its channels.

    Parameters
    ----------
    volumes : torch.Tensor, shape (batch, channels, X, Y, Z)
    axis : int
        0, 1 or 2.
    thickness : int
        Slices of a slab. Where they do not divide the slices evenly, the outermost slice is
        repeated, alike on both sides: it holds background, whatever number that is. (A zero
        would be the mean of the map once volumes are standardised.)

    Returns
    -------
    torch.Tensor, shape (batch, slabs, channels * thickness, H, W)
        H and W are the two other axes in their order; the slices of the first map come first.

    Examples
    --------
    >>> slabs(torch.zeros(2, 1, 7, 5, 4), 0, 3).shape
    torch.Size([2, 3, 3, 5, 4])
    """
    stack = volumes.movedim(2 + axis, 2)
    missing = -stack.shape[2] % thickness
    if missing:
        padding = (0, 0, 0, 0, missing // 2, missing - missing // 2)
        stack = nn.functional.pad(stack, padding, mode="replicate")
    batch, channels, n_slices, height, width = stack.shape
    cut = stack.reshape(batch, channels, n_slices // thickness, thickness, height, width)
    return cut.transpose(1, 2).reshape(batch, -1, channels * thickness, height, width)


def in_chunks(function, images, size):
    """Apply a function to images in chunks; memory holds one chunk at a time.

    Parameters
    ----------
    function : callable
        Images (n, ...) to tensor (n, ...), each image by itself.
    images : torch.Tensor, shape (n, ...)
    size : int or None
        Images at once; None for all.

    Returns
    -------
    torch.Tensor, shape (n, ...)
    """
    if size is None or len(images) <= size:
        return function(images)
    return torch.cat([function(chunk) for chunk in images.split(size)])


def recomputed(module, stage, maps):
    """Run a stage and keep only its input; the backward pass recomputes the rest.

    Parameters
    ----------
    module : torch.nn.Module
        Holds the stage's normalisations, which must count a batch once, not twice.
    stage : callable
    maps : torch.Tensor

    Returns
    -------
    torch.Tensor
        What ``stage(maps)`` gives; gradients and running statistics are the same.
    """
    if not torch.is_grad_enabled():
        return stage(maps)
    contexts = (nullcontext(), _Again(module))
    return checkpoint(stage, maps, use_reentrant=False, context_fn=lambda: contexts)


class _Again:
    """A context that keeps running statistics unchanged while a batch is recomputed.

    Parameters
    ----------
    module : torch.nn.Module
    """

    def __init__(self, module):
        self.layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
        self.kept = []

    def __enter__(self):
        self.kept = [(layer.momentum, layer.num_batches_tracked) for layer in self.layers]
        for layer in self.layers:
            layer.momentum = 0.0
            layer.num_batches_tracked = layer.num_batches_tracked.clone()

    def __exit__(self, *_):
        for layer, (momentum, tracked) in zip(self.layers, self.kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, tracked
