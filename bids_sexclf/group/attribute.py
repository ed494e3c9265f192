"""Ask models what each region tells. Reads cohort, splits, predictions; writes attributions.tsv.

Only test participants are asked about, each through the model that never saw them. What replaces a
hidden region comes from people of the same test part, or from the participant.
"""

from contextlib import nullcontext

import numpy as np

from bids_sexclf import attribution, fills, targets
from bids_sexclf import models as catalogue
from bids_sexclf.bundle import FOLDER, Bundle
from bids_sexclf.cells import WRITTEN_UNKNOWN
from bids_sexclf.cohort.blocks import find_families
from bids_sexclf.disk import write_json
from bids_sexclf.execute import FAILED, processors, run_jobs
from bids_sexclf.group._faults import check_results, gather_faults, name_jobs
from bids_sexclf.group._inputs import inputs, part_rows
from bids_sexclf.group._jobs import (
    check_fitted,
    choose_folds,
    identify_fit,
    list_jobs,
    working_on,
)
from bids_sexclf.group._notes import list_changed, read_note, take
from bids_sexclf.group._tables import list_alike, view_table
from bids_sexclf.group._units import UNITS
from bids_sexclf.group.questions import list_questions
from bids_sexclf.group.splits import check_splits
from bids_sexclf.tables import read_table, read_tsv, write_table
from bids_sexclf.volumes import load, new_cohort

READS = ("cohort", "splits", "predictions", "resemblance")
WRITES = ("attributions.tsv",)
OF_RUN = ("omp_nthreads",)
"""Sums of floats depend on how many threads share them."""
CHOICES = ("fills", "attribution_options", "atlas", "atlas_labels", "random_seed")
SETTINGS = ("target", "models", "maps", "attributions", *CHOICES)
GRID = ("atlas", "white", "mask")
NOTHING = "the fill has nothing to put in"


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
    """List what is asked: every fitted model, by every method and fill that suits it."""
    pairs = []
    for job in list_jobs(desk, splits, desk.study.models):
        reads = catalogue.entry_of(desk.study, job.model).READS
        pairs += [(job, question) for question in list_questions(desk.study, reads)]
    return pairs


def _table(job, question):
    return job.folder / f"attributions_{question.label}.tsv"


def _mark(job, question):
    """Digest what an attribution depends on: the fitted model, the atlas, the choices."""
    from bids_sexclf.settings import fingerprint

    grid = take({name: job.study_folder / "grid" / f"{name}.nii.gz" for name in GRID})
    content = {name: about and about["sha256"] for name, about in grid.items()}
    options = [_options(job.study, name) for name in (question.method, question.fill)]
    choices = job.study.provenance(("atlas", "atlas_labels", "random_seed"))
    fitted = identify_fit(job)
    asked = {"question": question.label, "options": options}
    return fingerprint({"fit": fitted, "grid": content, "choices": choices} | asked)


def _options(study, name):
    """Return the options that a study sets for a method or a fill."""
    return study.attribution_options.get(name, {})


def is_attributed(job, question):
    """Say whether a job's attribution is finished for this model, atlas and fill."""
    note = read_note(_table(job, question).with_suffix(".mark")) or {}
    files = _files(question, _table(job, question))
    changed = list_changed(files, {name: note.get(name) for name in files})
    there = all(path.exists() for path in files.values())
    return not changed and there and note.get("mark") == _mark(job, question)


def attribute_job(pair, tell):
    """Attribute one model in one fold and save its rows; the mark comes last.

    Where confounds are taken out of volumes, regions are hidden after that: the model is asked
    about what it was trained on.

    Parameters
    ----------
    pair : tuple
        A `_jobs.Job` and a `questions.Question`.
    tell : callable
        Called with (done, total) participants.
    """
    with working_on(pair[0]):
        _attribute(*pair, tell)


def _attribute(job, question, tell):
    """Attribute one model in one fold; its model stays the same meanwhile."""
    import pandas as pd

    made_from = _mark(job, question)
    cohort = read_table(job.study_folder / "cohort.tsv", "cohort")
    splits = check_splits(read_table(job.study_folder / "splits.tsv", "splits"), cohort)
    resemblance = read_table(job.study_folder / "resemblance.tsv", "resemblance")
    rows = part_rows(job, cohort, splits, "test")
    entry, bundle = catalogue.entry_of(job.study, job.model), Bundle.read(job.folder / FOLDER)
    model = bundle.classifier
    volumes = bundle.adjust(inputs(job, entry, cohort, rows), cohort.loc[rows])
    people = describe_people(cohort.loc[rows], resemblance, targets.find(job.study.target))
    if entry.READS == "features":
        taught = part_rows(job, cohort, splits, "train")
        known = bundle.adjust(inputs(job, entry, cohort, taught), cohort.loc[taught])
        donors = _options(job.study, question.fill)
        view = view_table(job, model, volumes, people, known, donors)
    else:
        view = make_view(job, question, volumes, people, model)
    options = _options(job.study, question.method)
    answers = attribution.attribute(question.method, volumes, view, **options)
    tables, path = [], _table(job, question)
    with _open_maps(question, path, (len(rows), *np.shape(view.mask))) as maps:
        for row, answer in enumerate(answers):
            values = tabulate(answer, question, view.parcellation)
            whose = people.iloc[row][["participant_id", "session_id", "target"]]
            tables.append(values.assign(**whose))
            if maps is not None:
                maps[row] = average_draws(answer, view.mask.shape)
            tell((row + 1, len(rows)))
    table = pd.concat(tables, ignore_index=True).assign(
        **job.keys, method=question.method, fill=question.fill, atlas=question.atlas
    )
    write_table(table[_order()], path, "attributions")
    write_json({"mark": made_from} | take(_files(question, path)), path.with_suffix(".mark"))


def _files(question, path):
    """Name the files of an attribution: its table, and the maps of voxels where there are any."""
    files = {"table": path}
    if attribution.find(question.method).YIELDS == "voxels":
        files["maps"] = path.with_suffix(".npy")
    return files


def _open_maps(question, path, shape):
    """Open the array of participants × voxels that a method of voxels writes; None for others."""
    maps = _files(question, path).get("maps")
    return new_cohort(maps, shape) if maps else nullcontext()


def average_draws(answer, grid):
    """Average the maps of all draws by weight, and sum over channels.

    Parameters
    ----------
    answer : attribution.Answer
    grid : tuple of int, length 3

    Returns
    -------
    ndarray, shape `grid`
        NaN where nothing could be put in.
    """
    if not len(answer.values):
        return np.full(grid, np.nan)
    return np.tensordot(answer.weights, answer.values, 1).reshape(-1, *grid).sum(axis=0)


def _order():
    from bids_sexclf.tables import schema

    return list(schema("attributions"))


def describe_people(cohort, resemblance, target):
    """Describe the tested people for fills.

    Parameters
    ----------
    cohort : pandas.DataFrame
        Their rows of the cohort.
    resemblance : pandas.DataFrame
        Pairs of participants who are as similar as relatives.
    target : targets.Target

    Returns
    -------
    pandas.DataFrame
        The same rows with ``family``, in which unrelated people differ, and ``target``.
    """
    family = find_families(cohort, resemblance).astype(str)
    return cohort.assign(family=family, target=target.code(cohort)).reset_index(drop=True)


def make_view(job, question, volumes, people, model, redraw=None):
    """Show a fitted model as a function, beside what regions are replaced by.

    Parameters
    ----------
    job : _jobs.Job
    model : Classifier
        Fitted.
    question : questions.Question
    volumes : volumes.Rows or volumes.Channels
        Of the tested people.
    people : pandas.DataFrame
        As from `describe_people`.
    model : Classifier
        Fitted.
    redraw : callable, optional
        Makes other regions of those of the atlas.

    Returns
    -------
    attribution.View
    """
    grid = {name: load(job.study_folder / "grid" / f"{name}.nii.gz", ndim=3)[0] for name in GRID}
    parcellation, mask = np.rint(grid["atlas"]).astype(int), grid["mask"] > 0
    parcellation = redraw(parcellation) if redraw else parcellation
    seed, target = job.study.random_seed, targets.find(job.study.target)
    fill = None
    if question.fill is not None:
        alike = list_alike(target)
        tested = fills.Tested(volumes, people, mask, parcellation, grid["white"] > 0, alike, seed)
        fill = fills.prepare(question.fill, tested, **_options(job.study, question.fill))
    module = getattr(model, "module", None)
    near = getattr(model, "near", None)
    return attribution.View(
        model.evidence, mask, parcellation, fill, module, seed, near, target.is_classes
    )


def tabulate(answer, question, parcellation):
    """Write one answer as rows: one for each draw and region, or other unit.

    Parameters
    ----------
    answer : attribution.Answer
    question : questions.Question
    parcellation : ndarray of int, shape (X, Y, Z)
        Values of voxels are summed over its regions.

    Returns
    -------
    pandas.DataFrame
        ``unit``, ``index``, ``name``, ``source``, ``weight``, ``evidence``, ``value`` and
        ``reason``. Where nothing
        could be put in, one row per region without a value.
    """
    import pandas as pd

    index, values = answer.index, answer.values
    yields = attribution.find(question.method).YIELDS
    if yields == "voxels":
        index, values = attribution.sum_regions(values, parcellation)
    sources, weights, reason = answer.sources, answer.weights, None
    if not len(values):
        values, sources, weights = np.full((1, len(index)), np.nan), (None,), (np.nan,)
        reason = getattr(fills.find(question.fill), "LACKING", NOTHING)
    draws = len(values)
    return pd.DataFrame(
        {
            "unit": UNITS.get(yields, "region"),
            "index": np.tile(index, draws),
            "name": np.tile(np.array(answer.names or [None] * len(index), dtype=object), draws),
            "source": np.repeat(np.array(sources, dtype=object), len(index)),
            "weight": np.repeat(weights, len(index)),
            "evidence": answer.evidence,
            "value": values.ravel(),
            "reason": reason,
        }
    )
