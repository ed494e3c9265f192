"""Stage ``fit``: reads cohort.tsv and splits.tsv; writes predictions.tsv and history.tsv.

It writes importances.tsv too if models of features are fitted, which read morphometry.tsv,
region_means.tsv or a table of the user.

One job is one model on one map in one fold; a job that is finished is not fitted again.
"""

from dataclasses import replace

from bids_sexclf import targets
from bids_sexclf.bundle import adjustment
from bids_sexclf.cells import WRITTEN_UNKNOWN
from bids_sexclf.cohort import features
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.cohort.provenance import read_provenance
from bids_sexclf.execute import FAILED, processors, run_jobs
from bids_sexclf.group._faults import check_results, gather_faults
from bids_sexclf.group._fit_checks import check_inputs, check_outside
from bids_sexclf.group._fit_job import assist_fit, fit_job
from bids_sexclf.group._jobs import (
    choose_folds,
    is_fitted,
    list_grid_files,
    list_jobs,
    make_job,
    mark,
    reads_volumes,
    weight_files,
)
from bids_sexclf.group.splits import check_splits
from bids_sexclf.settings import RECIPE
from bids_sexclf.tables import read_table, read_tsv, write_table

READS = ("cohort", "splits", "resemblance")
WRITES = ("predictions.tsv", "history.tsv")
ALSO = ("importances.tsv",)
OF_RUN = ("omp_nthreads",)
"""Sums of floats depend on how many threads share them."""
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


def files(desk):
    """Name what the stage reads beside tables: cohort arrays, grid, features, weights."""
    arrays = {
        f"arrays/{name}.npy": array_path(desk.folder, name) for name in desk.study.single_maps
    }
    models = dict.fromkeys([*desk.study.models, *desk.study.baselines])
    weights = {
        label: path for name in models for label, path in weight_files(desk.study, name).items()
    }
    grid = {name: desk.folder / name for name in list_grid_files(desk.study.single_maps)}
    return arrays | grid | weights | {"features": features.source(desk.study, desk.folder)}


def check(desk):
    """Refuse models that cannot be fitted, before the first fit and before a table is removed.

    Parameters
    ----------
    desk : base.Desk

    Raises
    ------
    InputError, GridError, LeakageError or ToolError
        The common kind of all faults; a ToolError if they have no common kind.
    """
    from bids_sexclf import models as catalogue

    cohort, splits = desk.read("cohort"), desk.read("splits")
    check_splits(splits, cohort)
    if desk.study.maps:
        read_provenance(desk.folder)
    catalogue.check(desk.study)
    jobs = list_jobs(desk, splits)
    requested = choose_folds(jobs, desk.run)
    with gather_faults("models that cannot be fitted") as attempt:
        for job in {job.model: job for job in jobs}.values():
            attempt(job.model, check_inputs, job, cohort)
        for model in dict.fromkeys(job.model for job in requested):
            jobs_of_model = [job for job in requested if job.model == model]
            attempt(model, check_outside, jobs_of_model, splits)
    adjustment.check(desk.study, cohort, splits)


def run(desk, advance):
    """Fit all jobs that are not fitted yet.

    Parameters
    ----------
    desk : base.Desk
    advance : callable

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        If jobs failed: the common kind of their faults. The other jobs are finished and kept.
    """
    splits = desk.read("splits")
    requested = choose_folds(list_jobs(desk, splits), desk.run)
    _fit_all([job for job in requested if not is_fitted(job, splits)], desk, advance)


def finish(desk):
    """Write the tables when all jobs are finished.

    Parameters
    ----------
    desk : base.Desk
    """
    splits = desk.read("splits")
    jobs = list_jobs(desk, splits)
    if all(is_fitted(job, splits) for job in jobs):
        gather(jobs, desk)


def _fit_all(jobs, desk, advance):
    """Fit jobs in a pool, and report the progress of epochs."""
    if not jobs:
        return
    size = [
        job.study.variant(job.model)[2].epochs if reads_volumes(job.study, job.model) else 1
        for job in jobs
    ]
    done = [0] * len(jobs)

    def tell(index, message):
        if message in (None, FAILED):
            done[index] = size[index]
        elif "stage" not in message:  # of pretraining, which no epoch of the study counts
            done[index] = min(message["epoch"] + 1, size[index])
        advance(sum(done), sum(size), say_progress(jobs[index], message))

    processes = (desk.run.nprocs or processors()) if desk.run.devices == 1 else 1
    options = (processes, desk.run.omp_nthreads, tell, desk.run.dask_scheduler)
    results = (
        run_jobs(fit_job, jobs, *options) if desk.team is None else _fit_in_team(jobs, desk, tell)
    )
    check_results(jobs, results, "fits")


def _fit_in_team(jobs, desk, tell):
    """Fit jobs one by one: networks with all processes, other models in this process."""
    team, threads, results = desk.team, desk.run.omp_nthreads, []
    splits = desk.read("splits")
    for index, job in enumerate(jobs):

        def tell_its(message, index=index):
            tell(index, message)

        if reads_volumes(job.study, job.model):
            team.call({"job": job.keys, "mark": mark(job, splits)})
            own_job = replace(job, devices=team.place())
            results.append(team.work(fit_job, own_job, threads, tell_its))
            tell_its(FAILED if isinstance(results[-1], Exception) else None)
        else:
            results += run_jobs(fit_job, [job], 1, threads, lambda _, message: tell_its(message))
    return results


def assist(desk):
    """Take part in the fits of the first process of a team, until it ends.

    Parameters
    ----------
    desk : base.Desk
        With a team.

    Returns
    -------
    int
        The exit code of the first process.
    """
    while "end" not in (word := desk.team.listen()):
        job = replace(make_job(desk, **word["job"]), devices=desk.team.place())
        desk.team.work(assist_fit, (job, word["mark"]), desk.run.omp_nthreads)
    desk.team.leave()
    return word["end"]


def say_progress(job, message):
    """Return the progress of a job in one line.

    Parameters
    ----------
    job : Job
    message : dict, None or str
        What a network tells after an epoch; at the end of the job None, or ``execute.FAILED``.

    Returns
    -------
    str

    Examples
    --------
    >>> from bids_sexclf.group._jobs import Job
    >>> from bids_sexclf.settings import Study
    >>> job = Job(None, None, Study(), "cnn3", "FA", 1, 2)
    >>> say_progress(job, {"epoch": 4, "epochs": 30, "validation_loss": 0.51234,
    ...     "validation_score": 0.875, "seconds_left": 130})
    'cnn3 FA fold 2 epoch 5/30 loss 0.512 AUC 0.875 2:10 left'
    >>> say_progress(job, None)
    'cnn3 FA fold 2 finished'
    >>> say_progress(job, FAILED)
    'cnn3 FA fold 2 failed'
    """
    note = f"{job.model} {job.map} fold {job.fold}"
    if message in (None, FAILED):
        return f"{note} {message or 'finished'}"
    if "stage" in message:
        note += f" {message['stage']}"
    if "epochs" in message:
        note += f" epoch {message['epoch'] + 1}/{message['epochs']}"
    loss = message.get("validation_loss", message.get("train_loss"))
    if loss is not None:
        note += f" loss {loss:.3f}"
    if message.get("validation_score") is not None:
        note += f" {targets.find(job.study.target).main_title} {message['validation_score']:.3f}"
    if "seconds_left" in message:
        minutes, seconds = divmod(round(message["seconds_left"]), 60)
        note += f" {minutes}:{seconds:02d} left"
    return note


def gather(jobs, desk):
    """Concatenate the tables of all jobs, in the order of the study.

    Parameters
    ----------
    jobs : list of Job
    desk : base.Desk
    """
    import pandas as pd

    for name in ("history", "predictions"):
        texts = ("model", "map", "part")
        frames = [read_tsv(job.folder / f"{name}.tsv", texts, WRITTEN_UNKNOWN) for job in jobs]
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
