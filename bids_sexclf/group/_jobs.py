"""The jobs of a study: one model on one map in one fold, and what tells that one is finished."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_sexclf.group import _features
from bids_sexclf.settings import RECIPE, Study, fingerprint


@dataclass(frozen=True)
class Job:
    """One model on one map in one fold.

    Attributes
    ----------
    study_folder, folder : pathlib.Path
        Of the study; of the job's files.
    study : settings.Study
    model, map : str
        ``model`` is an entry of the catalogue or a variant; ``map`` is one map, several joined
        by ``+``, or ``"table"`` for models that read columns of the cohort table.
    repeat, fold : int
    devices : int or models._nodes.Seat
        That train one network together.
    """

    study_folder: Path
    folder: Path
    study: Study
    model: str
    map: str
    repeat: int
    fold: int
    devices: object = 1

    @property
    def keys(self):
        """The job's columns in every table."""
        return {"model": self.model, "map": self.map, "repeat": self.repeat, "fold": self.fold}

    @property
    def seed(self):
        """A seed of its own, made from the study's and the job's name."""
        name = zlib.crc32(f"{self.model} {self.map}".encode())
        own = self.study.variant(self.model)[2]
        entropy = [own.random_seed, name, self.repeat, self.fold]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def maps_digest(folder):
    """Give what the cohort stage noted of the files it read."""
    return json.loads((folder / "logs" / "cohort.json").read_text())["reads"]["own"]


def answerable(study, cohort):
    """Give the baselines of a study, without those by default that its cohort cannot answer.

    Parameters
    ----------
    study : settings.Study
    cohort : pandas.DataFrame

    Returns
    -------
    list of str
        As asked for, where ``baselines`` was set; else without ``site_only`` where there is one
        site, and without it, ``motion_only`` and ``age_only`` where anybody's is unknown.
    """
    if "baselines" in study.model_fields_set:
        return list(study.baselines)
    unknown = {
        "site_only": cohort["site"].isna().any() or cohort["site"].nunique() < 2,
        "motion_only": cohort["motion_mm"].isna().any(),
        "age_only": cohort["age_years"].isna().any(),
    }
    return [name for name in study.baselines if not unknown.get(name, False)]


def reads_volumes(study, model):
    """Say whether a model of a study reads volumes: it is a network, or trains one."""
    from bids_sexclf import models as catalogue

    return catalogue.entry_of(study, model).READS == "volumes"


def make_job(desk, model, map, repeat, fold):
    """Give a job of a study by its keys.

    Parameters
    ----------
    desk : base.Desk
    model, map : str
    repeat, fold : int

    Returns
    -------
    Job
    """
    folder = desk.folder / "models" / f"{model}_{map}" / f"repeat-{repeat}_fold-{fold}"
    return Job(desk.folder, folder, desk.study, model, map, repeat, fold, desk.run.devices)


def list_jobs(desk, splits, models=None):
    """List the jobs of a study.

    Parameters
    ----------
    desk : base.Desk
    splits : pandas.DataFrame
    models : list of str, optional
        Those of the study and its baselines by default.

    Returns
    -------
    list of Job
    """
    jobs = []
    folds = splits[["repeat", "fold"]].drop_duplicates().itertuples(index=False)
    folds = [(int(repeat), int(fold)) for repeat, fold in folds]
    baselines = [] if models else answerable(desk.study, desk.read("cohort"))
    for model in models or [*desk.study.models, *baselines]:
        for name in desk.study.maps if reads_volumes(desk.study, model) else ["table"]:
            jobs += [make_job(desk, model, name, repeat, fold) for repeat, fold in folds]
    return jobs


def mark(job, splits):
    """Digest what a job's fit depends on.

    Parameters
    ----------
    job : Job
    splits : pandas.DataFrame

    Returns
    -------
    str
    """
    own = splits[(splits["repeat"] == job.repeat) & (splits["fold"] == job.fold)]
    cohort = (job.study_folder / "cohort.tsv").read_text()
    study = job.study
    followed = study.models[:1] if study.variant(job.model)[0] == "shuffled" else []
    return fingerprint(
        {
            "model": _described(study, job.model),
            "splits": own.to_csv(index=False),
            "cohort": cohort,
            "maps": maps_digest(job.study_folder),
            "followed": [_described(study, name) for name in followed],
            "features": _read_by(job),
            "confounds": study.provenance(("residualize", "harmonize")),
        }
    )


def _described(study, name):
    """Give all that the study chooses for one model."""
    design, options, own = study.variant(name)
    return [name, design, options, own.provenance((*RECIPE, "target"))]


def _read_by(job):
    """Digest the table of features that a job reads; None where it reads none."""
    from bids_sexclf import models as catalogue

    if catalogue.entry_of(job.study, job.model).READS != "features":
        return None
    return _features.digest(job.study, job.study_folder)


def is_fitted(job, splits):
    """Say whether a job is finished with these splits, this cohort and these choices."""
    path = job.folder / "job.json"
    return path.exists() and json.loads(path.read_text())["mark"] == mark(job, splits)
