"""The attributions of a study: method, fill and atlas."""

import re
from dataclasses import dataclass
from pathlib import Path

from bids_sexclf import attribution, fills, models, targets
from bids_sexclf.errors import InputError

OF_TABLES = "donors"
"""Whose features are put in: no other fill makes sense of a table."""
SKETCHED = (96, 96, 96)
"""Voxels of the volumes for which networks are sketched."""


@dataclass(frozen=True)
class Question:
    """One attribution of a fitted model.

    Attributes
    ----------
    method : str
        Entry of the catalogue of attribution methods.
    fill : str or None
        Entry of the catalogue of fills; None for methods that replace nothing.
    atlas : str
        Its name in tables and file names.
    """

    method: str
    fill: str | None
    atlas: str

    @property
    def label(self):
        """Name of the attribution in file names."""
        return name_question(self.method, self.fill, self.atlas)


def name_question(method, fill, atlas):
    """Return the part of a file name with method, fill and atlas.

    Parameters
    ----------
    method : str
    fill : str or None
    atlas : str

    Returns
    -------
    str

    Examples
    --------
    >>> name_question("region_occlusion", "donors", "Lobes")
    'method-region_occlusion_fill-donors_atlas-Lobes'
    """
    filled = f"_fill-{fill}" if isinstance(fill, str) else ""
    return f"method-{method}{filled}_atlas-{atlas}"


def name_atlas(atlas):
    """Return the name of an atlas in tables and file names: its name, or that of its image.

    Parameters
    ----------
    atlas : str

    Returns
    -------
    str

    Examples
    --------
    >>> name_atlas("JHU"), name_atlas("/data/my atlas.v2.nii.gz")
    ('JHU', 'my-atlas')
    """
    return re.sub("[^A-Za-z0-9]+", "-", Path(atlas).name.split(".")[0])


def suits(method, reads):
    """Return whether a method suits models of volumes, or of features.

    Parameters
    ----------
    method : str
    reads : str or tuple
        ``READS`` of the model's entry.

    Returns
    -------
    bool
    """
    of_tables = "features" in attribution.find(method).NEEDS
    return reads == ("features" if of_tables else "volumes")


def list_questions(study, reads="volumes"):
    """List the attributions of the models of volumes, or of features, in a study.

    Parameters
    ----------
    study : settings.Study
    reads : str or tuple
        What a model reads: ``READS`` of its entry.

    Returns
    -------
    list of Question
    """
    atlas, questions = name_atlas(study.atlas), []
    for method in study.attributions:
        if not suits(method, reads):
            continue
        if reads == "features":
            questions.append(Question(method, OF_TABLES, atlas))
            continue
        filled = "fill" in attribution.find(method).NEEDS
        questions += [Question(method, fill, atlas) for fill in (study.fills if filled else [None])]
    return questions


def _list_offers(study, name):
    """List the inputs for methods of a model of volumes; None if unknown before the fit."""
    classifier = models.make(study, name)
    if not hasattr(classifier, "sketch"):
        return set()
    try:
        return attribution.list_offers(classifier.sketch((1, *SKETCHED)))
    except Exception:  # it may not fit this grid, or need data to be built
        return None


def _check_models(study):
    """Refuse methods whose inputs a model of the study, or its target, does not provide."""
    classes = targets.find(study.target).is_classes
    faults = []
    for name in study.models:
        if models.entry_of(study, name).READS != "volumes":
            continue
        offers = _list_offers(study, name)
        for method in (one for one in study.attributions if suits(one, "volumes")):
            needs = set(attribution.find(method).NEEDS)
            lacking = needs & set(attribution.OF_MODEL) - offers if offers is not None else set()
            lacking |= needs & {"classes"} if not classes else set()
            faults += [f"{method!r} of {name!r} needs {attribution.NEEDS[n]}" for n in lacking]
    read = {models.entry_of(study, name).READS for name in study.models}
    of_tables = [name for name in study.attributions if suits(name, "features")]
    if "features" not in read:
        faults += [f"{name!r} needs {attribution.NEEDS['features']}" for name in of_tables]
    if faults:
        raise InputError(
            f"Found attributions that cannot be asked: {'; '.join(sorted(faults))}. Leave these "
            "methods out, or give these models a study of their own."
        )


def check_choices(study):
    """Refuse unknown attribution methods, fills and options, before anything runs.

    Parameters
    ----------
    study : settings.Study

    Raises
    ------
    InputError
    """
    _check_models(study)
    functions = {name: attribution.find(name).attribute for name in study.attributions}
    fills_of_tables = (
        [OF_TABLES] if any(suits(name, "features") for name in study.attributions) else []
    )
    functions |= {name: fills.find(name).prepare for name in [*study.fills, *fills_of_tables]}
    filled = [name for name in study.attributions if suits(name, "volumes")]
    filled = [name for name in filled if "fill" in attribution.find(name).NEEDS]
    if filled and not study.fills:
        raise InputError(
            f"Found no fill for {', '.join(filled)}, needed one at least. Set fills = "
            '["donors"], or attributions = [].'
        )
    for name, options in study.attribution_options.items():
        if name not in functions:
            raise InputError(
                f"Found attribution_options of {name!r}, needed one of {', '.join(functions)}: "
                "the attribution methods and fills of the study. Correct the study."
            )
        fills.check_options(functions[name], name, options)
