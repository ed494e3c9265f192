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
from bids_sexclf.errors import ToolError
from bids_sexclf.execute import processors, run_jobs
from bids_sexclf.group import _adjust, _features
from bids_sexclf.group._inputs import inputs, part_rows, target_of
from bids_sexclf.group.splits import check_splits
from bids_sexclf.settings import RECIPE, Study, fingerprint
from bids_sexclf.tables import read_table, read_tsv, schema, write_table

READS = ("cohort", "splits")
WRITES = ("predictions.tsv", "history.tsv")
SETTINGS = (
    "target",
    "maps",
    "models",
    "baselines",
    "variants",
    "features",
    "residualize",
    "harmonize",
    *RECIPE,
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
        ``model`` is an entry of the catalogue or a variant; ``map`` is one map, several joined
        by ``+``, or ``"table"`` for models that read columns of the cohort table.
    repeat, fold : int
    devices : int
        That train one network together.
    """

    study_folder: Path
    folder: Path
    study: Study
    model: str
    map: str
    repeat: int
    fold: int
    devices: int = 1

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
    from bids_sexclf import models as catalogue

    cohort = desk.read("cohort")
    splits = check_splits(desk.read("splits"), cohort)
    catalogue.check(desk.study)
    jobs = list_jobs(desk, splits)
    check_inputs(jobs, cohort)
    _adjust.check(desk.study, cohort, splits)
    asked = [job for job in jobs if not desk.run.folds or job.fold in desk.run.folds]
    for job in asked:
        _check_weights(job, splits)
    waiting = [job for job in asked if not is_fitted(job, splits)]
    _fit_all(waiting, desk, advance)
    if all(is_fitted(job, splits) for job in jobs):
        gather(jobs, desk)


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
        entry = catalogue.entry_of(job.study, job.model)
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
        reads_volumes = catalogue.entry_of(desk.study, model).READS == "volumes"
        for name in desk.study.maps if reads_volumes else ["table"]:
            for repeat, fold in folds:
                folder = desk.folder / "models" / f"{model}_{name}" / f"repeat-{repeat}_fold-{fold}"
                place = (desk.folder, folder, desk.study)
                jobs.append(Job(*place, model, name, repeat, fold, desk.run.devices))
    return jobs


def _check_weights(job, splits):
    """Refuse weights from elsewhere that know participants whom the job validates or tests."""
    from bids_sexclf.models._outside import check_weights

    own = splits[(splits["repeat"] == job.repeat) & (splits["fold"] == job.fold)]
    held_out = own.loc[own["part"] != "train", "participant_id"]
    check_weights(job.study.variant(job.model)[1], held_out)


def _mark(job, splits):
    """Digest what a job's fit depends on."""
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
        job.study.variant(job.model)[2].epochs
        if catalogue.entry_of(job.study, job.model).READS == "volumes"
        else 1
        for job in jobs
    ]
    done = [0] * len(jobs)

    def tell(index, message):
        pretraining = message is not None and "stage" in message
        if not pretraining:
            done[index] = size[index] if message is None else min(message["epoch"] + 1, size[index])
        advance(sum(done), sum(size), say_progress(jobs[index], message))

    processes = (desk.run.nprocs or processors()) if desk.run.devices == 1 else 1
    results = run_jobs(
        fit_job, jobs, processes, desk.run.omp_nthreads, tell, desk.run.dask_scheduler
    )
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


def say_progress(job, message):
    """Say in one line how far a job is.

    Parameters
    ----------
    job : Job
    message : dict or None
        What a network tells after an epoch; None at the end of the job.

    Returns
    -------
    str

    Examples
    --------
    >>> job = Job(Path(), Path(), Study(), "cnn3", "FA", 1, 2)
    >>> say_progress(job, {"epoch": 4, "epochs": 30, "validation_loss": 0.51234,
    ...     "validation_score": 0.875, "seconds_left": 130})
    'cnn3 FA fold 2 epoch 5/30 loss 0.512 AUC 0.875 2:10 left'
    >>> say_progress(job, None)
    'cnn3 FA fold 2 finished'
    """
    note = f"{job.model} {job.map} fold {job.fold}"
    if message is None:
        return f"{note} finished"
    if "stage" in message:
        note += f" {message['stage']}"
    if "epochs" in message:
        note += f" epoch {message['epoch'] + 1}/{message['epochs']}"
    loss = message.get("validation_loss", message.get("train_loss"))
    if loss is not None:
        note += f" loss {loss:.3f}"
    if message.get("validation_score") is not None:
        name = "AUC" if job.study.target == "sex" else "error (years)"
        note += f" {name} {message['validation_score']:.3f}"
    if "seconds_left" in message:
        minutes, seconds = divmod(round(message["seconds_left"]), 60)
        note += f" {minutes}:{seconds:02d} left"
    return note


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
    entry = catalogue.entry_of(job.study, job.model)
    target = target_of(cohort, job.study.target)
    given = {part: inputs(job, entry, cohort, rows) for part, rows in parts.items()}
    given = _without_confounds(job, entry, given, {p: cohort.loc[r] for p, r in parts.items()})
    model = catalogue.make(job.study, job.model)
    model.devices = job.devices
    model.fit(
        given["train"],
        target[parts["train"]],
        validation=(given["validation"], target[parts["validation"]]),
        seed=job.seed,
        folder=job.folder,
        progress=lambda **message: tell(message),
        **_families(entry, cohort, parts["train"]),
    )
    model.save(job.folder)
    _name_pretrained(job, cohort, parts["train"])
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


def _name_pretrained(job, cohort, rows):
    """Write beside an encoder that was pretrained here whom it knows."""
    from bids_sexclf.models._outside import write_card

    encoder = job.folder / "encoder.safetensors"
    if encoder.exists():
        write_card(encoder, cohort.loc[rows, "participant_id"])


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


def _save_history(job, model):
    import pandas as pd

    columns = list(schema("history"))
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
