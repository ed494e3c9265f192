"""SmoothGrad: average the slope of evidence over noisy copies of a volume.

References
----------
Smilkov D, et al. SmoothGrad: removing noise by adding noise. 2017. arXiv:1706.03825
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._slopes import compute_slopes

NEEDS = {"evidence", "gradient"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "none"
EXACT_ON_LINEAR = False
EXACT_ZERO = True


def attribute(rows, view, noise=0.15, copies=25):
    """Compute the mean slope around each volume.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence, module, mask and seed are read.
    noise : float
        Standard deviation of the noise, as a share of the range of the volume within the mask.
    copies : int

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, [C,] X, Y, Z): evidence per unit of the map. On a linear model they
        are its weights, whatever the volume.
    """
    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        reach = np.ptp(volume[..., view.mask])
        # Equal noise for all, so that nothing depends on the order of participants.
        rng = np.random.default_rng(view.seed)
        total = np.zeros(volume.shape)
        for _ in range(copies):
            noisy = volume + noise * reach * rng.standard_normal(volume.shape, dtype=np.float32)
            total += compute_slopes(view.module, noisy[None])[0]
        yield Answer(
            float(evaluate(view.evidence, volume[None])[0]), total[None] / copies, np.array([], int)
        )
