"""A synthetic head and a forward model of distortion: signal is pushed, none is lost."""

import numpy as np
from scipy import ndimage

SHAPE = (36, 44, 26)


def head(seed=0, shape=SHAPE):
    """Make a textured ellipsoid with dark folds and bright hollows."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    brain = (radius < 0.75).astype(float)
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 1.2)
    hollow = np.exp(-((grid[0] / 0.2) ** 2 + (grid[1] / 0.35) ** 2 + (grid[2] / 0.3) ** 2))
    volume = brain * (1 + 1.5 * texture / texture.std() * 0.12 + 0.8 * hollow)
    return 1000 * ndimage.gaussian_filter(volume, 0.5).clip(0)


def smooth_shift(seed=1, largest=2.5, shape=SHAPE):
    """Make a smooth field, in voxels, that fades towards the edges of the volume."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 5)
    fade = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    field = field * np.exp(-((np.abs(fade).max(0) / 0.9) ** 8))
    return field * (largest / np.abs(field).max())


def distort(volume, shift, axis, fine=16):
    """Push the signal of every voxel along an axis by its shift; sums along lines are kept."""
    lines = np.moveaxis(volume, axis, -1).reshape(-1, volume.shape[axis])
    moves = np.moveaxis(shift, axis, -1).reshape(lines.shape)
    count = lines.shape[1]
    places = np.arange(count * fine) / fine - 0.5 + 0.5 / fine
    out = np.zeros_like(lines)
    for line, move, target in zip(lines, moves, out, strict=True):
        signal = np.interp(places, np.arange(count), line) / fine
        landed = places + np.interp(places, np.arange(count), move)
        low = np.floor(landed).astype(int)
        for index, share in ((low, low + 1 - landed), (low + 1, landed - low)):
            kept = (index >= 0) & (index < count)
            np.add.at(target, index[kept], (signal * share)[kept])
    shape = np.moveaxis(volume, axis, -1).shape
    return np.moveaxis(out.reshape(shape), -1, axis)
