"""A vision transformer on 3D patches, from scratch or from masked autoencoding: Chen 2024.

References
----------
Chen J, et al. Deep learning with diffusion MRI as in vivo microscope reveals sex-related
differences in human white matter microstructure. Sci Rep 2024. doi:10.1038/s41598-024-60340-y
"""

import torch
from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.training import networks, pretraining
from bids_sexclf.training.encoders import load_encoder
from bids_sexclf.training.transformer import Encoder

READS = "volumes"
SOURCE = "[@chen2024; @he2022]"
GRIDS = "at least one patch; voxels beyond the last whole patch are left out, or padded"
POOLS = ("class", "mean")
TINY = {"patch": (8, 8, 8), "width": 48, "depth": 2, "heads": 3}


class Vit(nn.Module):
    """An encoder of patches, and a linear layer on its class token or on the mean of its patches.

    Parameters
    ----------
    encoder : Encoder
    outputs : int
    pool : {"class", "mean"}

    Attributes
    ----------
    n_layers : int
        Layers that may have learning rates of their own: the embedding, each block, the head.
    """

    def __init__(self, encoder, outputs, pool="class"):
        super().__init__()
        if pool not in POOLS:
            raise InputError(
                f"Found pool {pool!r}, needed one of {', '.join(POOLS)}. Correct the option."
            )
        self.encoder, self.pool = encoder, pool
        width = encoder.options["width"]
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.head = nn.Linear(width, outputs)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.frozen = False

    @property
    def n_layers(self):
        """Number of layers that can have different learning rates."""
        return len(self.encoder.blocks) + 2

    def forward(self, volumes):
        """Return outputs (batch, outputs) of volumes (batch, channels, X, Y, Z)."""
        return self.head((self.features(volumes) - self.centre) / self.spread)

    def features(self, volumes):
        """Return features (batch, width) of volumes (batch, channels, X, Y, Z)."""
        tokens = self.encoder(volumes)
        return tokens[:, 0] if self.pool == "class" else tokens[:, 1:].mean(1)

    def attention(self, volumes):
        """Compute what tokens ask for, and what they answer to, in every block.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, X, Y, Z)

        Returns
        -------
        list of pair of torch.Tensor, shape (batch, heads, 1 + patches, width / heads)
            Queries and keys of each block, the class token first.
        """
        kept, blocks = [], self.encoder.blocks
        hooks = [
            block.attn.register_forward_pre_hook(lambda layer, given: kept.append(given[0]))
            for block in blocks
        ]
        try:
            self.encoder(volumes)
        finally:
            for hook in hooks:
                hook.remove()
        return [block.attn.ask(tokens)[:2] for block, tokens in zip(blocks, kept, strict=True)]

    def spread_patches(self, shares):
        """Share values of patches evenly among their voxels; 0 where no patch lies.

        Parameters
        ----------
        shares : torch.Tensor, shape (batch, patches)

        Returns
        -------
        torch.Tensor, shape (batch, X, Y, Z)
        """
        encoder = self.encoder
        values = shares.unflatten(1, encoder.counts)
        lengths = zip(encoder.counts, encoder.patch, encoder.grid, strict=True)
        for axis, (count, size, length) in enumerate(lengths, start=1):
            before = max(count * size - length, 0) // 2
            patch = (torch.arange(length, device=shares.device) + before) // size
            seen = patch < count
            voxels = torch.bincount(patch[seen], minlength=count).to(shares.dtype)
            values = (values.movedim(axis, -1) / voxels)[..., patch.clamp(max=count - 1)]
            values = (values * seen).movedim(-1, axis)
        return values

    @torch.no_grad()
    def standardise_features(self, volumes):
        """Standardise each feature before the head from now on, by the features of volumes.

        Different heads have nearly the same features: a linear layer would hardly learn from the
        small differences. The authors of masked autoencoding use a batch normalisation without
        weights for a linear probe; this is the same with one batch of all volumes.

        Parameters
        ----------
        volumes : iterable of torch.Tensor, shape (1, channels, X, Y, Z)
            Of the training part.

        References
        ----------
        He 2022, appendix A.1, doi:10.1109/CVPR52688.2022.01553
        """
        features = torch.cat([self.features(one) for one in volumes]).double()
        spread = features.std(0, correction=0)
        self.centre.copy_(features.mean(0))
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))

    def freeze_encoder(self):
        """Freeze the encoder in evaluation mode, so that training changes the head alone."""
        self.frozen = True
        self.encoder.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode=True):
        """Switch training mode; a frozen encoder stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def layer_of(self, name):
        """Return the layer of a parameter, for learning rates that decrease towards the input.

        Parameters
        ----------
        name : str
            As ``named_parameters`` gives it.

        Returns
        -------
        int
            0 for patches, positions and class token; 1, 2, ... for the blocks;
            ``n_layers - 1`` for the last normalisation and the head.

        Examples
        --------
        >>> network = build(grid=(32, 32, 32), **TINY)
        >>> [network.layer_of(f"encoder.{name}") for name in ("pos_embed", "blocks.1.norm1.bias")]
        [0, 2]
        """
        part, _, suffix = name.removeprefix("encoder.").partition(".")
        if part in ("patch_embed", "cls_token", "pos_embed"):
            return 0
        return 1 + int(suffix.split(".")[0]) if part == "blocks" else self.n_layers - 1


def build(
    grid=(182, 224, 224),
    channels=1,
    outputs=2,
    patch=(6, 16, 16),
    width=384,
    depth=12,
    heads=6,
    drop_path=0.0,
    leftover="drop",
    pool="class",
    frozen=False,
    weights="none",
):
    """Build the network with new weights, or with a pretrained encoder.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z), at least one patch along each axis.
    channels : int
        Maps read together; a patch holds all of them.
    outputs : int
        2: one per sex, female first. 1: the logit for male.
    patch : tuple of int
        Voxels of a patch along each axis; the first runs from left to right.
    width, depth, heads : int
        Length of a token, blocks, heads of attention. The paper does not tell its heads; 6 is
        usual at this width.
    drop_path : float
        Share of the samples for which the last block is left out in training, [0, 1); less for
        those before.
    leftover : {"drop", "pad"}
        Voxels beyond the last whole patch are not seen, as published (the last two of 182), or
        the outermost voxel is repeated, alike on both sides, until they fill one. On coarse
        grids much is lost by ``"drop"``: choose a patch that divides the grid, or ``"pad"``.
    pool : {"class", "mean"}
        What the head reads: the class token, which a transformer for classes has, or the mean of
        the patches' tokens, each normalised. Masked autoencoding asks nothing of the class token;
        its authors fine-tune on the mean, which they normalise after and not before. Both have
        the same parameters.
    frozen : bool
        Let only the head learn.
    weights : str
        ``"none"``, or the file of an encoder pretrained on volumes or on slices. Positions are
        interpolated where the grid is another; an encoder of slices is inflated.

    Returns
    -------
    torch.nn.Module
        24,144,002 parameters with the defaults.

    Raises
    ------
    InputError
        If the patch does not fit the grid, or weights do not fit.
    """
    encoder = Encoder(grid, patch, channels, width, depth, heads, drop_path, leftover)
    if weights != "none":
        load_encoder(encoder, weights)
    network = Vit(encoder, outputs, pool)
    return network.freeze_encoder() if frozen else network


pretrain = pretraining.pretrain
Classifier = networks.network(build, pretrain)
