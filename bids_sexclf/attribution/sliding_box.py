"""Sliding-box occlusion: replace the content of a moving box, and compute the loss of evidence.

References
----------
Zeiler MD, Fergus R. Visualizing and understanding convolutional networks. ECCV 2014.
doi:10.1007/978-3-319-10590-1_53

Lu B, et al. A practical Alzheimer's disease classifier via brain imaging-based deep learning on
85,721 samples. J Big Data 2022. doi:10.1186/s40537-022-00650-y
"""

from itertools import product

import numpy as np

from bids_sexclf.attribution import Answer, evaluate

NEEDS = {"evidence", "fill"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "evidence"
EXACT_ON_LINEAR = False
EXACT_ZERO = False


def attribute(rows, view, size=6, stride=3):
    """Compute the loss of evidence for each box, distributed evenly over its voxels.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence, mask and fill are read, and ``near`` where there is one. Boxes without a voxel of
        the mask are left out.
    size : int
        Edge of the box, voxels.
    stride : int
        Voxels from one box to the next; at most `size`, so that no voxel is left out.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (draws, [C,] X, Y, Z): evidence per voxel, averaged over the boxes that
        hold it. With boxes of one voxel it is exact on a linear model.
    """
    boxes = _list_boxes(view.mask, size, min(stride, size))
    n_boxes = np.zeros(view.mask.shape)
    for box in boxes:
        n_boxes[box] += 1
    for row in range(len(rows)):
        volume = np.asarray(rows[row], dtype=np.float32)
        whole = float(evaluate(view.evidence, volume[None])[0])
        replacements = view.fill(volume, row)
        evidence = view.near(volume) if view.near and replacements else view.evidence
        values = np.zeros((len(replacements), *volume.shape))
        for draw, replacement in enumerate(replacements):
            put_in = np.asarray(replacement.volume, dtype=np.float32)
            for box in boxes:
                place = (..., *box)
                if (volume[place] == put_in[place]).all():
                    continue
                hidden = volume.copy()
                hidden[place] = put_in[place]
                lost = whole - evaluate(evidence, hidden[None])[0]
                values[draw][place] += lost / volume[place].size
        yield Answer(
            whole,
            values / np.maximum(n_boxes, 1),
            np.array([], int),
            tuple(replacement.source for replacement in replacements),
            tuple(replacement.weight for replacement in replacements),
        )


def _list_boxes(mask, size, stride):
    """List the boxes with a voxel of the mask, as slices; boxes at the edge are cropped."""
    starts = [range(0, max(1, n - size + stride), stride) for n in mask.shape]
    boxes = [tuple(slice(a, a + size) for a in corner) for corner in product(*starts)]
    return [box for box in boxes if mask[box].any()]
