"""A 3D U-Net that segments the brain; it does not classify participants.

It has no ``Classifier``: a study cannot name it among its models.

References
----------
Kerfoot E, et al. Left-ventricle quantification using residual U-Net. STACOM 2018.
doi:10.1007/978-3-030-12029-0_40
"""

from torch import nn

READS = "volumes"
SOURCE = "[@kerfoot2019]"
GRIDS = "any; its output is per voxel, so a study cannot use it"
GIVES = "voxels"
"""Outputs are logits of voxels, not of participants."""
STEP = 16
TINY = {"widths": (4, 8, 8, 8, 8)}


class BrainUnet(nn.Module):
    """MONAI's residual U-Net, on volumes of any shape.

    Parameters
    ----------
    channels, outputs : int
    widths : tuple of int
        Of its five levels.
    """

    def __init__(self, channels, outputs, widths):
        from monai.networks.nets import UNet

        super().__init__()
        self.network = UNet(
            spatial_dims=3,
            in_channels=channels,
            out_channels=outputs,
            channels=widths,
            strides=(2,) * (len(widths) - 1),
            num_res_units=2,
            norm="instance",
        )

    def forward(self, volumes):
        """Return voxel logits (batch, outputs, X, Y, Z) of volumes (batch, channels, X, Y, Z)."""
        # Four halvings need multiples of 16; instance normalisation is undefined for one voxel.
        padding = [
            max(2 * STEP, -(-length // STEP) * STEP) - length for length in volumes.shape[2:]
        ]
        ends = [end for gap in reversed(padding) for end in (gap // 2, gap - gap // 2)]
        logits = self.network(nn.functional.pad(volumes, ends, mode="replicate"))
        begin = [gap // 2 for gap in padding]
        region = (slice(a, a + n) for a, n in zip(begin, volumes.shape[2:], strict=True))
        return logits[(..., *region)]


def build(grid=(182, 218, 182), channels=1, outputs=1, widths=(16, 32, 64, 128, 256)):
    """Build the network with fresh weights.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z), any; volumes are extended by their outermost voxels to multiples of 16, and
        logits cut back.
    channels : int
        Maps read together.
    outputs : int
        1: the logit that a voxel is brain. More: one logit per tissue.
    widths : tuple of int
        Of the five levels.

    Returns
    -------
    torch.nn.Module
    """
    return BrainUnet(channels, outputs, tuple(widths))
