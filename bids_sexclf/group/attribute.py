"""Ask what each region told. Reads cohort, splits, predictions; writes attributions.tsv.

Only test participants are asked, each through the model that never saw them.
"""

import hashlib
import json

import numpy as np

from bids_sexclf import attribution
from bids_sexclf import models as catalogue
from bids_sexclf.cells import WRITTEN_UNKNOWN
from bids_sexclf.disk import write_json
from bids_sexclf.execute import FAILED, processors, run_jobs
from bids_sexclf.group._adjust import Adjustment
from bids_sexclf.group._faults import check_results
from bids_sexclf.group._inputs import map_rows, part_rows
from bids_sexclf.group._jobs import list_jobs
from bids_sexclf.group.splits import check_splits
from bids_sexclf.tables import read_table, read_tsv, write_table
from bids_sexclf.volumes import load

READS = ("cohort", "splits", "predictions")
WRITES = ("attributions.tsv",)
SETTINGS = ("target", "models", "maps", "attributions", "fill", "atlas", "atlas_labels")


def digest(desk):
    """Digest the atlas and the white matter on the study grid, which the tables do not show."""
    return [_content(desk.folder / "grid" / f"{name}.nii.gz") for name in ("atlas", "white")]


def _content(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def run(desk, advance):
    """Attribute what is not attributed yet, and gather the table.

    Parameters
    ----------
    desk : base.Desk
    advance : callable

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        If jobs failed, of the kind of their faults where they share one; the others are kept.
    """
    import pandas as pd

    splits = check_splits(desk.read("splits"), desk.read("cohort"))
    # What regions tell of a class has no meaning for a number of years.
    methods = desk.study.attributions if desk.study.target == "sex" else []
    jobs = [
        (job, method)
        for job in list_jobs(desk, splits, desk.study.models)
        if job.map != "table"
        for method in methods
    ]
    asked = [pair for pair in jobs if not desk.run.folds or pair[0].fold in desk.run.folds]
    waiting = [pair for pair in asked if not is_attributed(*pair)]
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
    if all(is_attributed(*pair) for pair in jobs):
        texts = ("model", "map", "method", "fill")
        frames = [read_tsv(_table(*pair), texts, WRITTEN_UNKNOWN) for pair in jobs]
        empty = pd.DataFrame(columns=_order(), dtype=object)  # a study may ask for none
        write_table(
            pd.concat(frames) if frames else empty, desk.folder / "attributions.tsv", "attributions"
        )


def _table(job, method):
    return job.folder / f"attributions_{method}.tsv"


def _mark(job, method):
    """Digest what an attribution depends on: the fitted model, the atlas, the choices."""
    from bids_sexclf.settings import fingerprint

    atlas = _content(job.study_folder / "grid" / "atlas.nii.gz")
    fitted = json.loads((job.folder / "job.json").read_text())
    choices = job.study.provenance(("fill", "atlas", "atlas_labels"))
    return fingerprint({"fit": fitted, "atlas": atlas, "choices": choices, "method": method})


def is_attributed(job, method):
    """Say whether a job's attribution is finished for this model, atlas and fill."""
    path = _table(job, method).with_suffix(".mark")
    return path.exists() and json.loads(path.read_text())["mark"] == _mark(job, method)


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
    job, method = pair
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
    logit, occluded = attribution.find(method).attribute(
        model.evidence,
        volumes,
        parcellation,
        fills,
        progress=lambda done, total: tell((done, total)),
    )
    regions = np.unique(parcellation[parcellation > 0])
    people = cohort.loc[rows, ["participant_id", "session_id"]].reset_index(drop=True)
    table = people.loc[people.index.repeat(len(regions))].assign(
        **job.keys,
        method=method,
        fill=job.study.fill,
        atlas=job.study.atlas,
        target=np.repeat((cohort.loc[rows, "sex"] == "male").to_numpy(int), len(regions)),
        region=np.tile(regions, len(rows)),
        logit=np.repeat(logit, len(regions)),
        logit_occluded=occluded.ravel(),
    )
    write_table(table[_order()], _table(job, method), "attributions")
    write_json({"mark": _mark(job, method)}, _table(job, method).with_suffix(".mark"))


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
