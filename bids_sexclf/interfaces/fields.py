"""Displacement fields: crop to a box around the brain, invert there, and extend to a grid."""

import numpy as np

MARGIN_MM = 10
"""Margin around the brain, mm; voxels farther away are not needed."""


def crop_to_brain(image, margin_mm=MARGIN_MM):
    """Crop an image to the box around the brain, with a margin.

    Parameters
    ----------
    image : ants.ANTsImage
        A brain, 0 outside.
    margin_mm : float

    Returns
    -------
    ants.ANTsImage
        The image itself, where it is empty.
    """
    import ants

    inside = np.argwhere(image.numpy() > 0)
    if not len(inside):
        return image
    margin = np.ceil(margin_mm / np.array(image.spacing)).astype(int)
    low = np.maximum(inside.min(0) - margin, 0)
    high = np.minimum(inside.max(0) + 1 + margin, image.shape)
    return ants.crop_indices(image, low.tolist(), high.tolist())


def sample_field(field, grid):
    """Interpolate a displacement field at the points of a grid, linearly.

    Parameters
    ----------
    field, grid : SimpleITK.Image

    Returns
    -------
    SimpleITK.Image
        Displacements, mm, in double precision; those of the nearest point outside the field.
    """
    import SimpleITK

    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetReferenceImage(grid)
    resampler.SetOutputPixelType(SimpleITK.sitkVectorFloat64)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return resampler.Execute(field)


def invert(field, threads=1):
    """Invert a displacement field by fixed-point iteration.

    Parameters
    ----------
    field : SimpleITK.Image
        Displacements, mm, in double precision.
    threads : int

    Returns
    -------
    SimpleITK.Image
        Displacements, mm, on the same grid.

    References
    ----------
    Chen et al. 2008, A simple fixed-point approach to invert a deformation field,
    doi:10.1118/1.2816107.
    """
    import SimpleITK

    inverter = SimpleITK.InvertDisplacementFieldImageFilter()
    inverter.SetMaximumNumberOfIterations(50)
    inverter.SetMeanErrorToleranceThreshold(1e-4)
    inverter.SetMaxErrorToleranceThreshold(1e-2)
    inverter.EnforceBoundaryConditionOff()
    inverter.SetNumberOfThreads(threads)
    return inverter.Execute(field)


def spread_field(path, grid):
    """Read a displacement field and extend it continuously over a whole grid.

    Parameters
    ----------
    path : path-like
        Displacements, mm (LPS+), at points of a box of the grid.
    grid : ants.ANTsImage
        From the sides of the box to its own sides, displacements fall to zero.

    Returns
    -------
    ants.ANTsTransform
    """
    import ants

    field = ants.image_read(str(path))
    offset = np.array(field.origin) - np.array(grid.origin)
    before = np.round(np.linalg.solve(grid.direction, offset) / grid.spacing).astype(int)
    after = np.array(grid.shape) - before - field.shape
    widths = list(zip(before.tolist(), after.tolist(), strict=True))
    parts = [
        grid.new_image_like(np.pad(part.numpy(), widths, mode="linear_ramp").astype(np.float32))
        for part in ants.split_channels(field)
    ]
    return ants.transform_from_displacement_field(ants.merge_channels(parts))
