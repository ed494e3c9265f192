"""How maps become claims."""

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
    """How maps become claims: every choice of the group level that may change a number."""

    name: str = choice("default", "Name of the study; its files lie under study-NAME.")
    target: str = choice(
        "sex",
        "What is learnt from a brain: an entry of the catalogue of targets. sex, in logits for "
        "male; or age, in years, by one output that is standardised by the training part.",
    )
    maps: list[str] = choice(
        ["T1w"],
        "Maps to study; one network is fitted per map. FA+MD is read together, as two channels.",
    )
    voxel_size: float = choice(
        4.0, "Voxel size the networks see, mm; at least that of the maps.", minimum=0.5, maximum=12
    )
    models: list[str] = choice(
        ["cnn3"], "Networks and classifiers: entries of the model catalogue, or variants."
    )
    baselines: list[str] = choice(
        ["brain_size", "age_only", "site_only", "motion_only", "shuffled"],
        "Models that every score stands beside; median_age for age_only where the target is age. "
        "Unless they are asked for, site_only is left out of cohorts of one site, and it, "
        "motion_only and age_only where anybody's is unknown.",
    )
    variants: dict[str, dict[str, Any]] = choice(
        {},
        "Entries of the model catalogue under names of their own, with options and training "
        "choices of their own: in TOML a table [variants.bagnet9] with design = "
        '"bagnet", receptive_field = 9, epochs = 100; as a flag JSON.',
    )
    features: str = choice(
        "morphometry",
        "What classifiers of features read: morphometry, region_means, or the path of a TSV with "
        "participant_id and columns of numbers. Which region a column is of may stand in a JSON "
        "beside it (Region, Hemisphere): the columns of a region are compared together.",
    )
    residualize: list[Literal["age", "brain_size", "site", "motion"]] = choice(
        [],
        "Confounds whose linear effect, learnt in each training part, is taken out of each voxel "
        "of volumes and out of each feature.",
        once=True,
    )
    harmonize: Literal["none", "combat"] = choice(
        "none",
        "Whether location and scale of each site, learnt in each training part by ComBat, are "
        "taken out of each voxel of volumes and out of each feature.",
    )
    quality_limits: list[str] = choice(
        [],
        "Limits of quality numbers beyond which a participant-session is not studied, in place of "
        "those in the data dictionary of quality.tsv: 'registration_agreement >= 0.7', "
        "'motion_mm <= 2', or 'snr >= none' for no limit.",
    )
    quality_outliers: float | None = choice(
        None,
        "Leave out also who lies farther than so many robust standard deviations from the median "
        "of a quality number, in its bad direction; by default such people are only flagged.",
        minimum=3.5,
        maximum=1000,
    )
    ratings: Path | None = choice(
        None,
        "TSV of a person's verdicts: participant_id, session_id, verdict (use, unsure, exclude), "
        "comment. They count before every number. ratings.tsv of the output folder by default; "
        "index.html there writes it.",
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
        "Keep only women and men who can be paired by brain volume within match_caliper, in every "
        "part; the others are unused.",
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
        "Share of the participants outside the test part (not of all) that choose when to stop: of "
        "100 with 20 tested, 0.15 is 12.",
        minimum=0.05,
        maximum=0.5,
    )
    test_fraction: float = choice(
        0.2,
        "Share of all participants that is tested where the split is fixed.",
        minimum=0.05,
        maximum=0.5,
    )
    parts: list[Annotated[int, Field(ge=2, le=10_000_000)]] | None = choice(
        None,
        "Participants of a fixed split: how many to train on, to validate on and to test, instead "
        "of test_fraction and validation_fraction. Others are unused; families stay whole.",
    )
    age_bands: int = choice(
        3,
        "Age bands within each sex that splits are balanced over; unknown ages are one more band.",
        minimum=1,
        maximum=100,
    )
    bootstraps: int = choice(
        2000, "Resamples behind every interval.", minimum=100, maximum=1_000_000
    )
    permutations: int = choice(
        2000, "Permutations behind every null.", minimum=100, maximum=1_000_000
    )
    voxel_tests: bool = choice(
        False,
        "Also compare the sexes voxel by voxel, with threshold-free cluster enhancement as nilearn "
        "does it: one person of each family, sites as columns of the model. Takes everyone's map "
        "into memory, and about a second per permutation.",
    )
    interval_level: float = choice(0.95, "Level of the intervals.", minimum=0.5, maximum=0.999)
    attributions: list[str] = choice(
        ["region_occlusion"], "Entries of the attribution catalogue.", once=True
    )
    fills: list[str] = choice(
        ["donors"],
        "What replaces a hidden region: entries of the catalogue of fills. donors puts in the same "
        "region of unrelated women and men tested in the same fold, and alone carries the claim "
        "that a model leans on a region; white_matter_mean is the published rule; region_mean, "
        "blur and zero are for comparison.",
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
        "Tested participants on whom each attribution is asked again of models that know nothing: "
        "whether its map needs what the model has learnt. 0: not checked.",
        minimum=0,
        maximum=1000,
    )
    audit_regions: int = choice(
        0,
        "Regions of the atlas that each attribution is audited with: each model of volumes is "
        "trained once more for each of them, to tell the region's own mean, and each method is "
        "asked where that model looks. 0: no audit.",
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
    def _whole_names(cls, given):
        if not given or any(not part for name in given for part in name.split("+")):
            raise ValueError("needs names of maps, those read together joined by +")
        return given

    @field_validator("parts")
    @classmethod
    def _three_parts(cls, given):
        if given is not None and len(given) != 3:
            raise ValueError("needed three numbers: train, validation, test")
        return given

    @field_validator("variants", "attribution_options", mode="before")
    @classmethod
    def _json(cls, given):
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except (ValueError, RecursionError) as fault:
            raise ValueError(f"needed JSON ({fault})") from fault

    @field_validator("variants")
    @classmethod
    def _usable(cls, given):
        faults = []
        for name, table in given.items():
            if not re.fullmatch("[A-Za-z0-9_]*[A-Za-z0-9][A-Za-z0-9_]*", name):
                faults.append(f"{name!r} needs letters, digits and _ only")
            if not isinstance(table.get("design", name), str):
                faults.append(f"{name!r} needs the name of an entry as its design")
            wrong = find_faults(Recipe, _chosen(table))[1]
            faults += [f"{name}.{fault.line}" for fault in wrong]
        if faults:
            raise ValueError("; ".join(faults))
        return given

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
            where = "" if name is None else f" in the variant {name!r}"
            if recipe.loss != "auto" and recipe.loss not in goal.losses:
                needed = " or ".join(goal.losses)
                faults.append(f"target {self.target} needs loss {needed}{where}")
            if recipe.choose_by not in ("loss", goal.main_score):
                needed = f"loss or {goal.main_score}"
                faults.append(f"target {self.target} needs choose_by {needed}{where}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def single_maps(self):
        """The maps that must be there, each once: ``FA+MD`` asks for FA and MD."""
        return list(dict.fromkeys(part for name in self.maps for part in name.split("+")))

    def variant(self, name):
        """Say what stands behind the name of a model.

        Parameters
        ----------
        name : str
            Of ``models`` or ``baselines``.

        Returns
        -------
        design : str
            Entry of the model catalogue; the name itself where there is no such variant.
        options : dict
            What the entry shall take beside the study.
        study : Study
            With the training choices that this variant makes.

        Examples
        --------
        >>> study = Study(variants={"small": {"design": "vit", "depth": 2, "epochs": 3}})
        >>> design, options, own = study.variant("small")
        >>> design, options, own.epochs, study.epochs
        ('vit', {'depth': 2}, 3, 30)
        """
        table = self.variants.get(name, {})
        own = _chosen(table)
        recipe = Recipe(**own)
        options = {key: table[key] for key in table if key != "design" and key not in own}
        return (
            table.get("design", name),
            options,
            self.model_copy(update={key: getattr(recipe, key) for key in own}),
        )


def _chosen(table):
    """Give the training choices among the keys of a variant."""
    return {key: table[key] for key in table if key in Recipe.model_fields}
