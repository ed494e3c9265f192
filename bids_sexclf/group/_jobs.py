"""The jobs of a study: one model on one map in one fold, and the checks that it is finished."""

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_sexclf.cohort import features
from bids_sexclf.disk import write_json
from bids_sexclf.errors import InputError
from bids_sexclf.group._notes import list_changed, read_fingerprints, read_note, take
from bids_sexclf.locks import hold
from bids_sexclf.settings import RECIPE, Study, fingerprint
from bids_sexclf.training import outside

NOTE = "job.json"
FORMAT = 4
"""Of the tables of a job: those of another format are made anew."""
NOT_FITTED = (".", NOTE, "attributions_", "last.ckpt")
"""How names begin of files in a job's folder that are not of its fitted model."""


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
    devices : int or training.nodes.Seat
        That train one network together.
    threads : int
        Per process.
    """

    study_folder: Path
    folder: Path
    study: Study
    model: str
    map: str
    repeat: int
    fold: int
    devices: object = 1
    threads: int = 1

    @property
    def keys(self):
        """The job's columns in every table."""
        return {"model": self.model, "map": self.map, "repeat": self.repeat, "fold": self.fold}

    @property
    def seed(self):
        """The seed of this job, computed from the seed of the study and the names of the job."""
        name = zlib.crc32(f"{self.model} {self.map}".encode())
        chosen = self.study.variant(self.model)[2]
        entropy = [chosen.random_seed, name, self.repeat, self.fold]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def weight_files(study, model):
    """Return the files of initial weights of a model.

    Parameters
    ----------
    study : settings.Study
    model : str

    Returns
    -------
    dict of str to pathlib.Path
        ``weights/MODEL/FILE`` to file; empty if the model has no initial weights.
    """
    files = outside.list_files(study.variant(model)[1])
    return {f"weights/{model}/{path.name}": path for path in files}


def _digest_weights(study, models):
    """Compute the digests of the files of initial weights of models."""
    files = {label: path for name in models for label, path in weight_files(study, name).items()}
    return {label: about and about["sha256"] for label, about in take(files).items()}


def list_grid_files(maps):
    """Name the files of a study's grid that go into the bundles of models of these maps.

    Parameters
    ----------
    maps : iterable of str

    Returns
    -------
    list of str
        Relative to the study; empty without maps.
    """
    maps = list(maps)
    if not maps:
        return []
    return ["grid/mask.nii.gz", "grid/maps.json", *(f"grid/mean_{name}.nii.gz" for name in maps)]


def _digest_arrays(job):
    """Return the digests that the cohort stage noted of the arrays and images that a job reads."""
    written = read_fingerprints(read_note(job.study_folder / "logs" / "cohort.json"), "writes")
    maps = job.map.split("+") if job.map != "table" else []
    names = [f"arrays/{name}.npy" for name in maps] + list_grid_files(maps)
    return {name: (written.get(name) or {}).get("sha256") for name in names}


def answerable(study, cohort):
    """Return the baselines of a study, without default ones that its cohort does not support.

    Parameters
    ----------
    study : settings.Study
    cohort : pandas.DataFrame

    Returns
    -------
    list of str
        Without those that are models of the study, which are judged as such. As asked for, where
        ``baselines`` was set; else without ``site_only`` where there is one site, and without it,
        ``motion_only`` and ``age_only`` where anybody's is unknown, and ``brain_size`` where
        everybody's is.
    """
    baselines = [name for name in study.baselines if name not in study.models]
    if "baselines" in study.model_fields_set:
        return baselines
    unknown = {
        "site_only": cohort["site"].isna().any() or cohort["site"].nunique() < 2,
        "motion_only": cohort["motion_mm"].isna().any(),
        "age_only": cohort["age_years"].isna().any(),
        "brain_size": cohort["brain_volume_ml"].isna().all(),
    }
    return [name for name in baselines if not unknown.get(name, False)]


def reads_volumes(study, model):
    """Return whether a model of a study reads volumes: it is a network, or trains one."""
    from bids_sexclf import models as catalogue

    return catalogue.entry_of(study, model).READS == "volumes"


def make_job(desk, model, map, repeat, fold):
    """Return a job of a study by its keys.

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
    return Job(
        desk.folder,
        folder,
        desk.study,
        model,
        map,
        repeat,
        fold,
        desk.run.devices,
        desk.run.omp_nthreads,
    )


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
    """Compute the digest of everything that the fit of a job depends on.

    Parameters
    ----------
    job : Job
    splits : pandas.DataFrame

    Returns
    -------
    str
    """
    of_fold = splits[(splits["repeat"] == job.repeat) & (splits["fold"] == job.fold)]
    cohort = (job.study_folder / "cohort.tsv").read_text()
    study = job.study
    dealt = study.variant(job.model)[0] == "shuffled"
    followed = study.models[:1] if dealt else []
    weights = _digest_weights(study, [job.model, *followed])
    return fingerprint(
        {
            "format": FORMAT,
            "model": _described(study, job.model),
            "splits": of_fold.to_csv(index=False),
            "cohort": cohort,
            "maps": _digest_arrays(job),
            "followed": [_described(study, name) for name in followed],
            "features": _read_by(job),
            "confounds": study.provenance(("residualize", "harmonize")),
            # Sums of floats depend on the number of threads, which matters for networks only.
            "threads": job.threads if reads_volumes(study, job.model) else None,
        }
        | ({"weights": weights} if weights else {})
        | (_dealt_from(job, splits) if dealt else {})
    )


def _dealt_from(job, splits):
    """Return the inputs of the shuffled targets, besides the parts of the fold."""
    of_repeat = splits[splits["repeat"] == job.repeat]
    alike = (job.study_folder / "resemblance.tsv").read_text()
    return {"dealt": [of_repeat.to_csv(index=False), alike, job.study.random_seed]}


def _described(study, name):
    """Return all choices of the study for one model."""
    design, options, chosen = study.variant(name)
    return [name, design, options, chosen.provenance((*RECIPE, "target"))]


def _read_by(job):
    """Compute the digest of the table of features of a job; None if it reads none."""
    from bids_sexclf import models as catalogue

    if catalogue.entry_of(job.study, job.model).READS != "features":
        return None
    return features.digest(job.study, job.study_folder)


def choose_folds(jobs, run):
    """Return the jobs of the folds of a run.

    Parameters
    ----------
    jobs : list of Job
    run : settings.Run
        ``folds`` is read.

    Returns
    -------
    list of Job

    Raises
    ------
    InputError
        If there is no such fold.
    """
    if run.folds is None:
        return jobs
    existing = sorted({job.fold for job in jobs})
    unknown = sorted(set(run.folds) - set(existing))
    if jobs and (unknown or not run.folds):
        raise InputError(
            f"Found --folds {' '.join(map(str, unknown)) or 'without a number'}, needed some of "
            f"the folds of splits.tsv ({', '.join(map(str, existing))}). Correct --folds."
        )
    return [job for job in jobs if job.fold in run.folds]


@contextmanager
def working_on(job):
    """Hold the lock of a job while the block runs; other processes wait for it."""
    activity = f"{job.model} on {job.map}, fold {job.fold}, is being worked on"
    with hold(job.folder / ".lock", activity):
        yield


def note_fit(job, made_from):
    """Write the note of a fit: its inputs and the fingerprints of its files.

    Parameters
    ----------
    job : Job
    made_from : str
        Its ``mark``.
    """
    paths = [path for path in sorted(job.folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(job.folder).as_posix(): path for path in paths}
    fitted_files = {name: path for name, path in names.items() if not name.startswith(NOT_FITTED)}
    note = {"mark": made_from, "seed": job.seed, "files": take(fitted_files)}
    write_json(note, job.folder / NOTE)


def is_fitted(job, splits):
    """Return whether a job is finished with these splits, this cohort and these choices.

    Parameters
    ----------
    job : Job
    splits : pandas.DataFrame

    Returns
    -------
    bool
        False also if a file of the job is missing or has changed since the fit.
    """
    note = read_note(job.folder / NOTE) or {}
    return note.get("mark") == mark(job, splits) and not _list_damaged(job, note)


def check_fitted(job, splits):
    """Refuse a fitted model whose files have changed since the fit stage.

    Parameters
    ----------
    job : Job
    splits : pandas.DataFrame

    Raises
    ------
    InputError
    """
    note = read_note(job.folder / NOTE)
    damaged = _list_damaged(job, note or {})
    if note is None or damaged or note.get("mark") != mark(job, splits):
        fault = f"{', '.join(damaged)} missing or changed" if damaged else f"no {NOTE} of this fit"
        raise InputError(
            f"Found {fault} in {job.folder}, needed the files that the fit stage has written. Run "
            "again with --first fit, which fits again what is not whole."
        )


def identify_fit(job):
    """Return the identity of a fit: its mark and the digests of its files."""
    note = read_note(job.folder / NOTE)
    files = read_fingerprints(note, "files")
    digests = {name: about["sha256"] for name, about in files.items() if about}
    return [(note or {}).get("mark"), digests]


def _list_damaged(job, note):
    """List the missing or changed files of a job; its note if that names no file."""
    files = read_fingerprints(note, "files")
    return list_changed({name: job.folder / name for name in files}, files) if files else [NOTE]
