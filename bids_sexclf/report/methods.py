"""Write the methods of a study: paragraph, settings, software."""

from pathlib import Path

from bids_sexclf import fills, models, targets
from bids_sexclf.layout import versions
from bids_sexclf.stats.similarity import SURVIVES

SOFTWARE = (
    "bids-sexclf",
    "torch",
    "lightning",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "pandas",
    "nibabel",
    "nipype",
    "antspyx",
    "dipy",
    "matplotlib",
)


SCALED = {
    "voxel": "each voxel was centred and scaled by the training part",
    "map": "the whole map was centred and scaled by the training part",
    "none": "values were used as they are",
}


def write_methods(study, fitted=None):
    """Write the methods paragraph of a study from its settings.

    Parameters
    ----------
    study : bids_sexclf.settings.Study
    fitted : iterable of str, optional
        Models that were fitted: other baselines are not spoken of.

    Returns
    -------
    str
        Sentences that cite keys of ``data/citations.bib``.
    """
    target = targets.find(study.target)
    fitted = study.baselines if fitted is None else set(fitted)
    baselines = [name for name in study.baselines if name in fitted and name not in study.models]
    sentences = [
        _say_maps(study),
        *_say_confounds(study),
        _say_split(study),
        f"Models: {', '.join(_say_model(study, name) for name in study.models) or 'none'}.",
        *_say_training(study, [*study.models, *baselines]),
        *_say_classical(study),
        f"Baselines that every score stands beside: {', '.join(baselines) or 'none'}.",
        "Scores are of participants a model never saw. Intervals of "
        f"{100 * study.interval_level:g} % come from {study.bootstraps} resamples of participants "
        "[@efron1987], families drawn as blocks; "
        f"p-values of scores from {study.permutations} permutations of the labels within folds. "
        "Models of several folds learn from each other's test participants, which neither "
        "resampling nor permuting these shows [@nadeau2003; @bates2024]: the variance behind "
        "intervals and p-values was raised by the factor that stands in the tables: 2 for complete "
        "cross-validation, 1 for one split, and between for some of the folds.",
        _say_association(study),
        *([_say_differences(study)] if target.by_region else []),
        *([VOXELS] if target.by_region and study.voxel_tests else []),
        *([_say_added(target)] if target.is_classes else []),
    ]
    if study.attributions:
        sentences.append(
            f"Regions of the atlas {study.atlas} were studied by {', '.join(study.attributions)}: "
            "a region is hidden in the volume of a test participant [@zeiler2014], that is, "
            f"replaced by {'; or by '.join(fills.find(name).SAYS for name in study.fills)}. "
            f"Whether {target.tested}, on average, is above zero, "
            f"{target.weigh_alike} weighing alike, is tested by flipping "
            "the signs of whole families; each region is held against the largest statistic of all "
            "regions [@nichols2002; @winkler2014], and "
            "that family-wise p alone says that a model leans on a region, for regions replaced by "
            "those of donors alone. Corrections after Holm [@holm1979], the false discovery rate "
            "[@benjamini1995] and the published rule, a one-sided Wilcoxon signed-rank test "
            "[@wilcoxon1945] without correction, stand beside it and carry no claim."
        )
        sentences += _say_checks(study)
    return " ".join([*sentences, _say_seeds(study, [*study.models, *baselines])])


def _say_seeds(study, names):
    """Name the seed of the study, and the seeds that models have instead."""
    seeds = {name: study.variant(name)[2].random_seed for name in names}
    replaced = {name: seed for name, seed in seeds.items() if seed != study.random_seed}
    text = f"Random steps start from the seed {study.random_seed}"
    if replaced:
        shown = ", ".join(f"{name} from {seed}" for name, seed in replaced.items())
        text += f"; the fits of {shown}"
    return f"{text}."


def _say_checks(study):
    """Say how it was checked whether maps depend on what models have learnt."""
    if study.sanity_participants:
        yield (
            "Whether the map of a method depends on what a network has learnt [@adebayo2018] was "
            f"asked of {study.sanity_participants} tested participants of the first fold: their "
            "maps were compared by Spearman's correlation, with and without sign, with those of "
            "the same network after its layers had been given fresh weights one after the other "
            "from the output on, of the network trained on shuffled labels, and with the edges of "
            "the volumes. A method fails where the mean correlation with maps of the untrained "
            f"network, of shuffled labels or with edges reaches {SURVIVES:g}."
        )
    if study.audit_regions:
        yield (
            f"Methods were audited with up to {study.audit_regions} known sources [@siegel2025]: "
            "the same designs were trained in the first fold to tell whether the mean of one "
            "region, less what brain size and, of maps that are not centred in each person, the "
            "rest of the brain tell of it, lies above its median, and each method was asked which "
            "region they look at."
        )


def _say_maps(study):
    """Describe the maps that were used, if any."""
    if not study.maps:
        return (
            f"No image was read: features came from {_name_features(study)}, and brain size from "
            "a column of the tables. So no region was hidden from a model."
        )
    return (
        f"Maps: {', '.join(study.maps)}, at voxels of {study.voxel_size:g} mm; "
        f"{SCALED[study.standardize]}."
    )


def _name_features(study):
    """Name the table of features."""
    return "FreeSurfer's tables" if study.features == "morphometry" else Path(study.features).name


def _say_model(study, name):
    """Return the name of a model with its own choices and its source."""
    design, options, _ = study.variant(name)
    choices = {key: value for key, value in study.variants.get(name, {}).items() if key != "design"}
    details = ([design] if design != name else []) + [
        f"{key.replace('_', ' ')} {value}" for key, value in choices.items()
    ]
    source = getattr(models.find(design), "SOURCE", "")
    shown = f"{name} ({', '.join(details)})" if details else name
    return f"{shown} {source}" if source else shown


OPTIMIZERS = {"adam": "Adam", "adamw": "Adam", "sgd": "stochastic gradient descent"}
WATCHED = {"loss": "validation loss", "auc": "validation AUC", "mae": "validation error"}


def _trains(study, name):
    """Say whether a model of a study is a network, or trains one."""
    entry = models.entry_of(study, name)
    return hasattr(entry, "build") or (bool(study.maps) and getattr(entry, "DEALT", False))


def _say_training(study, names):
    """Describe the training of networks without choices of their own."""
    if not any(_trains(study, name) for name in names):
        return
    decay = "decoupled weight decay" if study.optimizer == "adamw" else "L2 penalty"
    gathered = f" gathered over {study.accumulate} passes" if study.accumulate > 1 else ""
    text = (
        f"Networks were trained with {OPTIMIZERS[study.optimizer]} (step size "
        f"{study.learning_rate:g}, {decay} {study.weight_decay:g}, "
        f"{study.batch_size * study.accumulate} participants per step{gathered}) for at most "
        f"{study.epochs} epochs, until the {WATCHED[study.choose_by]} had not improved for "
        f"{study.patience}."
    )
    text += targets.find(study.target).how_trained
    changed = [
        name for name in type(study).model_fields if name.startswith("augment_") or name == "crop"
    ]
    changed = [
        f"{name.removeprefix('augment_')} {getattr(study, name)}"
        for name in changed
        if getattr(study, name)
    ]
    if changed:
        text += f" Training volumes were changed at random ({', '.join(changed)})."
    yield text


def _say_classical(study):
    """Describe the models that are not networks, and the origin of their settings."""
    target = targets.find(study.target)
    designs = dict.fromkeys(study.variant(name)[0] for name in study.models)
    entries = [models.find(design) for design in designs]
    entries = [entry for entry in entries if target.kind in getattr(entry, "SAYS", {})]
    named = [entry.SAYS[target.kind].format(what=target.noun) for entry in entries]
    if named:
        tables = any(entry.READS == "features" for entry in entries)
        source = Path(study.features).name
        yield (
            f"Models that are no networks: {'; '.join(named)}. Settings that were not given were "
            "searched in inner folds of each training part, families kept together."
            + (
                f" Features were those of {source}; unknown values became the median of the "
                "training part, and each feature was centred and scaled by it."
                if tables
                else ""
            )
        )


def _say_differences(study):
    """Describe the test of regional differences between the sexes."""
    noun = f"regions of the atlas {study.atlas}" if study.maps else "features"
    return (
        f"Which {noun} differ between the sexes was asked without a "
        "model: voxels were standardised over people, and the resemblance of all pairs of people "
        "of different families was summed over the voxels of a region, positive for pairs of one "
        "sex and negative for others, relative to its norm (a global test [@goeman2004] without "
        f"its diagonal). The sexes were dealt anew {study.permutations} times within sites, "
        "families whole and among families of their size and mixture [@winkler2015]; pairs who "
        "resemble each other like relatives counted as a family. Each region was held against the "
        "largest statistic of the regions not yet passed, after Westfall and Young [@ge2003]. "
        "Brain size, age and head "
        "motion, where known of nine in ten, were taken out as linear splines after Freedman and "
        "Lane [@freedman1983]: out of sex and out of the voxels, whose remains were scaled for "
        "the permutations to the spread of errors. Intervals of Cohen's d are the jackknife's over "
        "families [@mackinnon2023]."
    )


VOXELS = (
    "Voxels were compared between the sexes by threshold-free cluster enhancement [@smith2009] as "
    "nilearn does it, two-sided, corrected by the largest statistic of the brain; one person of "
    "each family was compared, and sites, like confounds, were columns of the model whose "
    "residuals were permuted freely [@freedman1983]."
)


def _say_added(target):
    """Describe the test of what evidence adds to confounds."""
    return (
        "Whether the evidence of a model adds to what brain size, age, motion and site tell of "
        f"{target.noun} was asked by an efficient score test [@boos1992]: evidence on people whom "
        f"the model had not seen, less what these tell of it, against {target.noun}, less what "
        f"they tell of {target.noun} in a logistic regression; headlines count "
        "models after Holm's correction [@holm1979]."
    )


def _say_association(study):
    """Describe the test of association with confounds."""
    measure, within, beside = targets.find(study.target).describe_association()
    return (
        f"What else the {measure} goes with was asked within each {within} by Spearman's "
        f"correlation and {study.permutations} flips of the signs of what each family adds to it "
        f"[@hemerik2020]{beside}."
    )


def _say_split(study):
    """Describe the assignment of participants to parts."""
    if study.split == "kfold":
        times = "" if study.repeats == 1 else f", {study.repeats} times over"
        deal = f"dealt into {study.n_folds} folds{times}"
    elif study.split == "site":
        deal = "split so that each site is tested by models that saw none of it"
    elif study.split == "file":
        return (
            f"Participants were split as the file {study.split_file.name} says.{_say_match(study)}"
        )
    elif study.parts:
        train, validation, test = study.parts
        return (
            f"Participants were split once: {train} to train on, {validation} to choose when to "
            f"stop and {test} to test, balanced over {_say_balance(study)}, with families kept "
            f"together; any others were not used.{_say_match(study)}"
        )
    else:
        deal = f"split once, with {100 * study.test_fraction:g} % for testing"
    return (
        f"Participants were {deal}, balanced over {_say_balance(study)}, with families kept "
        f"together; {100 * study.validation_fraction:g} % of the participants outside the test "
        f"part chose when to stop.{_say_match(study)}"
    )


def _say_balance(study):
    """Describe the variables over which parts were balanced."""
    balanced = targets.find(study.target).balanced_by
    return balanced + (f" and {study.age_bands} bands of age" if study.age_bands > 1 else "")


def _say_confounds(study):
    """Describe the confounds that were removed from maps and features."""
    if study.residualize:
        names = ", ".join(name.replace("_", " ") for name in study.residualize)
        yield (
            f"The linear effect of {names} on each voxel and feature was learnt in each training "
            "part and taken out of all parts."
        )
    if study.harmonize == "combat":
        yield (
            "Location and scale of sites were taken out of each voxel and feature by ComBat "
            "[@johnson2007], learnt in each training part without the target."
        )


def _say_match(study):
    """Describe the matching of the sexes."""
    if study.match == "none":
        return ""
    return (
        " Within each part every woman was paired with a man whose brain volume differs by at most "
        f"{study.match_caliper:g} mL; those without a partner were not used."
    )


def list_settings(study):
    """List every setting with its meaning, and whether it differs from the default.

    Parameters
    ----------
    study : bids_sexclf.settings.Study

    Returns
    -------
    list of dict
        ``name``, ``value``, ``help`` and ``changed``.
    """
    values = study.provenance()
    return [
        {
            "name": name,
            "help": field.description,
            "changed": getattr(study, name) != field.default,
            "value": ", ".join(map(str, value)) if isinstance(value, list) else str(value),
        }
        for (name, field), value in zip(
            type(study).model_fields.items(), values.values(), strict=True
        )
    ]


def list_versions():
    """List the versions of the software that wrote this report.

    Returns
    -------
    dict
        Name to version, ``n/a`` where it is not installed.
    """
    import platform

    installed = versions(SOFTWARE)
    return {"Python": platform.python_version()} | {n: installed.get(n, "n/a") for n in SOFTWARE}
