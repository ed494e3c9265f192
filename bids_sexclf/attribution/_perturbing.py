"""Blur, enlarge, shift and measure masks: the arithmetic of meaningful perturbation."""


def gaussian(sigma, size):
    """Return the weights of a Gaussian along one axis.

    Parameters
    ----------
    sigma : float
        Voxels.
    size : int
        Number of weights, odd.

    Returns
    -------
    torch.Tensor, shape (size,)
        Their sum is 1.
    """
    import torch

    places = torch.arange(size) - size // 2
    weights = torch.exp(-0.5 * (places / sigma) ** 2)
    return weights / weights.sum()


def blur(volumes, weights):
    """Blur volumes along three axes, with the outermost voxels repeated beyond the edge.

    Parameters
    ----------
    volumes : torch.Tensor, shape (n, channels, X, Y, Z)
    weights : torch.Tensor, shape (k,)
        Along each axis, k odd.

    Returns
    -------
    torch.Tensor, the shape of `volumes`
    """
    from torch.nn.functional import conv3d, pad

    shape = volumes.shape
    flat = volumes.reshape(-1, 1, *shape[2:])
    weights = weights.to(flat)
    reach = len(weights) // 2
    for axis in range(3):
        around = [reach if 2 - side // 2 == axis else 0 for side in range(6)]
        kernel = weights.reshape([-1 if image_axis == axis else 1 for image_axis in range(3)])
        flat = conv3d(pad(flat, around, mode="replicate"), kernel[None, None])
    return flat.reshape(shape)


def enlarge(masks, grid):
    """Interpolate masks (n, 1, x, y, z) linearly at the voxels of a grid."""
    from torch.nn.functional import interpolate

    return interpolate(masks, size=tuple(grid), mode="trilinear", align_corners=False)


def shift(volumes, steps):
    """Shift volumes (n, channels, X, Y, Z) by whole voxels; repeat the outermost voxels."""
    import torch

    for axis, step in enumerate(steps, start=2):
        length = volumes.shape[axis]
        places = (torch.arange(length, device=volumes.device) - step).clamp(0, length - 1)
        volumes = volumes.index_select(axis, places)
    return volumes


def measure_roughness(masks, power):
    """Compute the mean of differences of neighbouring voxels, to a power, along three axes.

    Parameters
    ----------
    masks : torch.Tensor, shape (n, 1, x, y, z)
    power : float

    Returns
    -------
    torch.Tensor, shape (n,)
    """
    terms = [masks.diff(dim=axis).abs() for axis in (2, 3, 4) if masks.shape[axis] > 1]
    # The slope of x ** p at 0 is 0 for p > 1, also in torch.
    return sum((term**power).flatten(1).mean(1) for term in terms)
