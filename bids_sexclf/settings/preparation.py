"""Choices of the participant level: the preparation of scans."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bids_sexclf.settings.people import People
from bids_sexclf.settings.records import choice

Kurtosis = Annotated[float, Field(ge=-10, le=100)]


class Preparation(People):
    """All choices of the participant level that can change a number."""

    template: str = choice("MNI152NLin6Asym", "Template space (TemplateFlow name).")
    templates_dir: Path | None = choice(
        None,
        "Folder laid out like a TemplateFlow home that holds the template; "
        "TemplateFlow by default.",
    )
    resolution: float = choice(2.0, "Voxel size of the group grid, mm.", minimum=0.5, maximum=8)
    skull_strip: Literal["auto", "force", "skip"] = choice(
        "auto",
        "Extract the brain from the T1w: auto does unless the scan came without its skull, force "
        "always does, skip takes what is not empty as the brain.",
    )
    brain_extraction: Literal["deepbet", "template", "bet"] = choice(
        "deepbet",
        "How: the trained network deepbet, whose mask is all that lies within the skull; the "
        "template's mask carried by registering the whole head; or FSL's bet, which must be on the "
        "PATH. A second one gives its opinion on every mask: the template's, or deepbet on it.",
    )
    registration: Literal["accurate", "fast"] = choice(
        "accurate",
        "Deformation from the T1w to the template: accurate works at 1 mm and matches more detail, "
        "fast works on the template's own grid in less than half the time, and more smoothly.",
    )
    native_resolution: float = choice(
        3.14,
        "Voxel size of the T1w in its own size (space-ACPC), mm; 3.14 covers the field of view of "
        "MNI152 (182 x 218 x 182 mm) by 58 x 70 x 58 voxels.",
        minimum=0.5,
        maximum=8,
    )
    morphometry_atlas: list[str] = choice(
        ["Lobes"],
        "Atlases whose regions are measured in native space: known names, or images with their "
        "label table (TSV) beside them; none for no such table.",
        once=True,
    )
    t1w_runs: Literal["best", "average", "first"] = choice(
        "best",
        "Which of several runs of one T1w: the sharpest one (lowest entropy focus), the average of "
        "all after rigid alignment, or the first. One run for everybody keeps noise and sharpness "
        "comparable; averages differ from single runs in both. Of several reconstructions the one "
        "with the plainest name is taken; --bids-filter-file chooses another.",
    )
    dwi_runs: Literal["concatenate", "first"] = choice(
        "concatenate",
        "Several runs of a diffusion series: take all, or the first. All series of a session that "
        "share grid and echo time are pooled, whatever their phase encoding and shells.",
    )
    b0_threshold: float = choice(
        50.0,
        "Largest b-value of a volume that counts as b0, s/mm²; FSL's eddy keeps its own limit. "
        "Weighted volumes without a direction (trace images) are left out.",
        minimum=0,
        maximum=200,
    )
    denoise: Literal["mppca", "patch2self", "none"] = choice(
        "mppca",
        "How thermal noise is removed from diffusion series: Marchenko-Pastur PCA, Patch2Self, or "
        "not.",
    )
    gibbs: Literal["native", "dipy", "none"] = choice(
        "native",
        "How Gibbs ringing inside slices of diffusion series is suppressed: by local subvoxel "
        "shifts, all slices at once or by dipy (the same method, ten times slower), or not; switch "
        "it off where the scanner interpolated or filtered them.",
    )
    dwi_alignment: Literal["affine", "rigid", "none"] = choice(
        "affine",
        "How diffusion volumes are aligned with each other; gradients turn along. Affine is rigid "
        "and what eddy currents do along the phase-encoding axis, where that is known.",
    )
    eddy_engine: Literal["ants", "fsl"] = choice(
        "ants",
        "What aligns diffusion volumes: our own registration (ANTs ties the shells), or FSL's "
        "eddy.",
    )
    dwi_bias: Literal["n4", "none"] = choice(
        "n4", "Whether N4 on the mean b=0 volume takes the bias field out of diffusion series."
    )
    dwi_normalization: Literal["auto", "t1w", "fa"] = choice(
        "auto",
        "How diffusion maps reach the template: through the T1w, or by registering FA to an FA "
        "template. auto: through the T1w where there is one, by FA where a template is at hand, "
        "else (as t1w without a T1w) by the mean b0 volume.",
    )
    fa_template: Path | None = choice(
        None,
        "FA template in the template's space; FMRIB58_FA_1mm of $FSLDIR by default, where the "
        "template is MNI152NLin6Asym.",
    )
    registration_engine: Literal["ants", "fsl"] = choice(
        "ants",
        "What registers T1w and FA to their templates: ANTs (with Greedy for the T1w's "
        "deformation), or FSL's FLIRT and FNIRT, which must be on the PATH.",
    )
    dwi_models: list[Literal["tensor", "kurtosis", "noddi"]] = choice(
        ["tensor", "kurtosis"],
        "Models fitted to diffusion series, each where its shells allow it; tensor is always "
        "among them.",
        once=True,
    )
    fit_engine: Literal["native", "dipy", "fsl"] = choice(
        "native",
        "What fits the models: this package, dipy (slower), or FSL's dtifit, which must be on the "
        "PATH. A model that an engine does not have is fitted by this package.",
    )
    distortion: Literal["auto", "opposite", "topup", "fieldmap", "t1w", "none"] = choice(
        "auto",
        "How susceptibility distortion is corrected: by oppositely encoded b0 volumes (with FSL's "
        "topup, or without FSL), a gradient-echo field map, the T1w along the phase-encoding axis, "
        "or not; auto takes opposite encodings, else a field map, else nothing. t1w finds "
        "the coarsest part only: where it was measured, a tenth of the field.",
    )
    kurtosis_clip: tuple[Kurtosis, Kurtosis] = choice(
        (-3 / 7, 10.0), "Range that kurtosis values are clipped to: lowest, highest."
    )
    sloppy: bool = choice(False, "Coarse and fast registration, for tests.")
    random_seed: int = choice(20240, "Seed of every random step.", minimum=0, maximum=2**32 - 1)

    @field_validator("dwi_models")
    @classmethod
    def _tensor_first(cls, models):
        """Return the models in a fixed order, each once, and always the tensor."""
        return [name for name in ("tensor", "kurtosis", "noddi") if name in {"tensor", *models}]

    @field_validator("kurtosis_clip")
    @classmethod
    def _ascending(cls, limits):
        if limits[0] >= limits[1]:
            raise ValueError("needed the lower bound first, and another one above it")
        return limits
