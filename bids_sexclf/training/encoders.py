"""Save encoders of transformers, load them, and carry their weights to other grids."""

import json
from math import isqrt

import torch
from torch import nn

from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError
from bids_sexclf.training import weight_files
from bids_sexclf.training.transformer import Encoder

RESIZING = {2: "bilinear", 3: "trilinear"}
POSITIONS = "pos_embed"
EMBEDDING = "patch_embed.weight"


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
    """Return the grid of patches that was saved beside the weights, or that of a square image."""
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
