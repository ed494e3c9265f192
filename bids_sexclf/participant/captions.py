"""Texts of a participant's page: what pictures and numbers mean, and what a good one looks like."""

import math
import re

from bids_sexclf.measures import NUMBERS
from bids_sexclf.quality import read_limits
from bids_sexclf.tables import schema

FIGURES = {
    "T1w": {
        "t1wmask": (
            "Brain mask",
            "The outline should follow the brain's surface: no skull, eyes or neck inside, "
            "no cortex or cerebellum outside.",
        ),
        "t1wtemplate": (
            "Registration to the template",
            "Hover (or wait) to flicker between the template and the registered brain: ventricles, "
            "sulci and the outer edge should stay in place; the outline is the template's brain.",
        ),
        "tissueborders": (
            "Borders of tissues",
            "The orange line should follow the border of grey and white matter from the bottom to "
            "the vertex, the blue line the outer surface of grey matter. Fluid lies outside the "
            "blue line and in the ventricles.",
        ),
    },
    "Diffusion series": {
        "b0": (
            "Mean b=0 volume",
            "The reference of the series, after all corrections, with nothing drawn on it: the "
            "brain should be whole, sharp and symmetric, its frontal and temporal poles neither "
            "dark nor piled up.",
        ),
        "gradients": (
            "b-values and gradient directions",
            "Each sphere is one shell, seen from the side: filled points are directions as "
            "measured, rings their antipodes, which measure the same. Points and rings together "
            "should cover the sphere evenly; a bare half or a cluster means a wrong or incomplete "
            "table.",
        ),
        "series": (
            "Volume by volume: motion and slices",
            "Above, how far the head moved before each volume: below about 1 mm is good, a few "
            "spikes can be mended, a restless trace cannot. Below, the signal of each slice beside "
            "what the tensor predicts: it should be pale all over. A blue line is a slice that "
            "lost signal to motion, a striped volume moved while it was measured, a red one has a "
            "spike or leftover misalignment. Grey slices are not judged: they hold too little "
            "brain, or lie at the end of the field of view, which a head that moves leaves.",
        ),
        "denoised": (
            "Removed by denoising",
            "It should look like noise: no anatomy, no edges. Anatomy here is signal lost. Patches "
            "that fade smoothly are where the coils' own noise is higher.",
        ),
        "unrung": (
            "Removed with Gibbs ringing",
            "Thin bands beside sharp edges, and noise; nothing of the brain's own pattern.",
        ),
        "dwidistortion": (
            "Susceptibility distortion, before and after",
            "Hover to flicker between the mean b=0 volume as scanned and corrected: the corrected "
            "brain should fill the outline, its frontal and temporal poles neither stretched nor "
            "folded, and its two sides alike.",
        ),
        "dwimask": (
            "Brain mask on the mean b=0 volume",
            "The outline should hold the whole brain and little else.",
        ),
        "dwit1w": (
            "Mean b=0 volume registered to the T1w",
            "Hover to flicker: ventricles and the outer edge should agree, except for stretch "
            "that remains along the phase-encoding axis.",
        ),
    },
    "Maps": {
        "colourfa": (
            "Directions of diffusion in colour",
            "As bright as FA is high. The corpus callosum should be red on the midline, the "
            "corticospinal tract blue from brain stem to vertex, the tracts beside the callosum "
            "green. Colours that are exchanged mean that the b-vectors have the wrong axes.",
        ),
        "tensormaps": (
            "Tensor maps",
            "In the scan's own space. White matter should be bright in FA and symmetric, with no "
            "bright rim; MD even over the brain and high (bright) in fluid only. The window is the "
            "same for everyone, so pages compare.",
        ),
        "kurtosismaps": (
            "Kurtosis maps",
            "MK should be highest in white matter, about 1, without black holes: holes are voxels "
            "whose fit was driven to its limit by noise.",
        ),
        "noddimaps": (
            "NODDI maps",
            "ICVF high in white matter, ODI high in grey matter, ISOVF high in fluid only.",
        ),
        "famap": (
            "FA on the group grid",
            "The outline is the template's brain. The corpus callosum should lie on the midline, "
            "and tracts where the outline leads one to expect them.",
        ),
    },
}
"""Section of the page to its pictures: key to heading and what right looks like."""


def list_numbers(numbers, marks):
    """List the quality numbers of a page: described ones first, then all others.

    Parameters
    ----------
    numbers : dict
        What the quality file holds.
    marks : dict of str to str
        Number to ``broken`` or ``odd``.

    Returns
    -------
    list of tuple of str
        Label, value with its unit, meaning, mark.
    """
    descriptions, limits = schema("quality"), read_limits()
    unnamed = {
        name: (
            re.sub(r"_(ml|mm|cm2|percent|degrees)$", "", name).replace("_", " "),
            f"{{:.3g}} {entry.get('Units', '')}".strip(),
            entry["Description"],
        )
        for name, entry in descriptions.items()
        if name not in NUMBERS and entry.get("Format") == "number"
    }
    return [
        (
            label[:1].upper() + label[1:],
            text.format(numbers[key]),
            "; ".join(
                filter(None, (meaning or _tell_correction(numbers), _tell_limits(limits.get(key))))
            ),
            marks.get(key, ""),
        )
        for key, (label, text, meaning) in (NUMBERS | unnamed).items()
        if numbers.get(key) is not None
    ]


def _tell_limits(pair):
    """Describe the limits of a quality number; return None where it has no limit."""
    lowest, highest = pair or (-math.inf, math.inf)
    below = f"below {lowest:g}" if math.isfinite(lowest) else None
    above = f"above {highest:g}" if math.isfinite(highest) else None
    words = " or ".join(filter(None, (below, above)))
    return f"refused {words}" if words else None


def _tell_correction(numbers):
    """Describe the method that measured the distortion, and why it was chosen."""
    correction = numbers.get("distortion", {})
    return "; ".join(filter(None, (correction.get("measure"), correction.get("why"))))
