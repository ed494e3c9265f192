"""A transformer on patches of images or of volumes, whose weights travel between grids.

The names of its parts are those of timm's vision transformers.

References
----------
Dosovitskiy A, et al. An image is worth 16x16 words: transformers for image recognition at scale.
ICLR 2021. doi:10.48550/arXiv.2010.11929
"""

import json
from math import isqrt, prod

import torch
from torch import nn

from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError
from bids_sexclf.training import weight_files

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
RESIZING = {2: "bilinear", 3: "trilinear"}
POSITIONS = "pos_embed"
EMBEDDING = "patch_embed.weight"


class Attention(nn.Module):
    """Let every token look at all others, through PyTorch's fused kernel.

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
    """In training, leave a branch out for some samples, and count it more for the others.

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
        """Carry tokens (batch, n, width) to themselves or to zero."""
        if not self.training or self.rate == 0:
            return tokens
        draw = torch.rand(len(tokens), 1, 1, device=tokens.device) >= self.rate
        return tokens * draw / (1 - self.rate)


class Block(nn.Module):
    """Attention, then a layer for each token, each normalised before and added to what came in.

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
    """Cut volumes or images into patches, and let the patches look at each other.

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
        """Give volumes (batch, channels, ...) the shape that patches fill exactly."""
        lengths = [count * size for count, size in zip(self.counts, self.patch, strict=True)]
        missing = [length - own for length, own in zip(lengths, self.grid, strict=True)]
        if max(missing) > 0:
            ends = [(more // 2, more - more // 2) for more in reversed(missing)]
            volumes = nn.functional.pad(volumes, sum(ends, ()), mode="replicate")
        return volumes[(..., *(slice(length) for length in lengths))]

    def forward(self, volumes, visible=None):
        """Carry volumes to tokens.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, *grid)
        visible : torch.Tensor of int, shape (batch, k), optional
            Patches to see, in this order; the others do not exist. All by default.

        Returns
        -------
        torch.Tensor, shape (batch, 1 + patches, width)
            The class token first.
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
    """Take tokens (batch, n, width) by their numbers (batch, k)."""
    return tokens.gather(1, chosen.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def initialize(module):
    """Draw fresh weights for layers as the masked autoencoder does: Xavier's, and no bias."""
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
    """Give every patch a position that no training has to find.

    Parameters
    ----------
    counts : tuple of int
        Patches along each of two axes, or of three with the slices first.
    width : int
        Of the tokens; a multiple of 4.

    Returns
    -------
    torch.Tensor, shape (1, 1 + patches, width)
        Half of the numbers tell the row, the other half the column. Along slices, a code over
        the whole width is added: patches of one slice then have the positions that an encoder
        of images knows. Zero for the class token.
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


def resize_positions(positions, before, after):
    """Interpolate the positions of one grid of patches at those of another.

    Parameters
    ----------
    positions : torch.Tensor, shape (1, 1 + patches, width)
    before, after : tuple of int
        Patches along each axis.

    Returns
    -------
    torch.Tensor, shape (1, 1 + patches, width)
        The same where the grids are.
    """
    if tuple(before) == tuple(after):
        return positions
    field = positions[:, 1:].transpose(1, 2).unflatten(2, before)
    field = nn.functional.interpolate(field, after, mode=RESIZING[len(before)])
    return torch.cat([positions[:, :1], field.flatten(2).transpose(1, 2)], 1)


def inflate_state(state, counts, encoder):
    """Turn the weights of an encoder of slices into those of an encoder of volumes.

    Parameters
    ----------
    state : dict
        Of the encoder of slices.
    counts : tuple of int
        Its patches along both axes.
    encoder : Encoder
        Of volumes; its patches may hold several slices.

    Returns
    -------
    dict

    Notes
    -----
    The embedding of a patch is repeated along the slices and divided by their number; positions
    are interpolated within a slice and the same for all slices. Where all slices of a volume are
    alike, each of its patches is embedded as the slice's was.
    """
    state = dict(state)
    depth = encoder.patch[0]
    state[EMBEDDING] = state[EMBEDDING].unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth
    plane = resize_positions(state[POSITIONS], counts, encoder.counts[1:])
    first, patches = plane[:, :1], plane[:, 1:]
    state[POSITIONS] = torch.cat([first, patches.repeat(1, encoder.counts[0], 1)], 1)
    return state


def inflate(encoder, grid, depth):
    """Make an encoder of volumes from an encoder of slices.

    Parameters
    ----------
    encoder : Encoder
        Of images (H, W).
    grid : tuple of int
        (slices, H, W) of the volumes.
    depth : int
        Slices of a patch.

    Returns
    -------
    Encoder
        With the same weights for everything but patches and positions: see ``inflate_state``.
        On a volume one patch thick whose slices are alike, it answers what the other answers on
        the slice.
    """
    made = Encoder(
        grid,
        (depth, *encoder.patch),
        encoder.channels,
        leftover=encoder.leftover,
        **encoder.options,
    )
    made.load_state_dict(inflate_state(encoder.state_dict(), encoder.counts, made))
    return made


def save_encoder(encoder, path):
    """Save an encoder's weights and the grid of its patches, without pickle.

    Parameters
    ----------
    encoder : Encoder
    path : path-like
        Ends in ``.safetensors``.
    """
    from safetensors.torch import save_file

    state = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    with whole(path) as part:
        save_file(state, part, {"counts": json.dumps(encoder.counts)})
    weight_files.write_digest(path)


def load_encoder(encoder, path):
    """Put saved weights into an encoder, whatever the grid they were trained on.

    Parameters
    ----------
    encoder : Encoder
        Of volumes or of images.
    path : path-like
        What ``save_encoder`` wrote, of volumes or of slices (which is then inflated); or a
        transformer with timm's names on square images.

    Raises
    ------
    InputError
        If weights do not fit: another width or depth, other patches or channels.
    """
    state = weight_files.read(path)
    if "patch_embed.proj.weight" in state:
        state = {name.replace("embed.proj.", "embed."): value for name, value in state.items()}
    if not {POSITIONS, EMBEDDING} <= set(state):
        raise InputError(
            f"Found {path} without {POSITIONS} or {EMBEDDING}, needed the encoder of a transformer "
            "on patches. Choose another file."
        )
    counts = _read_counts(path, state)
    if len(counts) < len(encoder.counts):
        state = inflate_state(state, counts, encoder)
    elif len(counts) == len(encoder.counts):
        state[POSITIONS] = resize_positions(state[POSITIONS], counts, encoder.counts)
    weight_files.fill(encoder, state, path, unread=("head.", "fc_norm."))


def _parse_counts(counts, path):
    """Read the grid of patches that was saved beside the weights."""
    try:
        grid = tuple(json.loads(counts))
        if not all(isinstance(n, int) and n > 0 for n in grid):
            raise ValueError(counts)
    except (ValueError, TypeError) as fault:
        raise InputError(
            f"Found {path} with the grid of patches {str(counts)[:60]!r}, needed a list of numbers "
            "above 0. The file is damaged: fetch it again."
        ) from fault
    return grid


def _read_counts(path, state):
    """Give the grid of patches that was saved beside the weights, or that of a square image."""
    from safetensors import safe_open

    if str(path).endswith(".safetensors"):
        with safe_open(path, "pt") as opened:
            counts = (opened.metadata() or {}).get("counts")
        if counts is not None:
            return _parse_counts(counts, path)
    n_patches = state[POSITIONS].shape[1] - 1
    if state[EMBEDDING].ndim != 4 or isqrt(n_patches) ** 2 != n_patches:
        raise InputError(
            f"Found {n_patches} positions in {path} and no word on how they lie, needed the grid "
            "of the patches. Save the encoder again with its counts."
        )
    return (isqrt(n_patches),) * 2
