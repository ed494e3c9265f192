"""Ask what each region told. Reads cohort, splits, predictions; writes attributions.tsv.

Only test participants are asked, each through the model that never saw them.
"""

import numpy as np

from bids_sexclf import attribution, targets
from bids_sexclf import models as catalogue
from bids_sexclf.cells import WRITTEN_UNKNOWN
from bids_sexclf.cohort.adjustment import Adjustment
from bids_sexclf.disk import write_json
from bids_sexclf.execute import FAILED, processors, run_jobs
from bids_sexclf.group._faults import check_results, gather_faults, name_jobs
from bids_sexclf.group._inputs import map_rows, part_rows
from bids_sexclf.group._jobs import (
    check_fitted,
    choose_folds,
    identify_fit,
    list_jobs,
    working_on,
)
from bids_sexclf.group._notes import list_changed, read_note, take
from bids_sexclf.group.splits import check_splits
from bids_sexclf.tables import read_table, read_tsv, write_table
from bids_sexclf.volumes import load

READS = ("cohort", "splits", "predictions")
WRITES = ("attributions.tsv",)
OF_RUN = ("omp_nthreads",)
"""Sums of floats depend on how many threads share them."""
SETTINGS = ("target", "models", "maps", "attributions", "fill", "atlas", "atlas_labels")
GRID = ("atlas", "white")


def files(desk):
    """Name the atlas and the white matter on the study grid, which the tables do not show."""
    return {f"grid/{name}.nii.gz": desk.folder / "grid" / f"{name}.nii.gz" for name in GRID}


def check(desk):
    """Refuse fitted models that are not whole, before any table is removed.

    Parameters
    ----------
    desk : base.Desk

    Raises
    ------
    InputError or LeakageError
    """
    splits = check_splits(desk.read("splits"), desk.read("cohort"))
    with gather_faults("fitted models that cannot be asked") as attempt:
        for job in {job.folder: job for job, _ in _list_waiting(desk, splits)}.values():
            attempt(name_jobs([job]), check_fitted, job, splits)


def _list_waiting(desk, splits):
    """List what is asked in the folds of this run and not attributed yet."""
    pairs = _list_pairs(desk, splits)
    asked = {job.folder for job in choose_folds([job for job, _ in pairs], desk.run)}
    return [pair for pair in pairs if pair[0].folder in asked and not is_attributed(*pair)]


def run(desk, advance):
    """Attribute what is not attributed yet.

    Parameters
    ----------
    desk : base.Desk
    advance : callable

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        If jobs failed, of the kind of their faults where they share one; the others are kept.
    """
    waiting = _list_waiting(desk, desk.read("splits"))
    done, total = [0] * len(waiting), [1] * len(waiting)

    def tell(index, message):
        ended = message in (None, FAILED)
        done[index], total[index] = (total[index], total[index]) if ended else message
        advance(sum(done), sum(total))

    results = run_jobs(
        attribute_job,
        waiting,
        desk.run.nprocs or processors(),
        desk.run.omp_nthreads,
        tell,
        desk.run.dask_scheduler,
    )
    check_results([job for job, _ in waiting], results, "attributions")


def finish(desk):
    """Gather the table once every attribution is finished.

    Parameters
    ----------
    desk : base.Desk
    """
    import pandas as pd

    pairs = _list_pairs(desk, desk.read("splits"))
    if all(is_attributed(*pair) for pair in pairs):
        texts = ("model", "map", "method", "fill")
        frames = [read_tsv(_table(*pair), texts, WRITTEN_UNKNOWN) for pair in pairs]
        empty = pd.DataFrame(columns=_order(), dtype=object)  # a study may ask for none
        write_table(
            pd.concat(frames) if frames else empty, desk.folder / "attributions.tsv", "attributions"
        )


def _list_pairs(desk, splits):
    """List what is asked: every fitted model of volumes, by every method."""
    jobs = list_jobs(desk, splits, desk.study.models)
    methods = desk.study.attributions
    return [(job, method) for job in jobs if job.map != "table" for method in methods]


def _table(job, method):
    return job.folder / f"attributions_{method}.tsv"


def _mark(job, method):
    """Digest what an attribution depends on: the fitted model, the atlas, the choices."""
    from bids_sexclf.settings import fingerprint

    grid = take({name: job.study_folder / "grid" / f"{name}.nii.gz" for name in GRID})
    content = {name: about and about["sha256"] for name, about in grid.items()}
    choices = job.study.provenance(("fill", "atlas", "atlas_labels"))
    fitted = identify_fit(job)
    return fingerprint({"fit": fitted, "grid": content, "choices": choices, "method": method})


def is_attributed(job, method):
    """Say whether a job's attribution is finished for this model, atlas and fill."""
    note = read_note(_table(job, method).with_suffix(".mark")) or {}
    table = {"table": _table(job, method)}
    changed = list_changed(table, {"table": note.get("table")})
    return not changed and table["table"].exists() and note.get("mark") == _mark(job, method)


def attribute_job(pair, tell):
    """Attribute one model in one fold and save its rows; the mark comes last.

    Where confounds are taken out of volumes, regions are hidden after that: the model is asked
    about what it was trained on.

    Parameters
    ----------
    pair : tuple
        A `_jobs.Job` and the name of a method.
    tell : callable
        Told (done, total) participants.
    """
    with working_on(pair[0]):
        _attribute(*pair, tell)


def _attribute(job, method, tell):
    """Attribute one model in one fold; its model stays the same meanwhile."""
    made_from = _mark(job, method)
    cohort = read_table(job.study_folder / "cohort.tsv", "cohort")
    splits = check_splits(read_table(job.study_folder / "splits.tsv", "splits"), cohort)
    rows = part_rows(job, cohort, splits, "test")
    parcellation, white = (
        load(job.study_folder / "grid" / f"{name}.nii.gz", ndim=3)[0] for name in ("atlas", "white")
    )
    parcellation = np.rint(parcellation).astype(int)
    volumes = Adjustment.load(job.folder)(map_rows(job, cohort, rows), cohort.loc[rows])
    fills = fill_values(volumes, white > 0)
    own = job.study.variant(job.model)[2]
    model = catalogue.entry_of(job.study, job.model).Classifier.load(job.folder, own)
    evidence, occluded = attribution.find(method).attribute(
        model.evidence,
        volumes,
        parcellation,
        fills,
        progress=lambda done, total: tell((done, total)),
    )
    regions, target = np.unique(parcellation[parcellation > 0]), targets.find(job.study.target)
    people = cohort.loc[rows, ["participant_id", "session_id"]].reset_index(drop=True)
    table = people.loc[people.index.repeat(len(regions))].assign(
        **job.keys,
        method=method,
        fill=job.study.fill,
        atlas=job.study.atlas,
        target=np.repeat(target.code(cohort.loc[rows]), len(regions)),
        region=np.tile(regions, len(rows)),
        evidence=np.repeat(evidence, len(regions)),
        evidence_occluded=occluded.ravel(),
    )
    path = _table(job, method)
    write_table(table[_order()], path, "attributions")
    write_json({"mark": made_from} | take({"table": path}), path.with_suffix(".mark"))


def _order():
    from bids_sexclf.tables import schema

    return list(schema("attributions"))


def fill_values(volumes, white):
    """Give the mean white matter of each participant's map.

    Parameters
    ----------
    volumes : volumes.Rows, shape (n, X, Y, Z), or volumes.Channels
    white : ndarray of bool, shape (X, Y, Z)

    Returns
    -------
    ndarray, shape (n,) or (n, channels)
        In the unit of the map.
    """
    return np.array([volumes[row][..., white].mean(-1) for row in range(len(volumes))], float)
