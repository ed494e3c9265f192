"""The 3D ResNet-10 of Med3D, with dilation for strides: the 3D network of Chen 2024.

References
----------
Chen S, Ma K, Zheng Y. Med3D: transfer learning for 3D medical image analysis. 2019.
doi:10.48550/arXiv.1904.00625

Chen J, et al. Sci Rep 2024. doi:10.1038/s41598-024-60340-y
"""

from functools import partial

from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.models._residual import Residual, rename
from bids_sexclf.training import networks, weight_files

READS = "volumes"
SOURCE = "[@chen2024; @chen2019]"
GRIDS = "any"
TINY = {"width": 8, "groups": 4}


class Resnet10(nn.Module):
    """Four residual blocks, the mean over space, a linear layer.

    Parameters
    ----------
    channels, outputs, width : int
    normalisation : callable
        Width to module.
    checkpoint : bool
    """

    def __init__(self, channels, outputs, width, normalisation, checkpoint):
        super().__init__()
        self.backbone = Residual(
            3,
            channels,
            width,
            blocks=(1, 1, 1, 1),
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            normalisation=normalisation,
            checkpoint=checkpoint,
        )
        self.head = nn.Linear(self.backbone.n_features, outputs)

    def forward(self, volumes):
        """Return outputs (batch, outputs) of volumes (batch, channels, X, Y, Z)."""
        return self.head(self.backbone(volumes))


def build(
    grid=(182, 224, 224),
    channels=1,
    outputs=2,
    width=64,
    norm="group",
    groups=32,
    checkpoint=False,
    weights="none",
):
    """Build the network with new weights, or with those of MedicalNet.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z), any; the network has the same weights for all.
    channels : int
        Maps read together.
    outputs : int
        2: one per sex, female first. 1: the logit for male.
    width : int
        Of the first convolution, and of all others in proportion.
    norm : {"group", "batch"}
        Group normalisation, as published, or batch normalisation, as in MedicalNet.
    groups : int
        Of group normalisation; a divisor of ``width``. The paper does not tell theirs; 32 is that
        of the method's authors (doi:10.1007/978-3-030-01261-8_1).
    checkpoint : bool
        Compute the inside of each stage again in the backward pass, rather than keep it.
    weights : str
        ``"none"``, or MedicalNet's file for ResNet-10 (``resnet_10.pth``), without its part for
        segmentation. With ``norm="batch"`` all of it is taken, so that features are MedicalNet's
        own; with ``"group"`` its running statistics are left out, and features differ. One map.

    Returns
    -------
    torch.nn.Module
        14,356,546 parameters with the defaults.

    Raises
    ------
    InputError
        If the normalisation is unknown, or weights do not fit.
    """
    if norm not in ("group", "batch") or (norm == "group" and (groups < 1 or width % groups)):
        raise InputError(
            f"Found norm {norm!r} with {groups} groups over {width} maps, needed 'batch', or "
            "'group' with a divisor of the width. Correct the options."
        )
    normalisation = nn.BatchNorm3d if norm == "batch" else partial(nn.GroupNorm, groups)
    network = Resnet10(channels, outputs, width, normalisation, checkpoint)
    if weights != "none":
        state = rename(weight_files.read(weights))
        if norm == "group":
            statistics = ("running_mean", "running_var", weight_files.COUNTER)
            state = {name: value for name, value in state.items() if not name.endswith(statistics)}
        weight_files.fill(network.backbone, state, weights, unread=("conv_seg.", "fc."))
    return network


Classifier = networks.network(build)
