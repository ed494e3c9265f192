"""Colour the principal direction of diffusion by the axes of the body."""

import numpy as np


def colour_directions(directions, fa, affine):
    """Return colours of the principal direction: red left-right, green front-back, blue up-down.

    Parameters
    ----------
    directions : ndarray, shape (X, Y, Z, 3)
        Unit vectors in the frame of FSL's b-vectors: along the image axes, the first one turned
        round where the affine's determinant is positive. Their sign has no meaning.
    fa : ndarray, shape (X, Y, Z)
        Fractional anisotropy in [0, 1]: the brightness.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm. Colours follow the world's axes, so that a scan has the same colours
        whichever way its slices were laid.

    Returns
    -------
    ndarray of uint8, shape (X, Y, Z, 3)

    References
    ----------
    Pajevic and Pierpaoli 1999, doi:10.1002/(SICI)1522-2594(199909)42:3<526::AID-MRM15>3.0.CO;2-J.

    Examples
    --------
    >>> along_first_axis = np.array([1.0, 0, 0]).reshape(1, 1, 1, 3)
    >>> sagittal = np.array([[0, 0, 2.0, 0], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]])
    >>> colour_directions(along_first_axis, np.ones((1, 1, 1)), sagittal).ravel().tolist()
    [0, 255, 0]
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        axes = axes * [-1, 1, 1]
    colours = np.zeros((*fa.shape, 3), np.uint8)
    for index in range(fa.shape[2]):  # slice by slice, so that no copy of the whole is held
        shares = np.abs(np.nan_to_num(directions[:, :, index]) @ axes.T)
        bright = np.clip(np.nan_to_num(fa[:, :, index]), 0, 1)[..., None]
        colours[:, :, index] = np.round(255 * np.minimum(shares, 1) * bright)
    return colours
