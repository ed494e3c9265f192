"""Integrated gradients: distribute the difference of evidence between a fill and the volume.

References
----------
Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. ICML 2017.
arXiv:1703.01365

Erion G, et al. Improving performance of deep learning models with axiomatic attribution priors and
expected gradients. Nat Mach Intell 2021. doi:10.1038/s42256-021-00343-w
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._slopes import compute_slopes

NEEDS = {"evidence", "gradient", "fill"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "evidence"
EXACT_ON_LINEAR = True
EXACT_ZERO = True


def attribute(rows, view, steps=16):
    """Integrate the slope along the straight line from each replacement to the volume.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence, module and fill are read. With the fill ``donors`` the start of the line is the
        volume of another person.
    steps : int
        Nodes of the Gauss-Legendre rule.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (draws, [C,] X, Y, Z); those of one draw sum to the evidence of the
        volume minus that of the replacement, as far as `steps` are enough.
    """
    nodes, shares = np.polynomial.legendre.leggauss(steps)
    nodes, shares = (nodes + 1) / 2, shares / 2
    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        replacements = view.fill(volume, row)
        values = np.zeros((len(replacements), *volume.shape))
        for draw, replacement in enumerate(replacements):
            start = np.asarray(replacement.volume, dtype=np.float32)
            line = start + nodes.reshape(-1, *[1] * volume.ndim) * (volume - start)
            slopes = compute_slopes(view.module, line)
            values[draw] = np.tensordot(shares, slopes, 1) * (volume - start)
        yield Answer(
            float(evaluate(view.evidence, volume[None])[0]),
            values,
            np.array([], int),
            tuple(replacement.source for replacement in replacements),
            tuple(replacement.weight for replacement in replacements),
        )
