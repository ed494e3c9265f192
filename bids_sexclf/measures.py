"""Names, units and meanings of the quality numbers, for pages and figures."""

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
"""Number to its name, the form of its value with the unit, and what is usual."""


def name_measure(number):
    """Return the name of a quality number with its unit; its own key where it has no name.

    Parameters
    ----------
    number : str

    Returns
    -------
    str

    Examples
    --------
    >>> name_measure("motion_mm"), name_measure("coverage_dwi"), name_measure("new_number")
    ('Motion (mm)', 'Coverage of the diffusion series', 'new_number')
    """
    if number not in NUMBERS:
        return number
    name, form, _ = NUMBERS[number]
    unit = form.rpartition("}")[2].strip()
    return f"{name} ({unit})" if unit else name
