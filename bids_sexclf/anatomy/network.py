"""Find the brain with trained networks: deepbet's weights, read and applied by our own code.

References
----------
Fisch et al. 2024, deepbet: Fast brain extraction of T1-weighted MRI using convolutional neural
networks, doi:10.1016/j.compbiomed.2024.108845.
"""

import warnings
from contextlib import contextmanager

import numpy as np

from bids_sexclf.anatomy.brain import largest_part

COARSE, FINE = 128, 256
"""Voxels along each axis of the input of the first and the second network."""

DARKEST, BRIGHTEST = 0.005, 0.995
"""Quantiles of the whole image between which intensities are kept."""

LEAST_SHARE = 0.02
"""Least share of brain in a slice that belongs to the box around the brain."""

MARGIN = 0.1
"""Added to the box on each side, as a share of its length."""


def find_brain(t1w, weights, threads=1):
    """Mask all that lies within the skull: brain and the fluid around it.

    One network finds the box around the brain on a coarse grid, the other segments the brain
    inside the box. Each resizes its box to a cube of voxels. Both were trained on T1w scans of
    healthy adults with RAS+ axes.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
        Axes RAS+, in any unit.
    weights : pair of path-like
        Of the network of the box and of the network of the mask (TorchScript).
    threads : int
        Of the processor.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        One part without holes; empty where the networks find no brain.
    """
    from scipy import ndimage

    mask = np.zeros(t1w.shape, bool)
    with _computing(threads):
        volume = _tensor(t1w)
        window, coarse = _see_coarsely(volume, weights)
        box = _box(coarse, t1w.shape)
        if box is None:
            return mask
        probability = _apply(weights[1], _resize(volume[box], (FINE,) * 3), window)
        # The probability, not the mask, is resampled: its threshold can lie between voxels.
        inside = _resize(probability, volume[box].shape, "trilinear").numpy() > 0.5
    mask[box] = ndimage.binary_fill_holes(largest_part(inside))
    return mask


def find_coarsely(t1w, weights, threads=1):
    """Mask the brain coarsely with the first network only, in a tenth of the time.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
        Axes RAS+, in any unit.
    weights : pair of path-like
        As for `find_brain`.
    threads : int

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
    """
    import torch

    with _computing(threads):
        _, coarse = _see_coarsely(_tensor(t1w), weights)
        return _resize(torch.from_numpy(coarse.astype(np.float32)), t1w.shape).numpy() > 0.5


@contextmanager
def _computing(threads):
    """Set the number of threads of torch, and switch off gradients, within a context."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def _tensor(t1w):
    import torch

    return torch.from_numpy(np.array(t1w, np.float32, order="C")).nan_to_num()


def _see_coarsely(volume, weights):
    """Return the range of intensities to keep, and the brain mask of the first network."""
    coarse = _resize(volume, (COARSE,) * 3)
    window = np.quantile(coarse.numpy(), [DARKEST, BRIGHTEST])
    if not window[1] > window[0]:
        return window, np.zeros(coarse.shape, bool)
    return window, largest_part(_apply(weights[0], coarse, window).numpy() > 0.5)


def _apply(path, volume, window):
    """Return the probability of brain from a network."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about TorchScript, the format of the files
        network = torch.jit.load(str(path), map_location="cpu").eval()
    low, high = map(float, window)
    volume = ((volume - low) / (high - low)).clamp(0, 1)
    volume = 0.226 * (volume - volume.mean()) / volume.std() + 0.449  # as in their training
    return network(volume[None, None])[0, 1]


def _resize(volume, shape, mode="nearest-exact"):
    """Interpolate a volume to another number of voxels over the same extent."""
    import torch

    return torch.nn.functional.interpolate(volume[None, None], tuple(shape), mode=mode)[0, 0]


def _box(mask, shape):
    """Return the slices around the brain on the grid of the scan, or None without a brain."""
    box = []
    for axis, length in enumerate(shape):
        share = mask.mean(axis=tuple({0, 1, 2} - {axis}))
        slices = np.flatnonzero(share > LEAST_SHARE)
        if not slices.size:
            return None
        low, high = slices[0] * length / COARSE, (slices[-1] + 1) * length / COARSE
        room = MARGIN * (high - low)
        box.append(slice(max(0, round(low - room)), min(length, round(high + room))))
    return tuple(box)
