"""Slice confidence: the evidence of each slice in a network of slices.

References
----------
Khanna A, et al. Sex classification and segmentation of brain MRI by transfer learning: which
slices speak is their third question; the published figures show the confidence for each slice.
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._networks import ask_part

NEEDS = {"evidence", "slices"}
YIELDS = "slices"
SCOPE = "participant"
UNIT = "evidence"
EXACT_ON_LINEAR = False
EXACT_ZERO = False


def attribute(rows, view):
    """Compute the evidence of every slice; their mean is that of the participant.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence and module are read.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, slices), named by view and number; a slab of slices by its first
        and last. The confidence for male is their logistic function.
    """
    network = view.module.network
    names = tuple(network.slice_names)
    index = np.arange(1, len(names) + 1)

    def listen(volumes):
        return view.module.tell(network.slice_logits(volumes), axis=2)

    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        values = ask_part(view.module, listen, volume).double().cpu().numpy()
        whole = float(evaluate(view.evidence, volume[None])[0])
        yield Answer(whole, values, index, names=names)
