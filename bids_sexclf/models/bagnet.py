"""3D BagNets, whose receptive field is a small neighbourhood: Pawlowski and Glocker 2019.

References
----------
Pawlowski N, Glocker B. Is texture predictive for age and sex in brain MRI? MIDL 2019.
https://openreview.net/forum?id=BJxgXfab94

Brendel W, Bethge M. Approximating CNNs with bag-of-local-features models works surprisingly well
on ImageNet. ICLR 2019. doi:10.48550/arXiv.1904.00760
"""

from math import prod

from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.training import networks

READS = "volumes"
SOURCE = "[@pawlowski2019; @brendel2019]"
GRIDS = "from 9 voxels"
DEPTHS = (3, 4, 6, 3)
STRIDES = (2, 2, 2, 1)
WIDE = {9: (1, 1, 0, 0), 17: (1, 1, 1, 0), 33: (1, 1, 1, 1), 177: (3, 4, 6, 3)}
"""Receptive field, in voxels, to the leading blocks of each stage whose kernel is 3 wide."""
SMALLEST = 9
TINY = {"width": 8}


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut; the middle one is 3 wide, or 1.

    Parameters
    ----------
    normalisation : callable
        Width to module.
    before, width, stride, kernel : int
    """

    def __init__(self, normalisation, before, width, stride, kernel):
        super().__init__()
        after = 4 * width
        middle = {"stride": stride, "padding": kernel // 2, "bias": False}
        self.found = nn.Sequential(
            nn.Conv3d(before, width, 1, bias=False),
            normalisation(width),
            nn.ReLU(),
            nn.Conv3d(width, width, kernel, **middle),
            normalisation(width),
            nn.ReLU(),
            nn.Conv3d(width, after, 1, bias=False),
            normalisation(after),
        )
        self.shortcut = (
            nn.Sequential(
                nn.Conv3d(before, after, 1, stride=stride, bias=False), normalisation(after)
            )
            if stride != 1 or before != after
            else nn.Identity()
        )
        self.relu = nn.ReLU()

    def forward(self, maps):
        """Return the input plus the result of three convolutions."""
        return self.relu(self.found(maps) + self.shortcut(maps))


class Bagnet(nn.Module):
    """Local features, their mean over space, and a linear layer.

    Parameters
    ----------
    wide : tuple of int
        For each stage, how many of its leading blocks have a kernel 3 wide.
    normalisation : callable
        Width to module.
    channels, outputs, width : int

    Attributes
    ----------
    stride : int
        Voxels from one local output to the next.
    """

    stride = prod(STRIDES)

    def __init__(self, wide, normalisation, channels, outputs, width):
        super().__init__()
        layers = [
            nn.Conv3d(channels, width, 1, bias=False),
            nn.Conv3d(width, width, 3, padding=1, bias=False),
            normalisation(width),
            nn.ReLU(),
        ]
        before = width
        for stage, depth in enumerate(DEPTHS):
            inner = width * 2**stage
            for index in range(depth):
                stride = STRIDES[stage] if index == 0 else 1
                kernel = 3 if index < wide[stage] else 1
                layers.append(Bottleneck(normalisation, before, inner, stride, kernel))
                before = 4 * inner
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, volumes):
        """Return outputs (batch, outputs) of volumes (batch, channels, X, Y, Z)."""
        return self.head(self.features(volumes).mean((2, 3, 4)))

    def local(self, volumes):
        """Return the outputs of each neighbourhood, whose mean is the output of the whole.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, X, Y, Z)

        Returns
        -------
        torch.Tensor, shape (batch, outputs, ceil(X / 8), ceil(Y / 8), ceil(Z / 8))
            Entry (i, j, k) is centred on voxel (8 i, 8 j, 8 k).
        """
        return self.head(self.features(volumes).movedim(1, -1)).movedim(-1, 1)


def build(
    grid=(128, 160, 160), channels=1, outputs=2, receptive_field=9, norm="instance", width=32
):
    """Build the network with new weights.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z), each at least 9 voxels; the network has the same weights for all.
    channels : int
        Maps read together.
    outputs : int
        2: one per sex, female first. 1: the logit for male, or an age.
    receptive_field : {9, 17, 33, 177}
        Extent that one local output sees, in voxels along each axis.
    norm : {"instance", "batch"}
        Instance normalisation, as published, or batch normalisation, either without weights of
        its own. The mean and spread of an instance are those of the whole volume: with
        ``"instance"`` every local output depends on all of it, whatever the receptive field.
        With ``"batch"``, once trained, it depends on the receptive field and nothing else.
    width : int
        Of the first convolution, and of all others in proportion; 32 as published.

    Returns
    -------
    torch.nn.Module
        Parameters with two outputs: 3,509,282, 3,935,266, 5,639,202 and 11,549,730 for 9, 17, 33
        and 177; 1,025 less with one.

    Raises
    ------
    InputError
        If the receptive field or the normalisation is unknown, or the grid too small.
    """
    norms = {"instance": nn.InstanceNorm3d, "batch": _batch_norm}
    if receptive_field not in WIDE or norm not in norms:
        raise InputError(
            f"Found receptive_field {receptive_field!r} and norm {norm!r}, needed one of "
            f"{', '.join(map(str, WIDE))} and one of {', '.join(norms)}. Correct the options."
        )
    if min(grid) < SMALLEST:
        raise InputError(
            f"Found a grid of {tuple(grid)} voxels, needed at least {SMALLEST} along each axis, or "
            "nothing is left to normalise. Choose a smaller voxel_size, or another model."
        )
    return Bagnet(WIDE[receptive_field], norms[norm], channels, outputs, width)


def _batch_norm(width):
    return nn.BatchNorm3d(width, affine=False)


Classifier = networks.network(build)
