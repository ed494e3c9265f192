"""Choices of the group level: a study."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from bids_sexclf import targets
from bids_sexclf.errors import InputError
from bids_sexclf.settings.people import People
from bids_sexclf.settings.reading import find_faults
from bids_sexclf.settings.recipe import Recipe
from bids_sexclf.settings.records import choice

RECIPE = tuple(Recipe.model_fields)
"""The choices of a study that decide how networks are trained, and that a variant may replace."""


class Study(Recipe, People):
    """Group level: all choices that can change a number."""

    name: str = choice("default", "Name of the study; its files are in study-NAME.")
    target: str = choice(
        "sex",
        "What models learn: an entry of the catalogue of targets. sex, as logits for male; or "
        "age, in years, by one output that is standardised by the training part.",
    )
    maps: list[str] = choice(
        ["T1w"],
        "Maps to study; one network is fitted per map. FA+MD are read together, as two channels. "
        "None ([]) for a study of tables alone, as where nobody is prepared.",
    )
    voxel_size: float = choice(
        4.0,
        "Voxel size of the input of networks, mm; at least that of the maps.",
        minimum=0.5,
        maximum=12,
    )
    models: list[str] = choice(
        ["cnn3"], "Networks and classifiers: entries of the model catalogue, or variants."
    )
    baselines: list[str] = choice(
        ["brain_size", "age_only", "site_only", "motion_only", "shuffled"],
        "Models that every score is compared with; median_age replaces age_only if the target "
        "is age. By default, site_only is left out of cohorts of one site, and site_only, "
        "motion_only and age_only are left out if the value of anybody is unknown.",
    )
    variants: dict[str, dict[str, Any]] = choice(
        {},
        "Models with options and training choices of their own, under their own name: in TOML "
        'a table [variants.bagnet9] with design = "bagnet", receptive_field = 9, epochs = '
        "100; as a flag JSON.",
    )
    features: str = choice(
        "morphometry",
        "Input of classifiers of features: morphometry, region_means, or the path of a TSV "
        "with participant_id and columns of numbers. A JSON file beside the TSV may name the "
        "Region and the Hemisphere of each column: columns of one region are compared together.",
    )
    brain_size_column: str | None = choice(
        None,
        "Column that holds everyone's brain size or intracranial volume (mL, mm³ or litres) in the "
        "table of features or in participants.tsv; it takes the place of brain_volume_ml. In a "
        "study of tables alone well-known names are found without it: "
        "EstimatedTotalIntraCranialVol, eTIV, FS_IntraCranial_Vol, tiv_cubicmm.",
    )
    residualize: list[Literal["age", "brain_size", "site", "motion"]] = choice(
        [],
        "Confounds whose linear effect, estimated in each training part, is removed from each "
        "voxel of volumes and from each feature.",
        once=True,
    )
    harmonize: Literal["none", "combat"] = choice(
        "none",
        "Whether location and scale of each site, estimated in each training part by ComBat, "
        "are removed from each voxel of volumes and from each feature.",
    )
    quality_limits: list[str] = choice(
        [],
        "Limits of quality numbers beyond which a participant-session is not studied, in place of "
        "those in the data dictionary of quality.tsv: 'registration_agreement >= 0.7', "
        "'motion_mm <= 2', or 'snr >= none' for no limit.",
    )
    quality_outliers: float | None = choice(
        None,
        "Also leave out participants farther than this many robust standard deviations from "
        "the median of a quality number, in its bad direction; by default they are only "
        "flagged.",
        minimum=3.5,
        maximum=1000,
    )
    ratings: Path | None = choice(
        None,
        "TSV with the verdicts of a person: participant_id, session_id, verdict (use, unsure, "
        "exclude), comment. They override every number. By default ratings.tsv of the output "
        "folder, which index.html there writes.",
    )
    split: Literal["kfold", "fixed", "site", "file"] = choice(
        "kfold",
        "Cross-validation, one fixed split, leave one site out, or the parts of split_file.",
    )
    split_file: Path | None = choice(
        None,
        "TSV of the parts: participant_id, part (train, validation, test, unused) and, for several "
        "folds, repeat and fold.",
    )
    match: Literal["none", "brain_size"] = choice(
        "none",
        "Keep only women and men who can be paired by brain volume within match_caliper, in "
        "every part; other participants are unused.",
    )
    match_caliper: float = choice(
        10.0, "Largest difference of brain volume within a pair, mL.", minimum=0.1, maximum=1000
    )
    n_folds: int = choice(5, "Folds of the cross-validation.", minimum=2, maximum=1000)
    repeats: int = choice(
        1, "Repetitions of the split with other random draws.", minimum=1, maximum=1000
    )
    validation_fraction: float = choice(
        0.15,
        "Share of the participants outside the test part (not of all) for validation, which "
        "decides when training stops: of 100 with 20 tested, 0.15 is 12.",
        minimum=0.05,
        maximum=0.5,
    )
    test_fraction: float = choice(
        0.2,
        "Share of all participants in the test part of a fixed split.",
        minimum=0.05,
        maximum=0.5,
    )
    parts: list[Annotated[int, Field(ge=2, le=10_000_000)]] | None = choice(
        None,
        "Number of participants of a fixed split in training, validation and test, instead of "
        "test_fraction and validation_fraction. Others are unused; families stay whole.",
    )
    age_bands: int = choice(
        3,
        "Number of age bands within each sex over which splits are balanced; unknown ages are "
        "one more band.",
        minimum=1,
        maximum=100,
    )
    bootstraps: int = choice(
        2000, "Number of resamples for every interval.", minimum=100, maximum=1_000_000
    )
    permutations: int = choice(
        2000, "Number of permutations for every test.", minimum=100, maximum=1_000_000
    )
    voxel_tests: bool = choice(
        False,
        "Also compare the sexes voxel by voxel, by threshold-free cluster enhancement (nilearn): "
        "one person of each family, with sites as columns of the model. All maps are held in "
        "memory; one permutation takes about a second.",
    )
    interval_level: float = choice(0.95, "Level of the intervals.", minimum=0.5, maximum=0.999)
    attributions: list[str] = choice(
        ["region_occlusion"], "Entries of the attribution catalogue.", once=True
    )
    fills: list[str] = choice(
        ["donors"],
        "What replaces a hidden region: entries of the catalogue of fills. donors inserts the "
        "same region of unrelated women and men tested in the same fold; only donors supports "
        "the claim that a model leans on a region. white_matter_mean is the published rule; "
        "region_mean, blur and zero are for comparison.",
        once=True,
    )
    attribution_options: dict[str, dict[str, Any]] = choice(
        {},
        "Options of attribution methods and of fills, by their names: in TOML a table "
        "[attribution_options.donors] with per_sex = 4; as a flag JSON.",
    )
    atlas: str = choice("Lobes", "Atlas of the regional statistics: a known name, or an image.")
    atlas_labels: Path | None = choice(
        None, "Label table (TSV: index, name) of an atlas given as an image."
    )
    sanity_participants: int = choice(
        4,
        "Number of tested participants whose attribution maps are compared with those of models "
        "that have learnt nothing, to check that a map depends on the model. 0: no check.",
        minimum=0,
        maximum=1000,
    )
    audit_regions: int = choice(
        0,
        "Number of atlas regions that serve as known sources: for each of them, each model of "
        "volumes is trained again to predict whether the mean of the region is high or low, and "
        "each attribution method is tested for whether it finds the region. 0: no audit.",
        minimum=0,
        maximum=1000,
    )
    region_means: bool = choice(
        True, "Write region_means.tsv: every map averaged over the atlas's regions."
    )

    @field_validator("name")
    @classmethod
    def _alphanumeric(cls, name):
        if not re.fullmatch("[A-Za-z0-9]{1,64}", name):
            raise ValueError(
                "needed letters and digits (A-Z, a-z, 0-9) only, 64 at most, since it becomes "
                "study-NAME"
            )
        return name

    @field_validator("target")
    @classmethod
    def _known(cls, name):
        try:
            targets.find(name)
        except InputError as fault:
            raise ValueError(str(fault)) from fault
        return name

    @field_validator("maps")
    @classmethod
    def _whole_names(cls, names):
        if any(not part for name in names for part in name.split("+")):
            raise ValueError("needs names of maps, those read together joined by +")
        return names

    @field_validator("parts")
    @classmethod
    def _three_parts(cls, parts):
        if parts is not None and len(parts) != 3:
            raise ValueError("needed three numbers: train, validation, test")
        return parts

    @field_validator("variants", "attribution_options", mode="before")
    @classmethod
    def _json(cls, text):
        if not isinstance(text, str):
            return text
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as fault:
            raise ValueError(f"needed JSON ({fault})") from fault

    @field_validator("variants")
    @classmethod
    def _usable(cls, variants):
        faults = []
        for name, table in variants.items():
            if not re.fullmatch("[A-Za-z0-9_]*[A-Za-z0-9][A-Za-z0-9_]*", name):
                faults.append(f"{name!r} needs letters, digits and _ only")
            if not isinstance(table.get("design", name), str):
                faults.append(f"{name!r} needs the name of an entry as its design")
            wrong = find_faults(Recipe, _chosen(table))[1]
            faults += [f"{name}.{fault.line}" for fault in wrong]
        if faults:
            raise ValueError("; ".join(faults))
        return variants

    @model_validator(mode="after")
    def _baselines_of_the_target(self):
        if "baselines" not in self.model_fields_set:
            # Put there without a note that they were asked for: those that the cohort cannot
            # answer are left out.
            swap = targets.find(self.target).baselines
            self.__dict__["baselines"] = [swap.get(name, name) for name in self.baselines]
        return self

    @model_validator(mode="after")
    def _choices_go_together(self):
        faults = []
        if (self.split == "file") != (self.split_file is not None):
            faults.append("split 'file' and split_file need each other")
        if self.parts is not None and self.split != "fixed":
            faults.append(f"parts: needed split 'fixed', found split {self.split!r}")
        goal = targets.find(self.target)
        for name in (None, *self.variants):
            recipe = self if name is None else self.variant(name)[2]
            place = "" if name is None else f" in the variant {name!r}"
            if recipe.loss != "auto" and recipe.loss not in goal.losses:
                needed = " or ".join(goal.losses)
                faults.append(f"target {self.target} needs loss {needed}{place}")
            if recipe.choose_by not in ("loss", goal.main_score):
                needed = f"loss or {goal.main_score}"
                faults.append(f"target {self.target} needs choose_by {needed}{place}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def single_maps(self):
        """The required maps, each once: ``FA+MD`` needs FA and MD."""
        return list(dict.fromkeys(part for name in self.maps for part in name.split("+")))

    def variant(self, name):
        """Resolve the name of a model to its design, options and training choices.

        Parameters
        ----------
        name : str
            Of ``models`` or ``baselines``.

        Returns
        -------
        design : str
            Entry of the model catalogue; the name itself where there is no such variant.
        options : dict
            Options of the entry.
        study : Study
            The study with the training choices of this variant.

        Examples
        --------
        >>> study = Study(variants={"small": {"design": "vit", "depth": 2, "epochs": 3}})
        >>> design, options, own = study.variant("small")
        >>> design, options, own.epochs, study.epochs
        ('vit', {'depth': 2}, 3, 30)
        """
        table = self.variants.get(name, {})
        choices = _chosen(table)
        recipe = Recipe(**choices)
        options = {key: table[key] for key in table if key != "design" and key not in choices}
        return (
            table.get("design", name),
            options,
            self.model_copy(update={key: getattr(recipe, key) for key in choices}),
        )


def _chosen(table):
    """Return the training choices among the keys of a variant."""
    return {key: table[key] for key in table if key in Recipe.model_fields}
