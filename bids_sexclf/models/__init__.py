"""Catalogue of networks and classifiers: one per file, and the file's name is what a user types.

An entry declares ``READS`` (``"volumes"``, or a tuple of columns of cohort.tsv) and defines a
``Classifier(study, **options)`` with ``fit``, ``evidence``, ``save``, ``load`` and ``history``.
Evidence of a target of two classes is the logit for the second, in natural-log units, for equally
frequent classes: every classifier gives both classes equal weight. Evidence of a quantity is its
prediction. ``Classifier.kinds`` lists the kinds of targets that it can learn, and
``Classifier.sibling`` the entry for the other kind, if it learns only one.

A network file is an ``nn.Module``, ``build(grid=..., ...)``, and one line from
``training.networks``. What else its ``build`` takes, a variant of the study sets; ``TINY``, where
there is one, holds options with which two cores train on a grid of 32 voxels in seconds. An entry
without a ``Classifier`` answers for voxels, not for participants: a study cannot name it.
An entry may also give ``pretrain``, which learns from training volumes without their target.

A network says where it comes from, ``SOURCE`` (keys of ``data/citations.bib``, as
``"[@peng2021]"``, or the reference itself), and which ``GRIDS`` it takes, in words. A model that is
not a network says what it is in ``SAYS``: kind of the target to words, in which ``{what}`` is what
is learnt. The methods text and the table of networks in docs/networks.md are made from these.
"""

import importlib

from bids_sexclf import catalogue, targets
from bids_sexclf.errors import InputError, suggest


def find(name):
    """Import a classifier by its name.

    Parameters
    ----------
    name : str
        The file's name without suffix, e.g. ``"cnn3"``.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If there is none; the message lists those that exist.
    """
    return catalogue.find(__name__, name)


def find_classifier(name):
    """Import a classifier by its name; refuse entries without a ``Classifier``.

    Parameters
    ----------
    name : str

    Returns
    -------
    module
        With ``READS`` and ``Classifier``.

    Raises
    ------
    InputError
        If there is none of this name, or it is not a classifier.
    """
    entry = find(name)
    if not hasattr(entry, "Classifier"):
        raise InputError(
            f"Found {name!r} among the models, which answers for voxels; needed one that answers "
            "for participants. Leave it out."
        )
    return entry


def entry_of(study, name):
    """Import the entry behind the name of a model, which may be a variant.

    Parameters
    ----------
    study : settings.Study
    name : str

    Returns
    -------
    module

    Raises
    ------
    InputError
        If there is neither an entry nor a variant of this name; the message lists both.
    """
    design = study.variant(name)[0]
    if design == "shuffled" and not study.maps:  # it learns as the study's first model does
        return importlib.import_module(f"{__name__}._shuffled_features")
    existing = catalogue.names(__name__)
    if design == name and study.variants and name not in existing:
        raise InputError(
            f"Found {name!r}, needed one of the models that exist: {', '.join(existing)}; or of "
            f"the study's variants: {', '.join(study.variants)}. Correct the study."
            f"{suggest([name], [*existing, *study.variants])}"
        )
    return find_classifier(design)


def make(study, name):
    """Make the unfitted classifier for a name in a study.

    Parameters
    ----------
    study : settings.Study
    name : str
        Entry of the catalogue, or variant of the study.

    Returns
    -------
    Classifier

    Raises
    ------
    InputError
        If there is none, it lacks an option, or it cannot learn the target.
    """
    from bids_sexclf.training import signatures

    entry = entry_of(study, name)
    _, options, chosen = study.variant(name)
    options = signatures.check(options, name, entry)
    if not can_learn(entry, study.target):
        sibling = getattr(entry.Classifier, "sibling", None)
        sibling = f" {sibling!r} in models or baselines instead" if sibling else ""
        fit = [target for target in targets.names() if can_learn(entry, target)]
        raise InputError(
            f"Found target {study.target!r} for {name!r}, needed {' or '.join(fit)}. "
            f"{'Take' if sibling else 'Leave it out'}{sibling}, or change the target."
        )
    return entry.Classifier(chosen, **options)


def can_learn(entry, name):
    """Return whether an entry can learn a target: its kind fits, and it does not read the target.

    Parameters
    ----------
    entry : module
    name : str
        Of the target.

    Returns
    -------
    bool
    """
    target, classifier = targets.find(name), entry.Classifier
    columns = entry.READS if isinstance(entry.READS, tuple) else ()
    answered = target.column in columns and not getattr(classifier, "reads_target", False)
    return target.kind in classifier.kinds and not answered


def check(study):
    """Refuse a study with unknown models or options, before anything runs.

    Parameters
    ----------
    study : settings.Study
        Its models, baselines and variants are looked up.

    Raises
    ------
    InputError
        If there is no such entry or option, or a variant takes the name of another entry.
    """
    for name, table in study.variants.items():
        if name in catalogue.names(__name__) and table.get("design", name) != name:
            raise InputError(
                f"Found a variant {name!r} of {table['design']!r}, needed a name that no entry of "
                "the catalogue has. Call it otherwise."
            )
    for name in dict.fromkeys([*study.models, *study.baselines, *study.variants]):
        make(study, name)


def build(name, **options):
    """Build a network with new weights, outside a study.

    Parameters
    ----------
    name : str
        A network of the catalogue.
    **options
        What its own ``build`` takes, e.g. ``grid``.

    Returns
    -------
    torch.nn.Module
        Volumes (batch, channels, X, Y, Z) to outputs (batch, outputs), or of an entry without a
        ``Classifier`` to outputs (batch, outputs, X, Y, Z).

    Raises
    ------
    InputError
        If there is none of this name, or it is not a network.

    Examples
    --------
    >>> network = build("cnn3", grid=(58, 70, 58))
    >>> sum(weights.numel() for weights in network.parameters())
    322818
    """
    entry = find(name)
    if not hasattr(entry, "build"):
        networks = [
            entry_name
            for entry_name in catalogue.names(__name__)
            if hasattr(find(entry_name), "build")
        ]
        raise InputError(
            f"Found {name!r}, which is no network; needed one of {', '.join(networks)}. "
            f"Use its Classifier instead."
        )
    return entry.build(**options)
