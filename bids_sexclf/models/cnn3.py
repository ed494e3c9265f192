"""Three blocks of 3D convolution and a linear layer: the network of Kan 2020, after Xin 2019.

References
----------
Xin J, Zhang Y, Tang Y, Yang Y. Brain differences between men and women: evidence from deep
learning. Front Neurosci 2019. doi:10.3389/fnins.2019.00185
"""

from math import prod

import torch
from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.training import networks

READS = "volumes"
SOURCE = "[@xin2019]"
GRIDS = "from 22 voxels"
WIDTHS = (32, 64, 128)
SMALLEST = 22
BLOCK = 4
"""Layers of a block."""


class Cnn3(nn.Module):
    """Three blocks of convolution, normalisation, rectification and pooling; a linear layer.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z) of the volumes.
    dropout : float
        Share of the features left out in training, [0, 1).
    channels, outputs : int
    """

    def __init__(self, grid, dropout, channels, outputs):
        super().__init__()
        layers = []
        for before, width in zip((channels, *WIDTHS), WIDTHS, strict=False):
            layers += [
                nn.Conv3d(before, width, 3),
                nn.BatchNorm3d(width),
                nn.ReLU(),
                nn.MaxPool3d(2),
            ]
        n_features = WIDTHS[-1] * prod(_left(length) for length in grid)
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(n_features, outputs))

    def forward(self, volumes):
        """Return outputs (batch, outputs) of volumes (batch, channels, X, Y, Z)."""
        return self.head(self.features(volumes))

    def near(self, volume):
        """Prepare for volumes that differ from this one in a box: only what sees it passes again.

        Parameters
        ----------
        volume : torch.Tensor, shape (1, channels, X, Y, Z)

        Returns
        -------
        callable
            Volumes (batch, channels, X, Y, Z) to what ``forward`` gives in evaluation, but for
            rounding.
        """
        blocks = [self.features[start : start + BLOCK] for start in range(0, 3 * BLOCK, BLOCK)]
        known = [volume]
        for block in blocks:
            known.append(block(known[-1]))

        def describe(one):
            box = _find_box((one != volume[0]).any(0))
            maps = one[None]
            for block, before in zip(blocks, known[1:], strict=True):
                box = [_reach(*ends, n) for ends, n in zip(box, before.shape[2:], strict=True)]
                if any(low >= high for low, high in box):
                    return known[-1]
                seen = tuple(slice(2 * low, 2 * high + 2) for low, high in box)
                passed = block(maps[(..., *seen)])
                maps = before.clone()
                maps[(..., *(slice(*ends) for ends in box))] = passed
            return maps

        return lambda volumes: self.head(torch.cat([describe(one) for one in volumes]))


def _find_box(touched):
    """Find the least box that holds all that is touched: first and end along each axis."""
    places = touched.nonzero()
    if not len(places):
        return [(0, 0)] * touched.ndim
    return list(zip(places.amin(0).tolist(), (places.amax(0) + 1).tolist(), strict=True))


def _reach(low, high, length):
    """Find what of the pooled voxels of an axis sees voxels from `low` up to `high`.

    Pooled voxel p sees voxels 2 p to 2 p + 3.
    """
    if low >= high:
        return 0, 0
    return max(0, (low - 2) // 2), min(length, (high - 1) // 2 + 1)


def _left(length):
    """Return the length of one axis after three unpadded convolutions and poolings."""
    for _ in WIDTHS:
        length = (length - 2) // 2
    return length


def build(grid=(58, 70, 58), dropout=0.5, channels=1, outputs=2):
    """Build the network with new weights.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z), each at least 22 voxels.
    dropout : float
        Share of the features left out in training, [0, 1).
    channels : int
        Maps read together.
    outputs : int
        2: one per sex, female first. 1: the logit for male.

    Returns
    -------
    torch.nn.Module
        322,818 parameters with the defaults.

    Raises
    ------
    InputError
        If the grid is too small.

    References
    ----------
    Xin 2019, doi:10.3389/fnins.2019.00185
    """
    if min(grid) < SMALLEST:
        raise InputError(
            f"Found a grid of {tuple(grid)} voxels, needed at least {SMALLEST} along each axis, "
            "or nothing is left after three poolings. Choose a smaller voxel_size, or another "
            "model."
        )
    return Cnn3(grid, dropout, channels, outputs)


Classifier = networks.network(build, layout=torch.channels_last_3d)
