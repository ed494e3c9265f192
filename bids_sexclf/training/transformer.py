"""A transformer on patches of images or of volumes, whose weights can change between grids.

The names of its layers are those of timm's vision transformers.

References
----------
Dosovitskiy A, et al. An image is worth 16x16 words: transformers for image recognition at scale.
ICLR 2021. doi:10.48550/arXiv.2010.11929
"""

from math import prod

import torch
from torch import nn

from bids_sexclf.errors import InputError

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}


class Attention(nn.Module):
    """Self-attention, with the fused kernel of PyTorch.

    Parameters
    ----------
    width, heads : int
    """

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens):
        """Carry tokens (batch, n, width) to tokens of the same shape."""
        answer = nn.functional.scaled_dot_product_attention(*self.ask(tokens))
        return self.proj(answer.transpose(1, 2).reshape(tokens.shape))

    def ask(self, tokens):
        """Compute queries, keys and values (batch, heads, n, width / heads) of tokens."""
        batch, n_tokens, width = tokens.shape
        asked = self.qkv(tokens).reshape(batch, n_tokens, 3, self.heads, width // self.heads)
        return asked.permute(2, 0, 3, 1, 4).unbind(0)


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a branch for some samples and scale it for the others.

    Parameters
    ----------
    rate : float
        Share of the samples, [0, 1).

    References
    ----------
    Huang G, et al. Deep networks with stochastic depth. ECCV 2016.
    doi:10.1007/978-3-319-46493-0_39
    """

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, tokens):
        """Return the tokens (batch, n, width), or zero."""
        if not self.training or self.rate == 0:
            return tokens
        draw = torch.rand(len(tokens), 1, 1, device=tokens.device) >= self.rate
        return tokens * draw / (1 - self.rate)


class Block(nn.Module):
    """A block of attention and a layer for each token, both with normalisation and shortcut.

    Parameters
    ----------
    width, heads : int
    drop_path : float
    """

    def __init__(self, width, heads, drop_path=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(width, 4 * width))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(4 * width, width))
        self.drop_path2 = DropPath(drop_path)

    def forward(self, tokens):
        """Carry tokens (batch, n, width) to tokens of the same shape."""
        tokens = tokens + self.drop_path1(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path2(self.mlp(self.norm2(tokens)))


class Encoder(nn.Module):
    """An encoder that cuts volumes or images into patches, and applies blocks of attention.

    Parameters
    ----------
    grid, patch : tuple of int
        Of two or of three axes.
    channels, width, depth, heads : int
    drop_path : float
        Of the last block; it rises from 0 in the first.
    leftover : {"drop", "pad"}
        What happens to voxels beyond the last whole patch: they are not seen, or the outermost
        voxel is repeated, alike on both sides, until they fill one.

    Raises
    ------
    InputError
        If the patch does not fit the grid, or the heads the width.
    """

    def __init__(self, grid, patch, channels, width, depth, heads, drop_path=0.0, leftover="drop"):
        super().__init__()
        self.grid, self.patch = _check_patch(grid, patch, leftover)
        self.counts = _count(self.grid, self.patch, leftover)
        if depth < 1 or width % heads or width % 4:
            raise InputError(
                f"Found width {width}, {heads} heads and {depth} blocks, needed a width that the "
                "heads and 4 divide, and at least one block. Correct the options."
            )
        self.channels, self.leftover = channels, leftover
        self.options = {"width": width, "depth": depth, "heads": heads, "drop_path": drop_path}
        convolution = CONVOLUTION[len(self.grid)]
        self.patch_embed = convolution(channels, width, self.patch, stride=self.patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + prod(self.counts), width))
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(width, heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        initialize(self)
        for added in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(added, std=0.02)

    def whole_patches(self, volumes):
        """Crop or pad volumes (batch, channels, ...) to a whole number of patches."""
        lengths = [count * size for count, size in zip(self.counts, self.patch, strict=True)]
        missing = [length - own for length, own in zip(lengths, self.grid, strict=True)]
        if max(missing) > 0:
            ends = [(extra // 2, extra - extra // 2) for extra in reversed(missing)]
            volumes = nn.functional.pad(volumes, sum(ends, ()), mode="replicate")
        return volumes[(..., *(slice(length) for length in lengths))]

    def forward(self, volumes, visible=None):
        """Return the tokens of volumes.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, *grid)
        visible : torch.Tensor of int, shape (batch, k), optional
            Patches to see, in this order; the others do not exist. All by default.

        Returns
        -------
        torch.Tensor, shape (batch, 1 + patches, width)
            The class token comes first.
        """
        tokens = self.patch_embed(self.whole_patches(volumes)).flatten(2).transpose(1, 2)
        tokens = tokens + self.pos_embed[:, 1:]
        if visible is not None:
            tokens = take(tokens, visible)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


def take(tokens, chosen):
    """Return tokens (batch, k, width) by their indices (batch, k)."""
    return tokens.gather(1, chosen.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def initialize(module):
    """Initialise layers as the masked autoencoder does: Xavier's weights, zero bias."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, tuple(CONVOLUTION.values())):
            nn.init.xavier_uniform_(part.weight.flatten(1))
            nn.init.zeros_(part.bias)


def _check_patch(grid, patch, leftover):
    grid, patch = tuple(map(int, grid)), tuple(map(int, patch))
    if leftover not in ("drop", "pad"):
        raise InputError(
            f"Found leftover {leftover!r}, needed 'drop' or 'pad'. Correct the option."
        )
    small = leftover == "drop" and any(a < b for a, b in zip(grid, patch, strict=False))
    if len(grid) != len(patch) or min(patch) < 1 or small:
        raise InputError(
            f"Found patches of {patch} voxels on a grid of {grid}, needed at least one whole patch "
            "along each axis. Choose smaller patches, a smaller voxel_size, or leftover='pad'."
        )
    return grid, patch


def _count(grid, patch, leftover):
    up = leftover == "pad"
    return tuple(-(-a // b) if up else a // b for a, b in zip(grid, patch, strict=True))


def sine_cosine(counts, width):
    """Return the fixed position code of every patch.

    Parameters
    ----------
    counts : tuple of int
        Patches along each of two axes, or of three with the slices first.
    width : int
        Of the tokens; a multiple of 4.

    Returns
    -------
    torch.Tensor, shape (1, 1 + patches, width)
        Half of the numbers code the row, the other half the column. Along slices, a code over the
        whole width is added: so patches of one slice have the positions of an encoder of images.
        Zero for the class token.
    """
    row, column = (_waves(count, width // 2) for count in counts[-2:])
    plane = torch.cat(
        [
            row[:, None].expand(-1, counts[-1], -1),
            column[None].expand(counts[-2], -1, -1),
        ],
        -1,
    )
    if len(counts) == 3:
        plane = plane[None] + _waves(counts[0], width)[:, None, None]
    positions = plane.reshape(1, -1, width)
    return torch.cat([torch.zeros(1, 1, width), positions], 1)


def _waves(count, width):
    frequency = 10_000.0 ** (-torch.arange(width // 2) / (width / 2))
    angle = torch.arange(float(count))[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)
