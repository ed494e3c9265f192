"""Judge brain masks: numbers that show whether a mask is plausible, and the choice among masks."""

from dataclasses import asdict, dataclass

import numpy as np

from bids_sexclf.anatomy.brain import (
    LARGEST_BRAIN_ML,
    LEAST_BRAIN_ML,
    agreement,
    overlap,
    volume_ml,
)

TREND = 50.0
"""Width, mm (full, at half maximum), of the trend that is removed before brains are compared."""


@dataclass(frozen=True)
class Limit:
    """A range that holds the numbers of all correct masks seen so far.

    Attributes
    ----------
    name : str
        In plain words.
    low, high : float
    unit : str
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    unit: str = ""

    def fault(self, number):
        """Describe the fault of a number; return None where it is within the range."""
        if self.low <= number <= self.high:
            return None
        digits = 0 if self.unit in ("mL", "cm2") else 2
        bound = ("at least", self.low) if number < self.low else ("at most", self.high)
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name} {number:.{digits}f}{unit} (needed {bound[0]} {bound[1]:.{digits}f}{unit})"
        )


LIMITS = {
    "volume_ml": Limit("volume", LEAST_BRAIN_ML, LARGEST_BRAIN_ML, "mL"),
    "template_overlap": Limit("overlap with the template's brain", 0.90),
    "template_agreement": Limit("agreement with the template", 0.30),
    "symmetry": Limit("left-right symmetry", 0.92),
    "stretch": Limit("stretch on the way to the template", high=1.35),
    "cut_cm2": Limit("brain cut off by the edge of the image", high=40, unit="cm2"),
}
"""For each number of `Evidence`. Right masks of real and synthetic heads had overlaps of 0.95 and
more, agreements of 0.57 and more (0.37 around a dark lesion of 113 mL), symmetries of 0.96 and more
and stretches up to 1.25; masks of heads turned on their side, of inverted contrasts and of parts of
brains had overlaps of 0.64 to 0.90, agreements of -0.15 to 0.26 and stretches up to 1.9. The edge
of the image cuts 10 cm2 where only the brainstem leaves it, and 87 cm2 where 20 mm of the vertex
are missing."""

LEAST_OPINIONS = 0.85
"""Least overlap of two masks of one brain that agree. On heads of all shapes, correct masks
overlapped by 0.91 and more, wrong ones by 0.89 and less, mostly 0.7; the other numbers decide
between these."""

LEAST_ALONE = 0.5
"""Least agreement with the template of a mask that is accepted although the other one differs."""


@dataclass(frozen=True)
class Evidence:
    """Numbers by which a brain mask is judged, whatever made it.

    Attributes
    ----------
    volume_ml : float
    template_overlap : float
        Dice overlap with the template's brain mask after a linear transform.
    template_agreement : float
        Correlation with the template inside its brain after a linear transform, both without
        their smooth trend.
    symmetry : float
        Dice overlap of the mask with its mirror image, after the linear transform.
    stretch : float
        How many times longer the linear transform makes one direction than another.
    cut_cm2 : float
        Area of the mask on the faces of the image.
    """

    volume_ml: float
    template_overlap: float
    template_agreement: float
    symmetry: float
    stretch: float
    cut_cm2: float

    def faults(self):
        """Describe the implausible numbers."""
        numbers = asdict(self)
        return [fault for key, limit in LIMITS.items() if (fault := limit.fault(numbers[key]))]

    @property
    def support(self):
        """Return one number by which masks are ranked: overlap and agreement with the template."""
        return self.template_overlap + self.template_agreement


NOTHING = Evidence(0.0, 0.0, 0.0, 0.0, np.inf, 0.0)
"""Numbers of an empty mask."""


def gather(mask, affine, carried_scan, template, matrix):
    """Compute the numbers by which a mask is judged.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        On the scan.
    affine : ndarray, shape (4, 4)
        Of the scan.
    carried_scan : pair of ndarray, shape (I, J, K)
        The scan's brain, and its mask as bool, carried linearly to the template's grid.
    template : triple of ndarray
        The template's brain, its mask as bool, shape (I, J, K), and their affine.
    matrix : ndarray, shape (4, 4)
        The linear transform, world to world.

    Returns
    -------
    Evidence
    """
    (volume, carried), (brain, inside, grid) = carried_scan, template
    size = np.linalg.norm(grid[:3, :3], axis=0)
    scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return Evidence(
        volume_ml=volume_ml(mask, affine),
        template_overlap=overlap(carried, inside),
        template_agreement=agreement(
            _flat(volume, inside, size), _flat(brain, inside, size), inside
        ),
        symmetry=overlap(carried, mirrored(carried, inside, grid)),
        stretch=float(scales[0] / scales[-1]),
        cut_cm2=cut_area(mask, affine),
    )


def cut_area(mask, affine):
    """Measure the area of a mask on the faces of its image.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.

    Returns
    -------
    float
        cm²; large where the brain continues beyond the field of view.
    """
    steps, area = affine[:3, :3], 0.0
    for axis in range(3):
        first, second = (steps[:, image_axis] for image_axis in range(3) if image_axis != axis)
        face = np.linalg.norm(np.cross(first, second)) / 100
        area += face * sum(mask.take(end, axis).sum() for end in (0, -1))
    return float(area)


def mirrored(mask, template_mask, grid):
    """Exchange left and right of a mask on a template's grid.

    Parameters
    ----------
    mask, template_mask : ndarray of bool, shape (I, J, K)
        The mirror plane lies in the middle of the second one.
    grid : ndarray, shape (4, 4)
        Affine of both; its axes lie along those of the world.

    Returns
    -------
    ndarray of bool, shape (I, J, K)
    """
    axis = int(np.argmax(np.abs(grid[0, :3])))
    middle = np.argwhere(template_mask)[:, axis].mean()
    places = np.rint(2 * middle - np.arange(mask.shape[axis])).astype(int)
    within = (places >= 0) & (places < mask.shape[axis])
    turned = np.moveaxis(mask, axis, 0)[np.where(within, places, 0)] & within[:, None, None]
    return np.moveaxis(turned, 0, axis)


def _flat(volume, inside, size):
    """Divide a volume by its smooth trend inside a mask."""
    from scipy import ndimage

    width = TREND / 2.3548 / size
    share = ndimage.gaussian_filter(inside.astype(np.float32), width)
    trend = ndimage.gaussian_filter(np.where(inside, volume, 0).astype(np.float32), width)
    floor = max(1e-3 * float(trend.max()), 1e-6)
    return np.where(inside, volume * share / np.maximum(trend, floor), 0)
