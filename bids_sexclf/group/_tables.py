"""Views of models of tables for attribution: donors of features, and groups of features."""

from bids_sexclf import attribution, fills, targets
from bids_sexclf.cohort.features import read_features
from bids_sexclf.features import Features
from bids_sexclf.group.questions import OF_TABLES
from bids_sexclf.tables import read_table

ALIKE = ("brain_volume_ml", "age_years")
"""Columns of the cohort in which a donor should resemble the participant, but for the target."""


def list_alike(target):
    """List the columns in which donors and receivers should be similar.

    Parameters
    ----------
    target : targets.Target

    Returns
    -------
    tuple of str
    """
    return tuple(name for name in ALIKE if name != target.column)


def name_groups(about):
    """Return the group of each feature: its atlas, side and region, or the feature itself.

    Parameters
    ----------
    about : pandas.DataFrame
        feature, atlas, region, name, hemisphere; one row per feature.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import pandas as pd
    >>> columns = ["feature", "atlas", "region", "name", "hemisphere"]
    >>> rows = [("v", "DK", None, "insula", "L"), ("icv", None, None, None, None)]
    >>> name_groups(pd.DataFrame(rows, columns=columns))
    ('DK L insula', 'icv')
    """
    import pandas as pd

    groups = []
    for one in about.itertuples(index=False):
        region = one.region if pd.isna(one.name) else one.name
        parts = [one.atlas, one.hemisphere, region]
        parts_known = [str(part) for part in parts if not pd.isna(part)]
        groups.append(one.feature if pd.isna(region) else " ".join(parts_known))
    return tuple(groups)


def view_table(job, model, table, people, training, options):
    """Return a view of a fitted model of a table, with the donors of tested participants.

    Parameters
    ----------
    job : _jobs.Job
    model : Classifier
        Fitted.
    table : features.Features
        Of the tested people.
    people : pandas.DataFrame
        As from `attribute.describe_people`.
    training : features.Features
        Of the training part.
    options : dict
        Of the donors.

    Returns
    -------
    attribution.View
        Features of one region are one group.
    """
    cohort = read_table(job.study_folder / "cohort.tsv", "cohort")
    _, about = read_features(job.study, job.study_folder, cohort)
    target, seed = targets.find(job.study.target), job.study.random_seed
    tested = fills.Tested(table, people, None, None, None, list_alike(target), seed)
    fill = fills.prepare(OF_TABLES, tested, **options)
    reference = attribution.Table(training.values, name_groups(about))
    return attribution.View(
        lambda values: model.evidence(Features(values, training.names)),
        None,
        fill=fill,
        seed=seed,
        classes=target.is_classes,
        reference=reference,
    )
