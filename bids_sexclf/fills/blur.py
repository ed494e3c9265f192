"""Fill a region with a blurred copy of itself and its surroundings. It makes no claim."""

import numpy as np

from bids_sexclf.fills import Replacement

CLAIMS = False
SAYS = "a blurred copy of the participant's own volume"


def prepare(tested, width=3.0):
    """Prepare the fill.

    Parameters
    ----------
    tested : fills.Tested
        Its mask keeps the background out of the average.
    width : float
        Standard deviation of the Gaussian, voxels.

    Returns
    -------
    callable
        See :func:`bids_sexclf.fills.prepare`.
    """
    from scipy.ndimage import gaussian_filter

    inside = tested.mask.astype(np.float32)
    share = np.maximum(gaussian_filter(inside, width), 1e-6)

    def blur(channel):
        return gaussian_filter(channel * inside, width) / share * inside

    def fill(volume, row):
        channels = volume.reshape(-1, *tested.mask.shape)
        blurred = np.stack([blur(channel) for channel in channels])
        return [Replacement(blurred.reshape(volume.shape).astype(volume.dtype))]

    return fill
