"""The simple fully convolutional network (SFCN) of Peng 2021.

References
----------
Peng H, Gong W, Beckmann CF, Vedaldi A, Smith SM. Accurate brain age prediction with lightweight
deep neural networks. Med Image Anal 2021. doi:10.1016/j.media.2020.101871
"""

import torch
from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.training import networks, weight_files

READS = "volumes"
SOURCE = "[@peng2021]"
GRIDS = "from 32 voxels"
WIDTHS = (28, 58, 128, 256, 256, 64)
TINY = {"widths": (8, 16, 16, 16, 16, 16)}


class Sfcn(nn.Module):
    """Convolution, normalisation, pooling, rectification; a mean; a linear layer.

    The names of its layers are those of the released weights.

    Parameters
    ----------
    widths : sequence of int
        Of the convolutions; the last is 1 voxel wide and followed by no pooling.
    dropout : float
    channels, outputs : int
    """

    def __init__(self, widths, dropout, channels, outputs):
        super().__init__()
        self.feature_extractor = nn.Sequential()
        for index, (before, width) in enumerate(zip((channels, *widths), widths, strict=False)):
            last = index == len(widths) - 1
            layers = [
                nn.Conv3d(before, width, 1 if last else 3, padding=0 if last else 1),
                nn.BatchNorm3d(width),
                *([] if last else [nn.MaxPool3d(2)]),
                nn.ReLU(),
            ]
            self.feature_extractor.add_module(f"conv_{index}", nn.Sequential(*layers))
        self.classifier = nn.Sequential()
        self.classifier.add_module("average_pool", nn.AdaptiveAvgPool3d(1))
        self.classifier.add_module("dropout", nn.Dropout(dropout))
        self.classifier.add_module(f"conv_{len(widths)}", nn.Conv3d(widths[-1], outputs, 1))

    def forward(self, volumes):
        """Return outputs (batch, outputs) of volumes (batch, channels, X, Y, Z)."""
        return self.classifier(self.feature_extractor(volumes)).flatten(1)


def build(grid=(160, 192, 160), channels=1, outputs=2, widths=WIDTHS, dropout=0.5, weights="none"):
    """Build the network with new weights, or with the released ones.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z), at least 2 voxels along each axis for each pooling, so 32 for five of them;
        the network has the same weights for all.
    channels : int
        Maps read together.
    outputs : int
        2: one per sex, female first. 1: the logit for male, or an age.
    widths : sequence of int
        Of the convolutions: those of the released network for sex. The one for age has
        32, 64, 128, 256, 256, 64, and 40 outputs.
    dropout : float
        Share of the features left out in training, [0, 1).
    weights : str
        ``"none"``, or a file of the released weights, e.g. ``run_20191008_00_epoch_last.p`` for
        sex. They were trained on UK Biobank at 1 mm, registered linearly to MNI152, brain only,
        divided by the mean, the middle 160 x 192 x 160 voxels.

    Returns
    -------
    torch.nn.Module
        2,918,144 parameters with the defaults, on any grid.

    Raises
    ------
    InputError
        If the grid is too small, or weights do not fit.

    Notes
    -----
    Outputs are logits; the released network takes their log-softmax, from which evidence, their
    difference, is the same. At the smallest grids one voxel is left, and batch normalisation
    needs a batch of at least two participants to train.
    """
    smallest = 2 ** (len(widths) - 1)
    if min(grid) < smallest:
        raise InputError(
            f"Found a grid of {tuple(grid)} voxels, needed at least {smallest} along each axis, or "
            f"nothing is left after {len(widths) - 1} poolings. Choose a smaller voxel_size, fewer "
            "widths, or another model."
        )
    network = Sfcn(tuple(widths), dropout, channels, outputs)
    if weights != "none":
        weight_files.fill(network, weight_files.read(weights), weights)
    return network


Classifier = networks.network(build, layout=torch.channels_last_3d)
