"""Fill a region with zeros, the value outside the brain. It makes no claim."""

import numpy as np

from bids_sexclf.fills import Replacement

CLAIMS = False
SAYS = "zeros"


def prepare(tested):
    """Prepare the fill.

    Parameters
    ----------
    tested : fills.Tested
        Not read.

    Returns
    -------
    callable
        See :func:`bids_sexclf.fills.prepare`.
    """
    return lambda volume, row: [Replacement(np.zeros_like(volume))]
