"""Checks of the models of a study before the first fit."""

import numpy as np

from bids_sexclf.group._inputs import inputs


def check_inputs(job, cohort):
    """Refuse a model whose inputs are missing, before the first fit.

    Parameters
    ----------
    job : Job
        Any one of the model's.
    cohort : pandas.DataFrame

    Raises
    ------
    InputError
        If columns are unknown for some participants, the table of features is not usable, or a
        network cannot read the grid.
    """
    from bids_sexclf import models as catalogue

    entry = catalogue.entry_of(job.study, job.model)
    if entry.READS != "volumes":
        inputs(job, entry, cohort, np.arange(len(cohort)))
        return
    classifier = catalogue.make(job.study, job.model)
    if hasattr(classifier, "check_grid"):
        classifier.check_grid(inputs(job, entry, cohort, np.arange(1)).shape)


def check_outside(jobs, splits):
    """Refuse weights that were trained on validation or test participants of the jobs.

    Parameters
    ----------
    jobs : list of Job
        Of one model.
    splits : pandas.DataFrame

    Raises
    ------
    InputError
    LeakageError
    """
    from bids_sexclf.training.outside import check_weights

    folds = splits.set_index(["repeat", "fold"]).index
    of_jobs = splits[folds.isin([(job.repeat, job.fold) for job in jobs])]
    held_out = of_jobs.loc[of_jobs["part"] != "train", "participant_id"]
    check_weights(jobs[0].study.variant(jobs[0].model)[1], held_out)
