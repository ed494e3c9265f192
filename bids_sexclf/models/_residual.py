"""Residual networks of basic blocks, on images or on volumes.

References
----------
He K, Zhang X, Ren S, Sun J. Deep residual learning for image recognition. CVPR 2016.
doi:10.1109/CVPR.2016.90
"""

import re

from torch import nn

from bids_sexclf.models._slices import recomputed

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
POOLING = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
WIDENING = (1, 2, 4, 8)
"""Width of the stages, as multiples of the stem's."""


class Block(nn.Module):
    """Two convolutions of width 3 beside a shortcut.

    Parameters
    ----------
    dims : int
        2 or 3.
    normalisation : callable
        Width to module.
    before, width, stride, dilation : int
    """

    def __init__(self, dims, normalisation, before, width, stride, dilation):
        super().__init__()
        convolution = CONVOLUTION[dims]
        first = {"stride": stride, "padding": dilation, "dilation": dilation, "bias": False}
        second = first | {"stride": 1}
        self.conv1 = convolution(before, width, 3, **first)
        self.norm1 = normalisation(width)
        self.relu1 = nn.ReLU()
        self.conv2 = convolution(width, width, 3, **second)
        self.norm2 = normalisation(width)
        self.relu2 = nn.ReLU()
        self.downsample = (
            nn.Sequential(
                convolution(before, width, 1, stride=stride, bias=False), normalisation(width)
            )
            if stride != 1 or before != width
            else nn.Identity()
        )

    def forward(self, maps):
        """Return the input plus the result of two convolutions."""
        features = self.relu1(self.norm1(self.conv1(maps)))
        return self.relu2(self.norm2(self.conv2(features)) + self.downsample(maps))


class Residual(nn.Module):
    """A residual network from images or volumes to features: stem, four stages, global mean.

    Parameters
    ----------
    dims : int
        2 for images (batch, channels, H, W), 3 for volumes (batch, channels, X, Y, Z).
    channels : int
    width : int
        Of the stem; the features are eight times as many.
    blocks, strides, dilations : sequence of int
        Of the four stages; the stride is that of a stage's first block.
    normalisation : callable
        Width to module.
    checkpoint : bool
        Keep only what lies between the stages for the backward pass, and compute the rest
        again: about a third of the time more, a fraction of the memory, the same gradients.
    """

    def __init__(
        self, dims, channels, width, blocks, strides, dilations, normalisation, checkpoint=False
    ):
        super().__init__()
        self.dims, self.checkpoint = dims, checkpoint
        self.conv1 = CONVOLUTION[dims](channels, width, 7, stride=2, padding=3, bias=False)
        self.norm1 = normalisation(width)
        self.relu = nn.ReLU()
        self.maxpool = POOLING[dims](3, stride=2, padding=1)
        before, self.n_features = width, WIDENING[-1] * width
        for stage, widening in enumerate(WIDENING):
            after, built = widening * width, []
            for index in range(blocks[stage]):
                stride = strides[stage] if index == 0 else 1
                built.append(Block(dims, normalisation, before, after, stride, dilations[stage]))
                before = after
            setattr(self, f"layer{stage + 1}", nn.Sequential(*built))
        for module in self.modules():
            if isinstance(module, tuple(CONVOLUTION.values())):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, maps):
        """Return maps of a quarter of the input's size."""
        return self.maxpool(self.relu(self.norm1(self.conv1(maps))))

    def forward(self, maps):
        """Return features (batch, n_features) of input (batch, channels, ...)."""
        for stage in (self.stem, self.layer1, self.layer2, self.layer3, self.layer4):
            maps = recomputed(self, stage, maps) if self.checkpoint else stage(maps)
        return maps.mean(tuple(range(2, 2 + self.dims)))


def rename(state):
    """Rename weights of torchvision's, timm's and MedicalNet's residual networks to our names.

    Parameters
    ----------
    state : dict

    Returns
    -------
    dict
        ``layer1.0.bn1.weight`` has become ``layer1.0.norm1.weight``.
    """
    return {re.sub(r"(^|\.)bn(\d)\.", r"\1norm\2.", name): value for name, value in state.items()}
