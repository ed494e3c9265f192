"""Local evidence of BagNets: the evidence of each neighbourhood, whose mean is the evidence.

References
----------
Brendel W, Bethge M. Approximating CNNs with bag-of-local-features models works surprisingly well
on ImageNet. ICLR 2019. doi:10.48550/arXiv.1904.00760

Pawlowski N, Glocker B. Is texture predictive for age and sex in brain MRI? MIDL 2019.
https://openreview.net/forum?id=BJxgXfab94
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._networks import ask_part

NEEDS = {"evidence", "local"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "evidence"
EXACT_ON_LINEAR = False
EXACT_ZERO = False


def attribute(rows, view):
    """Compute the share of each neighbourhood in the evidence, distributed over its voxels.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence and module are read.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, X, Y, Z): each voxel holds a part of the evidence of the
        neighbourhood whose centre is nearest. They sum to the evidence.

    Notes
    -----
    With instance normalisation, as published, a local output depends on the whole volume through
    its mean and standard deviation; with ``norm = "batch"`` only on its neighbourhood.
    """

    def local(volumes):
        return view.module.tell(view.module.network.local(volumes))[0]

    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        values = ask_part(view.module, local, volume).double().cpu().numpy()
        whole = float(evaluate(view.evidence, volume[None])[0])
        spread = _spread(values / values.size, view.mask.shape, view.module.network.stride)
        yield Answer(whole, spread[None], np.array([], int))


def _spread(values, grid, step):
    """Distribute values of points, `step` voxels apart from voxel 0, over the nearest voxels."""
    for axis, length in enumerate(grid):
        nearest = np.minimum((np.arange(length) + step // 2) // step, values.shape[axis] - 1)
        voxels = np.bincount(nearest, minlength=values.shape[axis])
        shape = [-1 if value_axis == axis else 1 for value_axis in range(values.ndim)]
        values = np.take(values / voxels.reshape(shape), nearest, axis)
    return values
