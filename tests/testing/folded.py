"""A synthetic folded brain, as a T1w and as a b0 that lie in one world."""

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

SHAPE = (64, 76, 60)
AFFINE = np.array([[-2.5, 0, 0, 79], [0, 2.5, 0, -94], [0, 0, 2.5, -74], [0, 0, 0, 1]])
T1W = {"fluid": 20.0, "grey": 60.0, "white": 100.0}
B0 = {"fluid": 190.0, "grey": 110.0, "white": 75.0}


def tissues(seed=0):
    """Draw shares of fluid, grey and white matter, summing to 1 inside an ellipsoid."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    folds = ndimage.gaussian_filter(rng.normal(size=SHAPE), 3)
    depth = 4 * (0.8 - radius) + 0.6 * folds / folds.std()
    brain = ndimage.gaussian_filter((radius < 0.8).astype(float), 0.4)
    white = ndimage.gaussian_filter((depth > 0.5).astype(float), 0.4) * brain
    not_fluid = ndimage.gaussian_filter((depth > -0.2).astype(float), 0.4) * brain
    return {"fluid": brain - not_fluid, "grey": np.maximum(not_fluid - white, 0), "white": white}


def image(contrast, seed=0, noise=2.0):
    """Give tissues one contrast."""
    volume = sum(contrast[name] * share for name, share in tissues(seed).items())
    noisy = volume + np.random.default_rng(seed + 1).normal(0, noise, SHAPE)
    return np.where(volume > 5, np.maximum(noisy, 1), 0)


def motion(degrees=(2.0, -3.0, 1.5), shift=(2.0, -3.0, 1.0)):
    """Give a rigid motion, world to world."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def move(volume, matrix):
    """Resample a volume of a head that has moved, on the same grid."""
    route = np.linalg.inv(AFFINE) @ np.linalg.inv(matrix) @ AFFINE
    return ndimage.affine_transform(volume, route[:3, :3], route[:3, 3], order=1)
