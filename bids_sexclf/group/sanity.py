"""Check whether maps need what models have learnt: sanity.tsv from cohort, splits, predictions.

A few tested participants of the first fold are asked about again: through the same network with
fresh weights in more and more layers, through the one that was trained on shuffled labels, and by
an edge filter that needs no model at all. A method whose map is much the same then does not explain
the model. Maps follow the size of regions too; regions drawn at random say how much.

References
----------
Adebayo J, et al. Sanity checks for saliency maps. NeurIPS 2018. arXiv:1810.03292
"""

import numpy as np

from bids_sexclf import attribution
from bids_sexclf import models as catalogue
from bids_sexclf.group import attribute
from bids_sexclf.group._asking import (
    Tested,
    list_asked,
    list_first_fold,
    load_model,
    write_answers,
)
from bids_sexclf.group._faults import gather_faults, name_jobs
from bids_sexclf.group._jobs import check_fitted, make_job, working_on
from bids_sexclf.group.splits import check_splits
from bids_sexclf.stats.similarity import SURVIVES, correlate_ranks, draw_regions, find_edges

READS = ("cohort", "splits", "predictions", "resemblance")
WRITES = ("sanity.tsv",)
OF_RUN = attribute.OF_RUN
SETTINGS = (*attribute.SETTINGS, "baselines", "sanity_participants")
files = attribute.files

PORTIONS = (1 / 3, 2 / 3)
"""Shares of the layers that get fresh weights, beside the last layer and all of them."""
NO_LAYERS = "the model is no network: it has no layers to give fresh weights to"
NOT_SHUFFLED = "no model of shuffled labels follows this one"
NO_DRAW = "nothing could be put in for any of these participants"
FLAT = "a map is the same everywhere"


def check(desk):
    """Refuse fitted models that are not whole, before the table is removed.

    Parameters
    ----------
    desk : base.Desk

    Raises
    ------
    InputError or LeakageError
    """
    splits = check_splits(desk.read("splits"), desk.read("cohort"))
    fitted = [job for *pair, _ in _list_checks(desk) for job in pair if job]
    jobs = {job.folder: job for job in fitted}
    with gather_faults("fitted models that cannot be asked") as attempt:
        for job in jobs.values():
            attempt(name_jobs([job]), check_fitted, job, splits)


def _list_checks(desk):
    """List each model of volumes in the first fold, its control or None, and each question."""
    study = desk.study
    if not study.sanity_participants or not study.attributions:
        return []
    return [
        (job, _find_control(desk, job), question)
        for job in list_first_fold(desk)
        for question in list_asked(study)
    ]


def _find_control(desk, job):
    """Find the job that was trained on shuffled labels and is like this one; None without."""
    study = desk.study
    follows = job.model == study.models[0] and hasattr(
        catalogue.entry_of(study, job.model), "build"
    )
    if not follows or "shuffled" not in study.baselines:
        return None
    return make_job(desk, "shuffled", job.map, job.repeat, job.fold)


def run(desk, advance):
    """Ask every method again, and compare its maps.

    Parameters
    ----------
    desk : base.Desk
    advance : callable

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        If jobs failed, of the kind of their faults where they share one.
    """
    write_answers(desk, "sanity", check_job, _list_checks(desk), "checks of attributions", advance)


def check_job(check, tell):
    """Check one method on one model.

    Parameters
    ----------
    check : tuple
        A `_jobs.Job`, the job of its control or None, and a `questions.Question`.
    tell : callable

    Returns
    -------
    list of dict
        Rows of the table ``sanity``.
    """
    job, control, question = check
    with working_on(job):
        tested = Tested.read(job)
        rows = tested.choose(job.study.sanity_participants)
        about = {"model": job.model, "map": job.map, "method": question.method}
        about |= {"fill": question.fill, "atlas": question.atlas}
        comparisons = _Comparisons(tested, question, rows, about)
        comparisons.ask(load_model(job))
        return [
            *_randomise(job, comparisons),
            _ask_control(control, comparisons),
            comparisons.against_edges(),
            *comparisons.against_size(),
        ]


def _randomise(job, comparisons):
    """Compare with the same network that has lost more and more of what it has learnt."""
    from bids_sexclf.training.randomised import list_layers, randomise

    model = comparisons.model
    if getattr(model, "module", None) is None or not hasattr(model, "build_fresh"):
        return [comparisons.unknown("untrained", NO_LAYERS)]
    layers = list_layers(model.module.network)
    counts = sorted({1, *(int(np.ceil(share * len(layers))) for share in PORTIONS), len(layers)})
    rows = []
    for count in counts:
        check = "untrained" if count == len(layers) else "weights"
        fresh = randomise(model, count, job.seed)
        steps = {"step": count, "n_layers": len(layers)}
        rows.append(comparisons.against_model(check, fresh) | steps)
    return [row if row["check"] == "untrained" else row | {"verdict": None} for row in rows]


def _ask_control(control, comparisons):
    """Compare with the network that was trained on shuffled labels."""
    if control is None:
        return comparisons.unknown("labels", NOT_SHUFFLED)
    return comparisons.against_model("labels", load_model(control))


class _Comparisons:
    """Maps of a few participants, held against others of the same participants.

    Parameters
    ----------
    tested : _asking.Tested
    question : questions.Question
    rows : list of int
        Of the participants.
    about : dict
        Columns that all rows of the table share.
    """

    def __init__(self, tested, question, rows, about):
        self.tested, self.question, self.rows, self.about = tested, question, rows, about
        self.model = self.values = self.view = None

    def ask(self, model):
        """Ask the trained model."""
        self.model = model
        self.values, self.view = self.tested.ask(self.question, model, self.rows)

    @property
    def by_voxel(self):
        """Whether values are of voxels."""
        return attribution.find(self.question.method).YIELDS == "voxels"

    def unknown(self, check, reason):
        """Return a row without a number."""
        return self.about | {"check": check, "n_participants": 0, "n_units": 0, "reason": reason}

    def row(self, check, signed, magnitude, judged=True):
        """Return a row of mean correlations; `signed` is None where the other has no sign."""
        correlations = [rho for rho in magnitude if rho == rho]
        if not correlations:
            nothing = not np.isfinite(self.values).any()
            return self.unknown(check, NO_DRAW if nothing else FLAT)
        # A map may keep its sign or lose it: either way it shows the same places.
        means = [np.nanmean(one) for one in (signed, magnitude) if one is not None]
        return self.about | {
            "check": check,
            "n_participants": len(correlations),
            "n_units": self.values.shape[1],
            "rho": means[0] if signed is not None else None,
            "rho_magnitude": means[-1],
            "verdict": ("fails" if max(means) >= SURVIVES else "passes") if judged else None,
        }

    def against_model(self, check, model):
        """Compare with the maps of another model."""
        others, _ = self.tested.ask(self.question, model, self.rows)
        pairs = list(zip(self.values, others, strict=True))
        return self.row(
            check,
            [correlate_ranks(one, other) for one, other in pairs],
            [correlate_ranks(np.abs(one), np.abs(other)) for one, other in pairs],
        )

    def against_edges(self):
        """Compare with the edges of each volume: of voxels, or summed over regions."""
        edges = [find_edges(self.tested.volumes[row]) for row in self.rows]
        if self.by_voxel:
            others = [edge[self.view.mask] for edge in edges]
        else:
            others = attribution.sum_regions(np.stack(edges), self.view.parcellation)[1]
        pairs = zip(self.values, others, strict=True)
        return self.row("edges", None, [correlate_ranks(np.abs(one), edge) for one, edge in pairs])

    def against_size(self):
        """Compare with the size of regions, and the same of regions drawn at random."""
        drawn = draw_regions(self.view.parcellation, self.tested.job.study.random_seed)
        others = self.values
        if not self.by_voxel:
            others, _ = self.tested.ask(self.question, self.model, self.rows, lambda _: drawn)
        pairs = (("size", self.view.parcellation, self.values), ("random_regions", drawn, others))
        rows = []
        for check, regions, values in pairs:
            sizes = np.bincount(regions.ravel())[attribution.find_regions(regions)]
            if self.by_voxel:
                values = self._sum_voxels(values, regions)
            correlations = [correlate_ranks(np.abs(one), sizes) for one in values]
            row = self.row(check, None, correlations, judged=False)
            rows.append(row | {"n_units": len(sizes) if row["n_participants"] else 0})
        return rows

    def _sum_voxels(self, values, regions):
        """Sum values of voxels of the brain over regions."""
        volumes = np.zeros((len(values), *self.view.mask.shape))
        volumes[:, self.view.mask] = values
        return attribution.sum_regions(volumes, regions)[1]
