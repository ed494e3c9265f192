"""Attention rollout: follow the attention of a transformer from its output token to the patches.

Attention is not evidence: it shows where the network looks, but not which class a place supports.

References
----------
Abnar S, Zuidema W. Quantifying attention flow in transformers. ACL 2020.
doi:10.18653/v1/2020.acl-main.385
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._networks import ask_part

NEEDS = {"evidence", "attention"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "none"
EXACT_ON_LINEAR = False
EXACT_ZERO = False
SIGNED = False
AT_ONCE = 1024
"""Tokens whose attention is held at a time."""


def attribute(rows, view):
    """Compute the share of each voxel in the input of the network's head.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence and module are read.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, X, Y, Z), not negative, with sum 1: the share of a patch is
        distributed evenly over its voxels, and that of the class token is left out.
    """
    network = view.module.network

    def look(volumes):
        shares = roll_out(network.attention(volumes), network.pool)
        return network.spread_patches(shares[None])[0]

    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        values = ask_part(view.module, look, volume).double().cpu().numpy()
        whole = float(evaluate(view.evidence, volume[None])[0])
        yield Answer(whole, values[None], np.array([], int))


def roll_out(blocks, pool="class"):
    """Multiply the attention of all blocks, each averaged with the identity.

    Parameters
    ----------
    blocks : list of pair of torch.Tensor, shape (1, heads, 1 + patches, d)
        Queries and keys of each block, the first block first; the class token first.
    pool : {"class", "mean"}
        What is read in the end: the class token, or the mean of the patches.

    Returns
    -------
    torch.Tensor, shape (patches,)
        1 in sum.

    Notes
    -----
    Heads are averaged. Only the needed row is multiplied through the blocks, from the last to the
    first, so the matrix of all tokens is never in memory.
    """
    n_tokens = blocks[0][0].shape[2]
    shares = blocks[0][0].new_zeros(n_tokens)
    if pool == "class":
        shares[0] = 1
    else:
        shares[1:] = 1 / (n_tokens - 1)
    for query, key in reversed(blocks):
        passed = shares.new_zeros(n_tokens)
        scale = query.shape[-1] ** -0.5
        for start in range(0, n_tokens, AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            weights = (query[0][:, rows] * scale @ key[0].transpose(1, 2)).softmax(-1)
            passed += shares[rows] @ weights.mean(0)
        shares = (shares + passed) / 2
    return shares[1:] / shares[1:].sum()
