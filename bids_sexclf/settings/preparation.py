"""Choices of the participant level: the preparation of scans."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bids_sexclf.settings.people import People
from bids_sexclf.settings.records import choice

Kurtosis = Annotated[float, Field(ge=-10, le=100)]


class Preparation(People):
    """Participant level: all choices that can change a number."""

    template: str = choice("MNI152NLin6Asym", "Template space (TemplateFlow name).")
    templates_dir: Path | None = choice(
        None,
        "Folder with the template, organised like TemplateFlow; TemplateFlow by default.",
    )
    resolution: float = choice(2.0, "Voxel size of the group grid, mm.", minimum=0.5, maximum=8)
    skull_strip: Literal["auto", "force", "skip"] = choice(
        "auto",
        "Extraction of the brain from the T1w: auto extracts it unless the scan has no skull, "
        "force always extracts it, skip uses all voxels that are not empty.",
    )
    brain_extraction: Literal["deepbet", "template", "bet"] = choice(
        "deepbet",
        "Method: the trained network deepbet, whose mask is the inside of the skull; the "
        "template's mask, brought to the scan by registering the whole head; or FSL's bet, "
        "which must be on the PATH. A second method checks every mask: the template, or "
        "deepbet if the template is chosen.",
    )
    registration: Literal["accurate", "fast"] = choice(
        "accurate",
        "Deformation from the T1w to the template: accurate works at 1 mm and matches more "
        "detail; fast works on the template's grid, is smoother, and takes less than half the "
        "time.",
    )
    native_resolution: float = choice(
        3.14,
        "Voxel size of the T1w in its own size (space-ACPC), mm; with 3.14, 58 x 70 x 58 "
        "voxels cover the field of view of MNI152 (182 x 218 x 182 mm).",
        minimum=0.5,
        maximum=8,
    )
    morphometry_atlas: list[str] = choice(
        ["Lobes"],
        "Atlases whose regions are measured in native space: known names, or images with a "
        "label table (TSV) beside them; none measures no regions.",
        once=True,
    )
    t1w_runs: Literal["best", "average", "first"] = choice(
        "best",
        "Use of several runs of one T1w: the sharpest (lowest entropy focus), the average "
        "after rigid alignment, or the first. best and first use one run for everybody, so "
        "that noise and sharpness are comparable; averages differ from single runs. Of "
        "several reconstructions, the one with the simplest name is used; --bids-filter-file "
        "selects another.",
    )
    dwi_runs: Literal["concatenate", "first"] = choice(
        "concatenate",
        "Use of several runs of a diffusion series: all, or the first. All series of a "
        "session with equal grid and echo time are pooled, also with different phase "
        "encodings and shells.",
    )
    b0_threshold: float = choice(
        50.0,
        "Largest b-value of a volume that counts as b0, s/mm²; FSL's eddy has its own limit. "
        "Weighted volumes without a direction (trace images) are left out.",
        minimum=0,
        maximum=200,
    )
    denoise: Literal["mppca", "patch2self", "none"] = choice(
        "mppca",
        "Removal of thermal noise from diffusion series: Marchenko-Pastur PCA, Patch2Self, or "
        "none.",
    )
    gibbs: Literal["native", "dipy", "none"] = choice(
        "native",
        "Removal of Gibbs ringing inside slices of diffusion series by local subvoxel shifts: "
        "native, dipy (the same method, ten times slower), or none. Use none for series that "
        "the scanner has interpolated or filtered.",
    )
    dwi_alignment: Literal["affine", "rigid", "none"] = choice(
        "affine",
        "Alignment of diffusion volumes; gradients are rotated with them. affine is rigid "
        "plus shear and stretch by eddy currents along the phase-encoding axis, where it is "
        "known.",
    )
    eddy_engine: Literal["ants", "fsl"] = choice(
        "ants",
        "Program that aligns diffusion volumes: our own registration (ANTs aligns the "
        "shells), or FSL's eddy.",
    )
    dwi_bias: Literal["n4", "none"] = choice(
        "n4",
        "Whether the bias field that N4 estimates on the mean b=0 volume is removed from "
        "diffusion series.",
    )
    dwi_normalization: Literal["auto", "t1w", "fa"] = choice(
        "auto",
        "Route of diffusion maps to the template: through the T1w, or by registering FA to an "
        "FA template. auto: through the T1w if there is one; else by FA if a template exists; "
        "else (as t1w without a T1w) by the mean b0 volume.",
    )
    fa_template: Path | None = choice(
        None,
        "FA template in the template's space; FMRIB58_FA_1mm of $FSLDIR by default, if the "
        "template is MNI152NLin6Asym.",
    )
    registration_engine: Literal["ants", "fsl"] = choice(
        "ants",
        "Program that registers T1w and FA to their templates: ANTs (with Greedy for the "
        "deformation of the T1w), or FSL's FLIRT and FNIRT, which must be on the PATH.",
    )
    dwi_models: list[Literal["tensor", "kurtosis", "noddi"]] = choice(
        ["tensor", "kurtosis"],
        "Models fitted to diffusion series, each where the shells allow it; tensor is always "
        "included.",
        once=True,
    )
    fit_engine: Literal["native", "dipy", "fsl"] = choice(
        "native",
        "Program that fits the models: this package (native), dipy (slower), or FSL's dtifit, "
        "which must be on the PATH. Models that an engine lacks are fitted by this package.",
    )
    distortion: Literal["auto", "opposite", "topup", "fieldmap", "t1w", "none"] = choice(
        "auto",
        "Correction of susceptibility distortion: by oppositely encoded b0 volumes (with "
        "FSL's topup, or without FSL), a gradient-echo field map, the T1w along the "
        "phase-encoding axis, or none. auto uses opposite encodings, else a field map, else "
        "none. t1w corrects only the coarsest part: a tenth of the field in our measurement.",
    )
    kurtosis_clip: tuple[Kurtosis, Kurtosis] = choice(
        (-3 / 7, 10.0), "Range to which kurtosis values are clipped: lowest, highest."
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
