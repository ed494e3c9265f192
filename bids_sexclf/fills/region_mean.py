"""Fill a region with its mean over all tested people, with equal weight of both sexes.

This removes the pattern within the region and the differences between people; but a flat region
is unlike that of any person. It makes no claim.
"""

import numpy as np

from bids_sexclf.fills import Replacement

CLAIMS = False
SAYS = "the mean of the region over all tested people, both sexes alike"


def prepare(tested):
    """Average each region over its voxels and the tested people.

    Parameters
    ----------
    tested : fills.Tested

    Returns
    -------
    callable
        See :func:`bids_sexclf.fills.prepare`.
    """
    labels = tested.parcellation.ravel()
    sizes = np.maximum(np.bincount(labels), 1)
    sex = tested.people["sex"].to_numpy()
    means = dict.fromkeys(np.unique(sex), 0.0)
    for row in range(len(tested.rows)):
        channels = np.asarray(tested.rows[row], float).reshape(-1, labels.size)
        sums = np.stack([np.bincount(labels, channel) for channel in channels])
        means[sex[row]] += sums / sizes / np.count_nonzero(sex == sex[row])
    painted = np.mean(list(means.values()), axis=0)[:, tested.parcellation]

    def fill(volume, row):
        return [Replacement(painted.reshape(volume.shape).astype(volume.dtype))]

    return fill
