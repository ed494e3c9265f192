"""Fit every model in every fold. Reads cohort.tsv, splits.tsv; writes predictions.tsv, history.tsv.

Also importances.tsv, where models of features were fitted, which read morphometry.tsv,
region_means.tsv or a table of the user's.

One job is one model on one map in one fold; a job that is finished is not fitted again.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_sexclf.disk import write_json
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.execute import processors, run_jobs
from bids_sexclf.features import Features
from bids_sexclf.group import _adjust, _features
from bids_sexclf.group.cohort import array_path
from bids_sexclf.group.splits import check_splits
from bids_sexclf.settings import Study, fingerprint
from bids_sexclf.tables import read_table, read_tsv, schema, write_table
from bids_sexclf.volumes import Rows, open_cohort

READS = ("cohort", "splits")
WRITES = ("predictions.tsv", "history.tsv")
SETTINGS = (
    "maps",
    "models",
    "baselines",
    "epochs",
    "patience",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "standardize",
    "model_options",
    "features",
    "residualize",
    "harmonize",
    "random_seed",
)
KEYS = ["model", "map", "repeat", "fold"]


@dataclass(frozen=True)
class Job:
    """One model on one map in one fold.

    Attributes
    ----------
    study_folder, folder : pathlib.Path
        Of the study; of the job's files.
    study : settings.Study
    model, map : str
        ``map`` is ``"table"`` for models that read columns of the cohort table.
    repeat, fold : int
    """

    study_folder: Path
    folder: Path
    study: Study
    model: str
    map: str
    repeat: int
    fold: int

    @property
    def keys(self):
        """The job's columns in every table."""
        return {"model": self.model, "map": self.map, "repeat": self.repeat, "fold": self.fold}

    @property
    def seed(self):
        """A seed of its own, made from the study's and the job's name."""
        name = zlib.crc32(f"{self.model} {self.map}".encode())
        entropy = [self.study.random_seed, name, self.repeat, self.fold]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def digest(desk):
    """Digest the maps behind the cohort arrays, which the tables do not show, and the features."""
    return [maps_digest(desk.folder), _features.digest(desk.study, desk.folder)]


def maps_digest(folder):
    """Give what the cohort stage noted of the files it read."""
    return json.loads((folder / "logs" / "cohort.json").read_text())["reads"]["own"]


def run(desk, advance):
    """Fit what is not fitted yet, and gather the tables once every job is finished.

    Parameters
    ----------
    desk : base.Desk
    advance : callable

    Raises
    ------
    ToolError
        If jobs failed; the others have gone on and are kept.
    """
    cohort = desk.read("cohort")
    splits = check_splits(desk.read("splits"), cohort)
    check_models(desk.study)
    jobs = list_jobs(desk, splits)
    check_inputs(jobs, cohort)
    _adjust.check(desk.study, cohort, splits)
    asked = [job for job in jobs if not desk.run.folds or job.fold in desk.run.folds]
    waiting = [job for job in asked if not is_fitted(job, splits)]
    _fit_all(waiting, desk, advance)
    if all(is_fitted(job, splits) for job in jobs):
        gather(jobs, desk)


def check_models(study):
    """Refuse models that cannot be fitted, and options that nobody takes, before the first fit.

    Parameters
    ----------
    study : settings.Study

    Raises
    ------
    InputError
    """
    from bids_sexclf import models as catalogue

    names = [*study.models, *study.baselines]
    unused = sorted(set(study.model_options) - set(names))
    if unused:
        raise InputError(
            f"Found model_options of {', '.join(unused)}, needed only those of the study's models "
            f"({', '.join(names)}). Correct the study."
        )
    for name in names:
        catalogue.find_classifier(name).Classifier(study)


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
        site, and without it and ``motion_only`` where anybody's is unknown.
    """
    if "baselines" in study.model_fields_set:
        return list(study.baselines)
    unknown = {
        "site_only": cohort["site"].isna().any() or cohort["site"].nunique() < 2,
        "motion_only": cohort["motion_mm"].isna().any(),
    }
    return [name for name in study.baselines if not unknown.get(name, False)]


def check_inputs(jobs, cohort):
    """Refuse models that cannot read what they need, before the first fit.

    Parameters
    ----------
    jobs : list of Job
    cohort : pandas.DataFrame

    Raises
    ------
    InputError
        If columns are unknown for some, with their names, or the table of features is no use.
    """
    from bids_sexclf import models as catalogue

    first = {job.model: job for job in jobs}
    for job in first.values():
        entry = catalogue.find(job.model)
        if entry.READS != "volumes":
            inputs(job, entry, cohort, np.arange(len(cohort)))


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
    from bids_sexclf import models as catalogue

    jobs = []
    folds = splits[["repeat", "fold"]].drop_duplicates().itertuples(index=False)
    folds = [(int(repeat), int(fold)) for repeat, fold in folds]
    baselines = [] if models else answerable(desk.study, desk.read("cohort"))
    for model in models or [*desk.study.models, *baselines]:
        reads_volumes = catalogue.find_classifier(model).READS == "volumes"
        for name in desk.study.maps if reads_volumes else ["table"]:
            for repeat, fold in folds:
                folder = desk.folder / "models" / f"{model}_{name}" / f"repeat-{repeat}_fold-{fold}"
                jobs.append(Job(desk.folder, folder, desk.study, model, name, repeat, fold))
    return jobs


def _mark(job, splits):
    """Digest what a job's fit depends on."""
    own = splits[(splits["repeat"] == job.repeat) & (splits["fold"] == job.fold)]
    cohort = (job.study_folder / "cohort.tsv").read_text()
    others = ("maps", "models", "baselines", "model_options", "features")
    choices = [name for name in SETTINGS if name not in others]
    return fingerprint(
        {
            "settings": job.study.provenance(choices),
            "splits": own.to_csv(index=False),
            "cohort": cohort,
            "maps": maps_digest(job.study_folder),
            "first": job.study.models[:1],
            "features": _read_by(job),
            "options": [
                job.study.model_options.get(name) for name in (job.model, *job.study.models[:1])
            ],
        }
    )


def _read_by(job):
    """Digest the table of features that a job reads; None where it reads none."""
    from bids_sexclf import models as catalogue

    if catalogue.find(job.model).READS != "features":
        return None
    return [job.study.features, _features.digest(job.study, job.study_folder)]


def is_fitted(job, splits):
    """Say whether a job is finished with these splits, this cohort and these choices."""
    path = job.folder / "job.json"
    return path.exists() and json.loads(path.read_text())["mark"] == _mark(job, splits)


def _fit_all(jobs, desk, advance):
    """Fit in a pool; tell how far the epochs are."""
    if not jobs:
        return
    from bids_sexclf import models as catalogue

    size = [
        desk.study.epochs if catalogue.find(job.model).READS == "volumes" else 1 for job in jobs
    ]
    done = [0] * len(jobs)

    def tell(index, message):
        done[index] = size[index] if message is None else min(message["epoch"] + 1, size[index])
        job = jobs[index]
        note = f"{job.model} {job.map} fold {job.fold}"
        if message is not None:
            note += f" loss {message['validation_loss']:.3f}"
        advance(sum(done), sum(size), note)

    processes = desk.run.nprocs or processors()
    results = run_jobs(fit_job, jobs, processes, desk.run.omp_nthreads, tell)
    failed = [
        f"{job.model} on {job.map}, fold {job.fold}: {type(fault).__name__}: {fault}"
        for job, fault in zip(jobs, results, strict=True)
        if isinstance(fault, Exception)
    ]
    if failed:
        raise ToolError(
            f"Found {len(failed)} of {len(jobs)} fits failed ({'; '.join(failed)}); needed all. "
            "The others are kept: mend the cause and run again."
        )


def fit_job(job, tell):
    """Fit one job, save its weights, history and predictions; the mark comes last.

    Parameters
    ----------
    job : Job
    tell : callable
        Told a dict with ``epoch`` and ``validation_loss`` after each epoch.
    """
    import pandas as pd

    from bids_sexclf import models as catalogue

    cohort = read_table(job.study_folder / "cohort.tsv", "cohort")
    splits = check_splits(read_table(job.study_folder / "splits.tsv", "splits"), cohort)
    parts = {part: part_rows(job, cohort, splits, part) for part in ("train", "validation", "test")}
    entry = catalogue.find(job.model)
    target = (cohort["sex"] == "male").to_numpy().astype(int)
    given = {part: inputs(job, entry, cohort, rows) for part, rows in parts.items()}
    given = _without_confounds(job, entry, given, {p: cohort.loc[r] for p, r in parts.items()})
    model = entry.Classifier(job.study).fit(
        given["train"],
        target[parts["train"]],
        validation=(given["validation"], target[parts["validation"]]),
        seed=job.seed,
        folder=job.folder,
        progress=lambda **message: tell(message),
        **_families(entry, cohort, parts["train"]),
    )
    model.save(job.folder)
    _save_history(job, model)
    _save_importances(job, model, cohort)
    frames = []
    for part in ("validation", "test"):
        rows = cohort.loc[parts[part], ["participant_id", "session_id"]]
        frames.append(
            rows.assign(
                **job.keys, part=part, target=target[parts[part]], logit=model.evidence(given[part])
            )
        )
    columns = [*KEYS, "participant_id", "session_id", "part", "target", "logit"]
    write_table(pd.concat(frames)[columns], job.folder / "predictions.tsv", "predictions")
    write_json({"mark": _mark(job, splits), "seed": job.seed}, job.folder / "job.json")


def _without_confounds(job, entry, given, people):
    """Take confounds out of every part as the training part teaches; keep how beside the model."""
    if entry.READS not in ("volumes", "features"):
        return given  # the baselines speak for the confounds themselves
    adjust = _adjust.learn(job.study, given["train"], people["train"])
    adjust.save(job.folder)
    return {part: adjust(values, people[part]) for part, values in given.items()}


def _families(entry, cohort, rows):
    """Give models that search their settings in inner folds who must stay together."""
    if not getattr(entry, "NESTED", False):
        return {}
    family = cohort["family_id"].fillna(cohort["participant_id"])
    return {"groups": family.astype(str).to_numpy()[rows]}


def _save_importances(job, model, cohort):
    """Save the importance of each feature with what the feature is of."""
    import pandas as pd

    path = job.folder / "importances.tsv"
    path.unlink(missing_ok=True)
    rows = getattr(model, "importances", [])
    if rows:
        _, about = _features.read_features(job.study, job.study_folder, cohort)
        table = pd.DataFrame(rows).merge(about, on="feature", how="left").assign(**job.keys)
        write_table(table[list(schema("importances"))], path, "importances")


def part_rows(job, cohort, splits, part):
    """Give the cohort rows of one part of the job's fold.

    Parameters
    ----------
    job : Job
    cohort, splits : pandas.DataFrame
    part : {"train", "validation", "test"}

    Returns
    -------
    ndarray of int
        All sessions of the part's participants.
    """
    own = splits[
        (splits["repeat"] == job.repeat) & (splits["fold"] == job.fold) & (splits["part"] == part)
    ]
    return np.flatnonzero(cohort["participant_id"].isin(own["participant_id"]))


def inputs(job, entry, cohort, rows):
    """Give a model what it reads: rows of the cohort array, or columns of the table.

    Parameters
    ----------
    job : Job
    entry : module
        Of the model catalogue.
    cohort : pandas.DataFrame
    rows : ndarray of int

    Returns
    -------
    volumes.Rows, features.Features or ndarray, shape (n, k)

    Raises
    ------
    InputError
        If a column that the model reads is unknown for some.
    """
    if entry.READS == "volumes":
        return Rows(open_cohort(array_path(job.study_folder, job.map)), rows)
    if entry.READS == "features":
        features, _ = _features.read_features(job.study, job.study_folder, cohort)
        return Features(features.values[rows], features.names)
    values = cohort.loc[rows, list(entry.READS)]
    unknown = values.isna().any(axis=1)
    if unknown.any():
        names = cohort.loc[unknown[unknown].index, "participant_id"].tolist()
        raise InputError(
            f"Found {len(names)} participants without {' or '.join(entry.READS)} "
            f"({', '.join(names[:5])}), needed by {job.model}. Leave it out of the baselines, or "
            "prepare the scans that tell it."
        )
    return values.to_numpy(object if "site" in entry.READS else float)


def _save_history(job, model):
    import pandas as pd

    columns = [*KEYS, "epoch", "train_loss", "validation_loss"]
    rows = [job.keys | entry for entry in model.history]
    write_table(pd.DataFrame(rows, columns=columns), job.folder / "history.tsv", "history")


def gather(jobs, desk):
    """Put the tables of all jobs together, in the order of the study.

    Parameters
    ----------
    jobs : list of Job
    desk : base.Desk
    """
    import pandas as pd

    for name in ("history", "predictions"):
        frames = [read_tsv(job.folder / f"{name}.tsv", ("model", "map", "part")) for job in jobs]
        frames = [frame for frame in frames if len(frame)] or frames[:1]
        write_table(pd.concat(frames), desk.folder / f"{name}.tsv", name)
    weighed = [job.folder / "importances.tsv" for job in jobs]
    frames = [read_table(path, "importances") for path in weighed if path.exists()]
    path = desk.folder / "importances.tsv"
    if frames:
        write_table(pd.concat(frames), path, "importances")
    else:
        for old in (path, path.with_suffix(".json")):
            old.unlink(missing_ok=True)
