"""A ResNet-18 that reads three slices at a time: the 2D network of Chen 2024.

References
----------
Chen J, Bayanagari VL, Chung S, Wang Y, Lui YW. Deep learning with diffusion MRI as in vivo
microscope reveals sex-related differences in human white matter microstructure. Sci Rep 2024.
doi:10.1038/s41598-024-60340-y
"""

import torch
from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.models._residual import Residual, rename
from bids_sexclf.models._slices import VIEWS, in_chunks, slabs
from bids_sexclf.training import networks, weight_files

READS = "volumes"
SOURCE = "[@chen2024]"
GRIDS = "any; the outermost slice is repeated if the number of slices is not a multiple of three"
THICKNESS = 3
CHUNK = 16
TINY = {"width": 8}
AXES = {"sagittal": (VIEWS["sagittal"],), "three": tuple(VIEWS.values())}


class SliceResnet18(nn.Module):
    """Features of every slab of three slices, side by side, and a linear layer.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z) of the volumes; X runs from left to right.
    axes : tuple of int
        Axes along which the volumes are cut.
    channels, outputs, width : int
    checkpoint : bool
    """

    def __init__(self, grid, axes, channels, outputs, width, checkpoint):
        super().__init__()
        self.axes = axes
        self.backbone = Residual(
            2,
            THICKNESS * channels,
            width,
            blocks=(2, 2, 2, 2),
            strides=(1, 2, 2, 2),
            dilations=(1, 1, 1, 1),
            normalisation=nn.BatchNorm2d,
            checkpoint=checkpoint,
        )
        self.lengths = [grid[axis] for axis in axes]
        n_slabs = sum(-(-length // THICKNESS) for length in self.lengths)
        self.head = nn.Linear(n_slabs * self.backbone.n_features, outputs)

    def forward(self, volumes):
        """Return outputs (batch, outputs) of volumes (batch, channels, X, Y, Z)."""
        return self.head(self.describe(volumes).flatten(1))

    def describe(self, volumes):
        """Carry volumes (batch, channels, X, Y, Z) to features of slabs (batch, slabs, n)."""
        # In training all slabs of a batch pass at once: they share the statistics of batch
        # normalisation, which chunks would not.
        size = None if self.training else CHUNK
        features = []
        for axis in self.axes:
            images = slabs(volumes, axis, THICKNESS)
            described = in_chunks(self.backbone, images.flatten(0, 1), size)
            features.append(described.unflatten(0, images.shape[:2]))
        return torch.cat(features, 1)

    def near(self, volume):
        """Prepare for volumes that differ from this one in few slabs: only those pass again.

        Parameters
        ----------
        volume : torch.Tensor, shape (1, channels, X, Y, Z)

        Returns
        -------
        callable
            Volumes (batch, channels, X, Y, Z) to what ``forward`` gives, but for rounding.
        """
        known = self.describe(volume)
        before = [slabs(volume, axis, THICKNESS) for axis in self.axes]

        def forward(volumes):
            features = known.repeat(len(volumes), 1, 1)
            start = 0
            for axis, old in zip(self.axes, before, strict=True):
                images = slabs(volumes, axis, THICKNESS)
                touched = (images != old).flatten(2).any(2)
                part = features[:, start : start + old.shape[1]]
                if touched.any():
                    part[touched] = in_chunks(self.backbone, images[touched], CHUNK)
                start += old.shape[1]
            return self.head(features.flatten(1))

        return forward

    def slice_logits(self, volumes):
        """Compute what each slab says, so that the mean over slabs is the output.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, X, Y, Z)

        Returns
        -------
        torch.Tensor, shape (batch, slabs, outputs)
            The slab's share of the linear layer times the number of slabs, and the constant: what
            the network would answer if every slab spoke as this one.
        """
        features = self.describe(volumes)
        weights = self.head.weight.unflatten(1, features.shape[1:])
        shares = torch.einsum("bsf,osf->bso", features, weights)
        return features.shape[1] * shares + self.head.bias

    @property
    def slice_names(self):
        """Name the slabs by view and first and last slice, from 0."""
        names, views = [], {axis: view for view, axis in VIEWS.items()}
        for axis, length in zip(self.axes, self.lengths, strict=True):
            missing = -length % THICKNESS
            first = -(missing // 2)
            for start in range(first, first + length + missing, THICKNESS):
                low, high = max(start, 0), min(start + THICKNESS, length) - 1
                names.append(f"{views[axis]} {low}-{high}")
        return names


def build(
    grid=(180, 224, 224),
    channels=1,
    outputs=1,
    views="sagittal",
    width=64,
    checkpoint=False,
    weights="none",
):
    """Build the network with new weights, or with those of a trained ResNet-18.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z), any. Where three does not divide the number of slices, the outermost slice is
        repeated, alike on both sides.
    channels : int
        Maps read together: the stem then sees three slices of each of them, so its first
        convolution has 3 x channels inputs.
    outputs : int
        1: the logit for male, as published. 2: one per sex, female first.
    views : {"sagittal", "three"}
        Cut from left to right, as published, or along all three axes: the same ResNet reads the
        slabs of each, and the linear layer sees all their features.
    width : int
        Of the first convolution, and of all others in proportion.
    checkpoint : bool
        Compute the inside of each stage again in the backward pass, rather than keep it: for
        machines on which a volume does not fit otherwise. The numbers stay the same.
    weights : str
        ``"none"``, or the file of a ResNet-18 with torchvision's names; its last layer is not
        read. It has three input channels, so it fits one map.

    Returns
    -------
    torch.nn.Module
        11,207,233 parameters with the defaults: 11,176,512 and a linear layer on 60 x 512.

    Raises
    ------
    InputError
        If views are unknown, or weights do not fit.

    Notes
    -----
    In evaluation 16 slabs pass at a time, so memory does not grow with the volume.
    """
    if views not in AXES:
        raise InputError(
            f"Found views {views!r}, needed one of {', '.join(AXES)}. Correct the option."
        )
    network = SliceResnet18(tuple(grid), AXES[views], channels, outputs, width, checkpoint)
    if weights != "none":
        weight_files.fill(
            network.backbone, rename(weight_files.read(weights)), weights, unread=("fc.",)
        )
    return network


Classifier = networks.network(build, layout=torch.channels_last)
