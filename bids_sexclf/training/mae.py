"""Masked autoencoder: an encoder is trained to predict hidden patches from visible ones.

It uses no labels. It works on slices with an encoder of images, and on volumes with an encoder of
volumes; ``inflate`` converts the first to the second.

References
----------
He K, Chen X, Xie S, Li Y, Dollar P, Girshick R. Masked autoencoders are scalable vision learners.
CVPR 2022. doi:10.1109/CVPR52688.2022.01553
"""

from math import prod

import torch
from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.training.transformer import Block, initialize, sine_cosine

EPSILON = 1e-6
"""Added to the variance of a patch, so that an empty patch is zero and not undefined."""


class Decoder(nn.Module):
    """Predicts every patch from the tokens of visible patches.

    Parameters
    ----------
    counts : tuple of int
        Patches along each axis.
    before, width, depth, heads : int
        Length of the encoder's tokens; length of its own, blocks, heads.
    voxels : int
        Numbers to foretell of each patch.
    """

    def __init__(self, counts, before, width, depth, heads, voxels):
        super().__init__()
        self.enter = nn.Linear(before, width)
        self.hidden = nn.Parameter(torch.empty(1, 1, width))
        self.register_buffer("positions", sine_cosine(counts, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.leave = nn.Linear(width, voxels)
        initialize(self)
        nn.init.trunc_normal_(self.hidden, std=0.02)

    def forward(self, tokens, visible):
        """Return patches (batch, patches, voxels) from tokens (batch, 1 + k, before)."""
        tokens = self.enter(tokens)
        n_patches = self.positions.shape[1] - 1
        places = self.hidden.to(tokens.dtype).expand(len(tokens), n_patches, -1)
        index = visible.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        places = places.scatter(1, index, tokens[:, 1:])
        tokens = torch.cat([tokens[:, :1], places], 1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.leave(self.norm(tokens))[:, 1:]


class MaskedAutoencoder(nn.Module):
    """Hides most patches from the encoder, and predicts them with a small decoder.

    Parameters
    ----------
    encoder : transformer.Encoder
        Of images or of volumes. Its positions become sines and cosines and stay fixed until
        ``release``.
    width, depth, heads : int
        Of the decoder.
    ratio : float
        Share of the patches that are hidden, (0, 1).
    normalize : bool
        Whether each patch is foretold with mean 0 and variance 1, or as it is.

    Raises
    ------
    InputError
        If the ratio hides all patches, or none.
    """

    def __init__(self, encoder, width=192, depth=4, heads=6, ratio=0.75, normalize=True):
        super().__init__()
        n_patches, inner = prod(encoder.counts), encoder.options["width"]
        self.n_visible = int(n_patches * (1 - ratio))
        if not 0 < self.n_visible < n_patches:
            raise InputError(
                f"Found a mask ratio of {ratio} over {n_patches} patches, needed one that hides "
                "some and shows some. Choose another ratio, or smaller patches."
            )
        self.encoder, self.normalize = encoder, normalize
        with torch.no_grad():
            encoder.pos_embed.copy_(sine_cosine(encoder.counts, inner))
        encoder.pos_embed.requires_grad_(False)
        voxels = encoder.channels * prod(encoder.patch)
        self.decoder = Decoder(encoder.counts, inner, width, depth, heads, voxels)

    def forward(self, volumes, generator=None):
        """Return the loss on the hidden patches of a batch.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, *grid)
        generator : torch.Generator, optional
            On the CPU; fixes which patches are hidden, on whatever device the volumes lie.

        Returns
        -------
        torch.Tensor, shape ()
            Mean squared error, in units of the variance of a patch; the mean of a patch has 1.
            Without ``normalize``, in squared units of the volumes.
        """
        prediction, hidden = self.predict(volumes, generator)
        return masked_loss(prediction, self.targets(volumes), hidden)

    def predict(self, volumes, generator=None):
        """Predict all patches from randomly chosen visible ones.

        Parameters
        ----------
        volumes, generator
            As for ``forward``.

        Returns
        -------
        prediction : torch.Tensor, shape (batch, patches, channels * voxels)
        hidden : torch.Tensor of bool, shape (batch, patches)
        """
        visible = self.draw(len(volumes), generator).to(volumes.device)
        prediction = self.decoder(self.encoder(volumes, visible), visible)
        hidden = torch.ones(prediction.shape[:2], dtype=torch.bool, device=volumes.device)
        return prediction, hidden.scatter(1, visible, False)

    def draw(self, batch, generator=None):
        """Draw the visible patches, separately for each sample.

        Returns
        -------
        torch.Tensor of int, shape (batch, n_visible)
            On the CPU.
        """
        noise = torch.rand(batch, prod(self.encoder.counts), generator=generator)
        return noise.argsort(1)[:, : self.n_visible]

    def targets(self, volumes):
        """Return the patches to predict, normalised per map or unchanged.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, *grid)

        Returns
        -------
        torch.Tensor, shape (batch, patches, channels * voxels)
        """
        counts, patch = self.encoder.counts, self.encoder.patch
        whole = self.encoder.whole_patches(volumes)
        split = whole.reshape(*whole.shape[:2], *sum(zip(counts, patch, strict=True), ()))
        axes = range(2, split.ndim)
        patches = split.permute(0, *axes[::2], 1, *axes[1::2])
        patches = patches.reshape(len(volumes), prod(counts), whole.shape[1], prod(patch))
        if not self.normalize:
            return patches.flatten(2)
        mean = patches.mean(-1, keepdim=True)
        spread = (patches.var(-1, correction=0, keepdim=True) + EPSILON).sqrt()
        return ((patches - mean) / spread).flatten(2)

    def release(self):
        """Make the position codes trainable, and return the encoder."""
        self.encoder.pos_embed.requires_grad_(True)
        return self.encoder


def masked_loss(prediction, targets, hidden):
    """Compute the mean squared error over hidden patches.

    Parameters
    ----------
    prediction, targets : torch.Tensor, shape (batch, patches, voxels)
    hidden : torch.Tensor of bool, shape (batch, patches)

    Returns
    -------
    torch.Tensor, shape ()

    Examples
    --------
    >>> prediction = torch.zeros(1, 2, 1)
    >>> masked_loss(prediction, torch.tensor([[[3.0], [50.0]]]), torch.tensor([[True, False]]))
    tensor(9.)
    """
    return (prediction - targets)[hidden].square().mean()
