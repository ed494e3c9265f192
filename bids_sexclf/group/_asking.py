"""Ask a method about a few tested participants of one fold, through any model."""

from dataclasses import dataclass, replace

import numpy as np

from bids_sexclf import attribution, targets
from bids_sexclf.bundle import FOLDER, Bundle
from bids_sexclf.execute import processors, run_jobs
from bids_sexclf.group._faults import check_results
from bids_sexclf.group._inputs import map_rows, part_rows
from bids_sexclf.group._jobs import list_jobs
from bids_sexclf.group.attribute import _options, average_draws, describe_people, make_view
from bids_sexclf.group.questions import list_questions
from bids_sexclf.group.splits import check_splits
from bids_sexclf.tables import read_table, schema, write_table

PLACES = ("regions", "voxels")
"""What methods yield whose maps can be compared."""


def list_asked(study):
    """List what a study asks about places in the brain.

    Parameters
    ----------
    study : settings.Study

    Returns
    -------
    list of questions.Question
    """
    entries = [(question, attribution.find(question.method)) for question in list_questions(study)]
    return [question for question, entry in entries if entry.YIELDS in PLACES]


def list_first_fold(desk):
    """List the jobs of models of volumes in the first fold of a study.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    list of _jobs.Job
    """
    jobs = list_jobs(desk, desk.read("splits"), desk.study.models)
    jobs = [job for job in jobs if job.map != "table"]
    first = min((job.repeat, job.fold) for job in jobs) if jobs else None
    return [job for job in jobs if (job.repeat, job.fold) == first]


def write_answers(desk, name, ask, questions, noun, advance):
    """Ask all questions in parallel, and write the rows of the answers as a table.

    Parameters
    ----------
    desk : base.Desk
    name : str
        Of the table.
    ask : callable
        Takes a question and a function for messages; returns a list of rows.
    questions : list of tuple
        Each begins with its `_jobs.Job`.
    noun : str
        What messages about failed jobs call them, in the plural.
    advance : callable

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        If jobs failed, of the kind of their faults where they share one.
    """
    import pandas as pd

    done = set()

    def tell(index, message):
        if not isinstance(message, dict):  # epochs of a network are not counted
            done.add(index)
        advance(len(done), len(questions))

    run = desk.run
    processes = run.nprocs or processors()
    results = run_jobs(ask, questions, processes, run.omp_nthreads, tell, run.dask_scheduler)
    check_results([job for job, *_ in questions], results, noun)
    rows = [row for result in results for row in result]
    columns = schema(name)
    integers = {key: "Int64" for key, entry in columns.items() if entry["Format"] == "integer"}
    table = pd.DataFrame(rows, columns=list(columns)).astype(integers)
    write_table(table, desk.folder / f"{name}.tsv", name)


def load_model(job):
    """Load the fitted model of a job.

    Parameters
    ----------
    job : _jobs.Job

    Returns
    -------
    Classifier
    """
    return Bundle.read(job.folder / FOLDER).classifier


@dataclass(frozen=True)
class Tested:
    """The people tested in one fold.

    Attributes
    ----------
    job : _jobs.Job
    volumes : volumes.Rows or volumes.Channels
        Without confounds, where the study takes them out.
    people : pandas.DataFrame
        As ``attribute.describe_people`` makes it; one row per volume.
    kind : ndarray of int, shape (n,)
        0 or 1: the two kinds of people who weigh alike.
    """

    job: object
    volumes: object
    people: object
    kind: np.ndarray

    @classmethod
    def read(cls, job):
        """Read the people tested in the fold of a fitted job."""
        cohort = read_table(job.study_folder / "cohort.tsv", "cohort")
        splits = check_splits(read_table(job.study_folder / "splits.tsv", "splits"), cohort)
        rows = part_rows(job, cohort, splits, "test")
        target = targets.find(job.study.target)
        bundle = Bundle.read(job.folder / FOLDER)
        volumes = bundle.adjust(map_rows(job, cohort, rows), cohort.loc[rows])
        resemblance = read_table(job.study_folder / "resemblance.tsv", "resemblance")
        people = describe_people(cohort.loc[rows], resemblance, target)
        return cls(job, volumes, people, np.asarray(target.weighed(cohort.loc[rows])))

    def choose(self, count):
        """Choose participants, as many of both kinds as there are, the same ones every time.

        Parameters
        ----------
        count : int

        Returns
        -------
        list of int
            Rows of `people`, ascending; the first scan of each participant.
        """
        first = np.flatnonzero(~self.people["participant_id"].duplicated())
        rng = np.random.default_rng(self.job.study.random_seed)
        order = rng.permutation(first)
        kinds = [[row for row in order if self.kind[row] == kind] for kind in (0, 1)]
        turns = [row for pair in zip(*kinds, strict=False) for row in pair]
        rest = [row for row in order if row not in turns]
        return sorted((turns + rest)[:count])

    def ask(self, question, model, rows, redraw=None):
        """Ask a method about some participants.

        Parameters
        ----------
        question : questions.Question
        model : Classifier
            Fitted, on volumes of this grid.
        rows : list of int
            Of `people`.
        redraw : callable, optional
            As for ``attribute.make_view``.

        Returns
        -------
        values : ndarray of float64, shape (participants, units)
            Averaged over what is put in: of the regions of the atlas, or of the voxels of the
            brain, channels summed. NaN where nothing could be put in.
        view : attribution.View
        """
        view = make_view(self.job, question, self.volumes, self.people, model, redraw)
        whole, fill = view, view.fill
        if fill is not None:
            view = replace(view, fill=lambda volume, row: fill(volume, rows[row]))
        options = _options(self.job.study, question.method)
        volumes = np.stack([np.asarray(self.volumes[row]) for row in rows])
        answers = attribution.attribute(question.method, volumes, view, **options)
        return np.stack([_summarise(question, answer, view) for answer in answers]), whole


def _summarise(question, answer, view):
    """Average an answer over what was put in; voxels outside the brain are left out."""
    if attribution.find(question.method).YIELDS == "voxels":
        return average_draws(answer, view.mask.shape)[view.mask]
    if not len(answer.values):
        return np.full(len(answer.index), np.nan)
    return np.asarray(answer.weights) @ answer.values
