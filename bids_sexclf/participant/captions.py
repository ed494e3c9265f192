"""Texts of a participant's page: what pictures and numbers mean, and what a good one looks like."""

import math
import re

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

NUMBERS = {
    "brain_volume_ml": (
        "Brain volume",
        "{:.0f} mL",
        "grey and white matter, in native space; adults have about 900 to 1500",
    ),
    "mask_volume_ml": (
        "Brain mask",
        "{:.0f} mL",
        "in native space; adults have 1000 to 1900. By default it is all that lies within the "
        "skull, otherwise what its maker takes for brain",
    ),
    "mask_opinions_overlap": (
        "Overlap of the two brain masks",
        "{:.2f}",
        "Dice of two masks that were made independently; above 0.9 is usual, below 0.85 they "
        "disagree",
    ),
    "mask_template_overlap": (
        "Overlap of the mask with the template's brain",
        "{:.2f}",
        "Dice, after a linear transform; above 0.93 is usual",
    ),
    "mask_template_agreement": (
        "Agreement of the brain in the mask with the template",
        "{:.2f}",
        "correlation after a linear transform; above 0.5 is usual",
    ),
    "mask_symmetry": (
        "Left-right symmetry of the mask",
        "{:.2f}",
        "Dice of the mask with its mirror image; above 0.95 is usual",
    ),
    "mask_turned_degrees": (
        "Head turned by",
        "{:.0f} degrees",
        "against what the file's header says: 0 is right. With any other number the header is "
        "wrong, and left and right may be exchanged",
    ),
    "mask_stretch": (
        "Stretch of the head",
        "{:.2f}",
        "how many times longer the linear transform to the template makes one direction than "
        "another; 1.0 to 1.2 is usual",
    ),
    "mask_cut_cm2": (
        "Brain cut by the image's edge",
        "{:.0f} cm²",
        "area of the mask on the edges of the image; 0 means that the brain is whole",
    ),
    "grey_volume_ml": ("Grey matter", "{:.0f} mL", "inside the mask, in native space"),
    "white_volume_ml": ("White matter", "{:.0f} mL", "inside the mask, in native space"),
    "csf_volume_ml": ("Fluid", "{:.0f} mL", "inside the mask, in native space"),
    "intracranial_volume_ml": (
        "Intracranial volume",
        "{:.0f} mL",
        "the mask, where it is all that lies within the skull (deepbet); otherwise estimated: the "
        "mask closed over sulci and fissures",
    ),
    "white_gradient_percent": (
        "Bias field left",
        "{:.1f} %",
        "how much white matter changes from the bottom of the brain to the vertex; 5 % or less is "
        "usual",
    ),
    "grey_white_contrast": (
        "Contrast of grey and white matter",
        "{:.2f}",
        "by how much grey matter is darker, as a share of white matter; 0.15 to 0.35 is usual for "
        "a T1w, and below 0 the contrast is inverted",
    ),
    "registration_agreement": (
        "Agreement with the template",
        "{:.2f}",
        "correlation inside the brain; compare it with the other participants",
    ),
    "coverage_t1w": (
        "Coverage of the T1w",
        "{:.0%}",
        "of the template's brain was measured",
    ),
    "coverage_dwi": (
        "Coverage of the diffusion series",
        "{:.0%}",
        "of the template's brain was measured",
    ),
    "orientation_known": (
        "Left and right known",
        "{:.0f}",
        "1: the headers tell them; 0: qform and sform codes are 0, so that nothing can be said of "
        "one side",
    ),
    "snr": (
        "Signal-to-noise",
        "{:.1f}",
        "mean over standard deviation inside white matter; it compares scans of one protocol only",
    ),
    "distortion_agreement_before": (
        "Agreement before distortion correction",
        "{:.3f}",
        "",
    ),
    "distortion_agreement_after": (
        "Agreement after distortion correction",
        "{:.3f}",
        "the same measure; it should have risen",
    ),
    "motion_mm": ("Motion", "{:.2f} mm", "mean displacement between successive diffusion volumes"),
    "motion_max_mm": ("Largest motion", "{:.2f} mm", "between two successive volumes"),
    "noise_sd": ("Diffusion noise", "{:.3g}", "median SD inside the brain, in the scan's unit"),
    "b0_snr": ("Signal-to-noise of b=0", "{:.1f}", "median signal over that noise"),
    "slice_outliers_percent": (
        "Slices that stand out",
        "{:.2f} %",
        "of the slices of all diffusion volumes; 0 to 1 % is usual",
    ),
}


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
