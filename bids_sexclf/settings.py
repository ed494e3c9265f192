"""Every choice, in frozen, validated records.

``Run`` says how to run and never changes a number; ``Preparation`` and
``Study`` hold every choice that may. A flag of the command line, a key of a
TOML file, its help and its entry in the provenance are all made from one field
here.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, field_validator, model_validator

from bids_sexclf.errors import InputError
from bids_sexclf.recipe import Recipe
from bids_sexclf.records import Record, choice

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

RECIPE = tuple(Recipe.model_fields)
"""The choices of a study that decide how networks are trained, and that a variant may replace."""

STUDIES = Path(__file__).parent / "studies"
DERIVATIVES = json.loads((Path(__file__).parent / "data" / "derivatives.json").read_text())
"""What others may have prepared: name in ``--derivatives NAME=PATH`` to what is read from it."""


class Run(Record):
    """How to run: nothing here may change a number."""

    participant_label: list[str] | None = choice(
        None, "Participants to run, with or without 'sub-'; all by default.", "--participant_label"
    )
    session_label: list[str] | None = choice(
        None, "Sessions to run, with or without 'ses-'; all by default.", "--session_label"
    )
    bids_filter_file: Path | None = choice(
        None,
        "JSON of BIDS entities that choose among several scans, e.g. "
        '{"t1w": {"reconstruction": "norm"}, "dwi": {"direction": "AP"}}; also t1w_mask, dwi_mask '
        "and maps, for what others have prepared.",
    )
    allow_unlabelled: bool = choice(
        False, "Also prepare participants whose sex or age is unknown, e.g. to predict them."
    )
    bids_database_dir: Path | None = choice(None, "Folder that keeps pybids' index between runs.")
    skip_bids_validation: bool = choice(False, "Also index files whose names are not valid BIDS.")
    work_dir: Path | None = choice(
        None, "Folder for intermediate files; needed to resume. OUTPUT_DIR/work by default.", "-w"
    )
    clean_workdir: bool = choice(False, "Empty the work folder when everything has succeeded.")
    nprocs: int | None = choice(
        None, "Processes; all processors by default.", "--n-procs", minimum=1
    )
    omp_nthreads: int = choice(1, "Threads per process.", minimum=1)
    mem: float | None = choice(
        None, "Memory to plan for, GB; 90 % of what is free by default.", "--mem-gb", minimum=0.5
    )
    use_plugin: Path | None = choice(None, "Nipype plugin file (YAML: plugin, plugin_args).")
    devices: int = choice(
        1,
        "Graphics cards of each machine that train one network together (processes, where there "
        "is none); jobs then run one after the other.",
        minimum=1,
    )
    num_nodes: int | None = choice(
        None,
        "Machines that train one network together, where this command is started once per device "
        "on each of them by srun, torchrun or hand (docs/networks.md); they must see the same "
        "folders. Without it one command starts all processes, on its own machine.",
        minimum=1,
    )
    dask_scheduler: str | None = choice(
        None,
        "Address of a Dask scheduler (tcp://...), whose workers fit and attribute; they must see "
        "the same folders.",
    )
    dry_run: bool = choice(False, "List what would run, and stop.")
    config_file: Path | None = choice(None, "TOML file with any of these choices.")
    reports_only: bool = choice(False, "Write the reports again from what is there.")
    boilerplate_only: bool = choice(False, "Write the methods text, and nothing else.")
    verbose: int = choice(0, "Say more; twice for everything.", "-v")
    first: str | None = choice(None, "First group stage to run, again if it has run before.")
    last: str | None = choice(None, "Last group stage to run.")
    folds: list[int] | None = choice(None, "Only these folds of the fit and attribute stages.")
    derivatives: list[str] | None = choice(
        None,
        "What others have prepared, as NAME=PATH; steps already done are not repeated. "
        + "; ".join(f"{name}: {about['holds']}" for name, about in DERIVATIVES.items())
        + ". HCP and CC-359 need no BIDS dataset: give their folder as BIDS_DIR too. HCP needs a "
        "participants.tsv in it (participant_id, sex, age); CC-359 tells sex and age by its file "
        "names.",
    )
    atlas_dir: Path | None = choice(
        None, "Folder that holds atlas images and their label tables, beside the known places."
    )

    @field_validator("derivatives")
    @classmethod
    def _named(cls, given):
        seen = set()
        for entry in given or []:
            name, _, path = entry.partition("=")
            if name not in DERIVATIVES or not path:
                known = ", ".join(f"{name}=PATH" for name in DERIVATIVES)
                raise ValueError(f"{entry} is none of {known}")
            if name in seen:
                raise ValueError(f"{name} is given twice, needed one folder for each name")
            seen.add(name)
        return given

    @field_validator("dask_scheduler")
    @classmethod
    def _one_way_over_machines(cls, given, info):
        if given is not None and info.data.get("num_nodes") is not None:
            raise ValueError("one job per worker goes not with num_nodes, one job over all")
        return given

    def folders(self):
        """Give what ``--derivatives`` named: name to path, in the order given.

        Returns
        -------
        dict of str to pathlib.Path
        """
        named = (entry.split("=", 1) for entry in self.derivatives or [])
        return {name: Path(path).expanduser() for name, path in named}

    def atlas_folders(self):
        """List the folders where atlases are looked for first."""
        return [self.atlas_dir] if self.atlas_dir else []

    def derivatives_of(self, name):
        """Give the path that ``--derivatives NAME=PATH`` named, or None."""
        return self.folders().get(name)


class Preparation(Record):
    """How scans become maps: every choice of the participant level that may change a number."""

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
    brain_extraction: Literal["template", "bet"] = choice(
        "template",
        "How: the template's mask carried by registering the whole head, or FSL's bet, which must "
        "be on the PATH.",
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
    )
    t1w_runs: Literal["best", "average", "first"] = choice(
        "best",
        "Which of several runs of one T1w: the sharpest one (lowest entropy focus), the average of "
        "all after rigid alignment, or the first. One run for everybody keeps noise and sharpness "
        "comparable; averages differ from single runs in both. Of several reconstructions the one "
        "with the plainest name is taken; --bids-filter-file chooses another.",
    )
    dwi_runs: Literal["concatenate", "first"] = choice(
        "concatenate", "Several runs of one diffusion series: join their volumes, or the first."
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
    kurtosis_clip: tuple[float, float] = choice(
        (-3 / 7, 10.0), "Range that kurtosis values are clipped to."
    )
    sloppy: bool = choice(False, "Coarse and fast registration, for tests.")
    random_seed: int = choice(20240, "Seed of every random step.", minimum=0)

    @field_validator("dwi_models")
    @classmethod
    def _tensor_first(cls, given):
        """Put the models in one order, each once: the tensor's FA is what others lean on."""
        return [name for name in ("tensor", "kurtosis", "noddi") if name in {"tensor", *given}]


class Study(Recipe):
    """How maps become claims: every choice of the group level that may change a number."""

    name: str = choice("default", "Name of the study; its files lie under study-NAME.")
    target: Literal["sex", "age"] = choice(
        "sex",
        "What is told from a brain: sex, in logits for male; or age, in years, by one output that "
        "is standardised by the training part. Regions are attributed for sex only.",
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
        "Unless they are asked for, site_only is left out of cohorts of one site, and both it and "
        "motion_only where anybody's is unknown.",
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
        "participant_id and columns of numbers.",
    )
    residualize: list[Literal["age", "brain_size", "site", "motion"]] = choice(
        [],
        "Confounds whose linear effect, learnt in each training part, is taken out of each voxel "
        "of volumes and out of each feature.",
    )
    harmonize: Literal["none", "combat"] = choice(
        "none",
        "Whether location and scale of each site, learnt in each training part by ComBat, are "
        "taken out of each voxel of volumes and out of each feature.",
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
        10.0, "Largest difference of brain volume within a pair, mL.", minimum=0.1
    )
    n_folds: int = choice(5, "Folds of the cross-validation.", minimum=2)
    repeats: int = choice(1, "Repetitions of the split with other random draws.", minimum=1)
    validation_fraction: float = choice(
        0.15,
        "Share of the participants outside the test part that choose when to stop.",
        minimum=0.05,
        maximum=0.5,
    )
    test_fraction: float = choice(
        0.2, "Share tested where the split is fixed.", minimum=0.05, maximum=0.5
    )
    age_bands: int = choice(3, "Age bands that splits are balanced over.", minimum=1)
    bootstraps: int = choice(2000, "Resamples behind every interval.", minimum=100)
    permutations: int = choice(2000, "Permutations behind every null.", minimum=100)
    interval_level: float = choice(0.95, "Level of the intervals.", minimum=0.5, maximum=0.999)
    attributions: list[str] = choice(["region_occlusion"], "Entries of the attribution catalogue.")
    fill: Literal["white_matter_mean"] = choice(
        "white_matter_mean", "What replaces an occluded region."
    )
    atlas: str = choice("Lobes", "Atlas of the regional statistics: a known name, or an image.")
    atlas_labels: Path | None = choice(
        None, "Label table (TSV: index, name) of an atlas given as an image."
    )
    region_means: bool = choice(
        True, "Write region_means.tsv: every map averaged over the atlas's regions."
    )

    @field_validator("name")
    @classmethod
    def _alphanumeric(cls, name):
        if not name.isalnum():
            raise ValueError("needs letters and digits only, since it becomes study-NAME")
        return name

    @field_validator("maps")
    @classmethod
    def _whole_names(cls, given):
        if not given or any(not part for name in given for part in name.split("+")):
            raise ValueError("needs names of maps, those read together joined by +")
        return given

    @model_validator(mode="after")
    def _split_with_its_file(self):
        if (self.split == "file") != (self.split_file is not None):
            raise ValueError("split 'file' and split_file need each other")
        return self

    @field_validator("variants", mode="before")
    @classmethod
    def _json(cls, given):
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except ValueError as fault:
            raise ValueError(f"is not JSON ({fault})") from fault

    @field_validator("variants")
    @classmethod
    def _usable(cls, given):
        for name, table in given.items():
            if not name.replace("_", "").isalnum():
                raise ValueError(f"{name!r} needs letters, digits and _ only")
            if not isinstance(table.get("design", name), str):
                raise ValueError(f"{name!r} needs the name of an entry as its design")
            build(Recipe, _chosen(table), f"the variant {name!r}")
        return given

    @model_validator(mode="after")
    def _baselines_of_the_target(self):
        if self.target == "age" and "baselines" not in self.model_fields_set:
            # Put there without a note that they were asked for: those that the cohort cannot
            # answer are left out, as for sex.
            swap = {"age_only": "median_age"}
            self.__dict__["baselines"] = [swap.get(name, name) for name in self.baselines]
        return self

    @model_validator(mode="after")
    def _choices_of_the_target(self):
        for name in (None, *self.variants):
            recipe = self if name is None else self.variant(name)[2]
            where = "" if name is None else f" in the variant {name!r}"
            needed = ("cross_entropy", "auc") if self.target == "sex" else ("mse or l1", "mae")
            if recipe.loss != "auto" and recipe.loss not in needed[0]:
                raise ValueError(f"target {self.target} needs loss {needed[0]}{where}")
            if recipe.choose_by not in ("loss", needed[1]):
                raise ValueError(f"target {self.target} needs choose_by loss or {needed[1]}{where}")
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


def build(record, values, source):
    """Make a record, or say everything that is wrong with the values.

    Parameters
    ----------
    record : type
        ``Run``, ``Preparation`` or ``Study``.
    values : dict
        Field names to values.
    source : str
        Where the values come from, for the message.

    Returns
    -------
    Record

    Raises
    ------
    InputError
        With every fault; unknown names list those that exist.
    """
    try:
        return record(**values)
    except ValidationError as fault:
        lines = [
            f"{'.'.join(str(part) for part in entry['loc'])}: "
            f"{entry['msg'].removeprefix('Value error, ')}"
            + (f" (found {entry['input']!r})" if entry["type"] != "extra_forbidden" else "")
            for entry in fault.errors()
        ]
        unknown = any(entry["type"] == "extra_forbidden" for entry in fault.errors())
        names = f"Needed values for: {', '.join(record.model_fields)}. " if unknown else ""
        raise InputError(
            f"Found settings in {source} that cannot be used: {'; '.join(lines)}. "
            f"{names}Correct them and run again; docs/settings.md lists what each may be."
        ) from fault


def read_toml(path):
    """Read a TOML file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it is absent or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed a TOML file. Correct its path "
            "or its syntax."
        ) from fault


def find_study(name):
    """Find a study by the name of a preset or the path of a file.

    Parameters
    ----------
    name : str
        A preset, e.g. ``"default"``, or a path that ends in ``.toml``.

    Returns
    -------
    dict
        Its values, with ``name`` set from the file where it is not given.

    Raises
    ------
    InputError
        If there is none; the message lists the presets.
    """
    presets = sorted(path.stem for path in STUDIES.glob("*.toml"))
    if not str(name).endswith(".toml") and name not in presets:
        raise InputError(
            f"Found study {name!r}, needed one of {', '.join(presets)}, or the path of a TOML "
            "file. Correct --study."
        )
    path = STUDIES / f"{name}.toml" if name in presets else Path(name)
    fallback = "".join(letter for letter in path.stem if letter.isalnum())
    return {"name": fallback} | read_toml(path)


def fingerprint(values):
    """Shorten choices to a text that differs when they differ.

    Parameters
    ----------
    values : dict
        JSON-able values.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe():
    """Write every choice as a page of Markdown: what ``docs/settings.md`` holds.

    Returns
    -------
    str
    """
    lines = [
        "# Every choice",
        "",
        "Made by `python -m bids_sexclf.settings`. Each choice is a flag (`--n-folds 5`), and a",
        "key of a study or configuration file (`n_folds = 5`). Flags win over the configuration",
        "file, and that over the study.",
    ]
    own = {name: field for name, field in Study.model_fields.items() if name not in RECIPE}
    for record, fields in (
        (Run, Run.model_fields),
        (Preparation, Preparation.model_fields),
        (Study, own),
        (Recipe, Recipe.model_fields),
    ):
        title = record.__doc__.split(":")[0]
        lines += ["", f"## {title}", "", "| choice | default | what it does |", "|---|---|---|"]
        for name, field in fields.items():
            shown = "" if field.default is None else json.dumps(field.default, default=str)
            lines.append(f"| `{name}` | {f'`{shown}`' if shown else ''} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(describe())
