"""The template head: the MNI152 brain with fluid, skull, scalp, face and neck around it."""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.lobes import sample_tissues

HEAD_SHAPE, HEAD_ORIGIN_MM, HEAD_MM = (105, 129, 120), (-104.0, -146.0, -124.0), 2.0
"""Grid of the template: from below the chin to above the scalp, wider than the MNI152 maps."""

# Intensities relative to white matter: (T1w, diffusion scan at b = 0 with fat suppression).
INTENSITY = {
    "air": (0.0, 0.0),
    "fat": (1.15, 0.2),
    "muscle": (0.5, 0.5),
    "bone": (0.1, 0.05),
    "marrow": (0.45, 0.1),
    "eye": (0.22, 1.8),
    "cord": (0.9, 0.8),
}


@dataclass(frozen=True)
class Head:
    """The template head.

    Attributes
    ----------
    affine : numpy.ndarray, shape (4, 4)
        Voxel to MNI152 world coordinates, mm.
    grey, white, fluid, brain : numpy.ndarray of float32, shape `HEAD_SHAPE`
        Share of each, in [0, 1]. Fluid also surrounds the brain.
    t1w, b0 : numpy.ndarray of float32, shape `HEAD_SHAPE`
        Signal of everything that is neither brain nor fluid, relative to white matter.
    """

    affine: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    fluid: np.ndarray
    brain: np.ndarray
    t1w: np.ndarray
    b0: np.ndarray


def make_head():
    """Build the template head around the MNI152 brain.

    Returns
    -------
    Head
    """
    from scipy.ndimage import gaussian_filter

    affine = np.diag([HEAD_MM] * 3 + [1.0])
    affine[:3, 3] = HEAD_ORIGIN_MM
    grey, white, brain = sample_tissues(HEAD_SHAPE, affine)
    materials, cavity = _materials(brain > 0.5)
    # Smoothing by half a voxel gives the borders outside the brain partial volume too.
    t1w, b0 = (
        gaussian_filter(np.select(list(materials.values()), column, 0).astype(np.float32), 0.5)
        for column in zip(*(INTENSITY[name] for name in materials), strict=True)
    )
    within = np.maximum(gaussian_filter(cavity.astype(np.float32), 0.5), brain)
    fluid = np.clip(within - grey - white, 0, 1)
    outside = 1 - np.clip(within, 0, 1)
    return Head(affine, grey, white, fluid, brain, t1w * outside, b0 * outside)


def _materials(brain):
    """Make masks of skull, scalp, face and neck; earlier materials override later ones.

    Returns
    -------
    materials : dict of str to bool array
        Keys are those of `INTENSITY`.
    cavity : bool array
        The inside of the skull and of the spinal canal.
    """
    from scipy.ndimage import distance_transform_edt as distance

    closed = distance(distance(~brain) <= 7) > 7
    cavity = (closed | brain) | (distance(~(closed | brain)) <= 1)
    depth = distance(~cavity) * HEAD_MM
    x, y, z = np.ogrid[tuple(slice(n) for n in brain.shape)]
    x, y, z = (
        axis * HEAD_MM + origin for axis, origin in zip((x, y, z), HEAD_ORIGIN_MM, strict=True)
    )
    soft = _soft_tissue(x, y, z)
    head = _smooth((depth <= 14) | soft)
    inward = distance(head) * HEAD_MM
    lower = z < -72
    canal = _tube(x, y + 44 + 0.1 * (z + 72), (9, 8)) & lower
    cord = _tube(x, y + 44 + 0.1 * (z + 72), (6, 5)) & lower
    vertebra = _tube(x, y + 44 + 0.1 * (z + 72), (20, 24)) & lower & ~canal
    skull = (depth > 0) & (depth <= 7)
    air = _air(x, y, z) & ~skull
    materials = {
        "cord": cord,
        "air": ~head | air,
        "eye": _ellipsoid(abs(x) - 34, y - 64, z + 42, (12, 12, 12)),
        "marrow": ((depth > 2.5) & (depth <= 4.5) & (z > -20)) | (vertebra & (z % 16 < 11)),
        "bone": skull | vertebra | _jaw(x, y, z),
        "fat": (inward <= 5) | (abs(inward - 18) < 1.5),
        "muscle": head,
    }
    return materials, (cavity | canal) & ~cord


def _soft_tissue(x, y, z):
    """Return the mask of face, nose, jaw and neck."""
    face = _ellipsoid(x, y - 38, z + 66, (62, 56, 66))
    nose = _ellipsoid(x, y - 92, z + 66, (11, 17, 18))
    chin = _ellipsoid(x, y - 62, z + 112, (34, 30, 22))
    neck = _tube(x, y + 22, (60, 62)) & (z < -50)
    nape = _ellipsoid(x, y + 60, z + 70, (60, 50, 50))
    return face | nose | chin | neck | nape


def _air(x, y, z):
    """Return the mask of the air in sinuses, nose, mouth and throat."""
    nose = _ellipsoid(abs(x) - 7, y - 62, z + 66, (5, 28, 18))
    antrum = _ellipsoid(abs(x) - 30, y - 56, z + 74, (11, 13, 14))
    frontal = _ellipsoid(abs(x) - 9, y - 84, z + 26, (8, 4, 8))
    throat = _ellipsoid(x, y - 8, z + 82, (11, 8, 24)) | (_tube(x, y - 4, (9, 8)) & (z < -90))
    return nose | antrum | frontal | throat


def _jaw(x, y, z):
    """Return the mask of the lower and the upper jaw bone."""
    arch = (np.hypot(x / 40, (y - 38) / 42) < 1) & (np.hypot(x / 31, (y - 38) / 34) > 1)
    return arch & (y > 25) & (((z < -98) & (z > -118)) | ((z > -92) & (z < -84)))


def _ellipsoid(x, y, z, radii):
    """Return the points that lie in an ellipsoid around the origin."""
    return (x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2 <= 1


def _tube(x, y, radii):
    """Return the points that lie in an upright elliptic cylinder around the origin."""
    return (x / radii[0]) ** 2 + (y / radii[1]) ** 2 <= 1


def _smooth(volume):
    """Smooth the outline of a bool volume."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(volume.astype(np.float32), 2, mode="nearest") > 0.5
