"""Audit methods with sources that are known: audit.tsv from cohort, splits and the maps.

The same design is trained again, on the same people of the first fold, to tell whether the mean of
one region of the atlas is high or low, less what brain size and the rest of the brain tell of it.
Every method is then asked where that model looks. The answer is known: a method that does not find
it on these scans gets a warning where its maps are shown.

References
----------
Siegel NT, et al. Explainable AI methods for neuroimaging: systematic failures of common tools, the
need for domain-specific validation, and a proposal for safe application. 2025. arXiv:2508.02560
"""

import numpy as np

from bids_sexclf import attribution, targets
from bids_sexclf import models as catalogue
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.group import attribute
from bids_sexclf.group._asking import Tested, list_asked, list_first_fold, write_answers
from bids_sexclf.group._sources import choose_regions, make_source
from bids_sexclf.group.splits import check_splits
from bids_sexclf.settings import RECIPE
from bids_sexclf.stats.localisation import average_magnitude, locate_source
from bids_sexclf.tables import read_table
from bids_sexclf.volumes import load
from bids_sexclf.words import CHANCE_P

READS = ("cohort", "splits", "resemblance")
WRITES = ("audit.tsv",)
OF_RUN = attribute.OF_RUN
SETTINGS = (
    *attribute.SETTINGS,
    "variants",
    "residualize",
    "harmonize",
    *(name for name in RECIPE if name != "random_seed"),
    "audit_regions",
)
ASKED = 12
"""Tested participants that every method is asked about."""
NOT_LEARNT = "the model did not learn to tell this region's mean"
SILENT = "the method gave no weight to any unit"


def files(desk):
    """Name the cohort arrays and what lies on the study grid."""
    arrays = {
        f"arrays/{name}.npy": array_path(desk.folder, name) for name in desk.study.single_maps
    }
    return arrays | attribute.files(desk)


def run(desk, advance):
    """Train the same design on known sources, and ask every method where they are.

    Parameters
    ----------
    desk : base.Desk
    advance : callable

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        If jobs failed, of the kind of their faults where they share one.
    """
    write_answers(desk, "audit", audit_job, _list_audits(desk), "audits", advance)


def _list_audits(desk):
    """List each model of volumes in the first fold with each region that is to be a source."""
    study = desk.study
    if not study.audit_regions or not study.attributions:
        return []
    jobs = list_first_fold(desk)
    grid = _read_grid(desk.folder) if jobs else (None, None)
    regions = choose_regions(*grid, study.audit_regions, study.random_seed) if jobs else []
    return [(job, region) for job in jobs for region in regions]


def _read_grid(folder):
    """Read atlas and brain on the grid of the study."""
    atlas = load(folder / "grid" / "atlas.nii.gz", ndim=3)[0]
    return np.rint(atlas).astype(int), load(folder / "grid" / "mask.nii.gz", ndim=3)[0] > 0


def audit_job(asked, tell):
    """Train one design on one source, and ask every method.

    Parameters
    ----------
    asked : tuple
        A `_jobs.Job` and the index of a region.
    tell : callable
        Told what the training tells.

    Returns
    -------
    list of dict
        Rows of the table ``audit``.
    """
    job, region = asked
    cohort = read_table(job.study_folder / "cohort.tsv", "cohort")
    splits = check_splits(read_table(job.study_folder / "splits.tsv", "splits"), cohort)
    labels = read_table(job.study_folder / "grid" / "atlas.tsv", "atlas").set_index("index")
    parcellation, mask = _read_grid(job.study_folder)
    source = make_source(job, region, parcellation, mask, cohort, splits)
    about = {"model": job.model, "map": job.map, "region": region}
    about |= {name: labels.loc[region, name] for name in ("name", "hemisphere")}
    about["n_voxels"] = int(np.sum(mask & (parcellation == region)))
    model = None
    if source.fault is None:
        model = _train(job, source, cohort, tell)
        about |= _judge_model(model, source)
    return [_ask(job, question, model, source, cohort, about) for question in list_asked(job.study)]


def _train(job, source, cohort, tell):
    """Train the design of a job on a source, as two classes, whatever the study's target is."""
    choices = {"target": "sex"}
    if not targets.find(job.study.target).is_classes:
        choices |= {"loss": "auto", "choose_by": "loss"}
    model = catalogue.make(job.study.model_copy(update=choices), job.model)
    rows, target = source.parts, source.target
    families = {}
    if getattr(catalogue.entry_of(job.study, job.model), "NESTED", False):
        people = cohort.loc[rows["train"]]
        families["groups"] = people["family_id"].fillna(people["participant_id"]).to_numpy(str)
    return model.fit(
        source.volumes["train"],
        target[rows["train"]],
        validation=(source.volumes["validation"], target[rows["validation"]]),
        seed=job.seed,
        progress=lambda **message: tell(message),
        **families,
    )


def _judge_model(model, source):
    """Judge on tested participants how well a model tells the source."""
    from scipy.stats import mannwhitneyu

    evidence, target = model.evidence(source.volumes["test"]), source.target[source.parts["test"]]
    high, low = evidence[target == 1], evidence[target == 0]
    test = mannwhitneyu(high, low, alternative="greater")
    return {"auc": float(test.statistic / (len(high) * len(low))), "p_auc": float(test.pvalue)}


def _ask(job, question, model, source, cohort, about):
    """Ask one method where the model looks, and measure whether that is the source."""
    row = about | {"method": question.method, "fill": question.fill, "atlas": question.atlas}
    if model is None:
        return row | {"n_participants": 0, "reason": source.fault}
    rows = source.parts["test"]
    resemblance = read_table(job.study_folder / "resemblance.tsv", "resemblance")
    target = targets.find(job.study.target)
    people = attribute.describe_people(cohort.loc[rows], resemblance, target)
    tested = Tested(job, source.volumes["test"], people, source.target[rows])
    chosen = tested.choose(ASKED)
    values, view = tested.ask(question, model, chosen)
    region = view.parcellation[view.mask]
    if attribution.find(question.method).YIELDS == "regions":
        region = attribution.find_regions(view.parcellation)
    measured = locate_source(average_magnitude(values, tested.kind[chosen]), region, source.region)
    row |= measured | {"n_participants": int(np.isfinite(values).all(axis=1).sum())}
    if not row["p_auc"] <= CHANCE_P:
        return row | {"reason": NOT_LEARNT}
    if row["rank"] is None:
        return row | {"reason": SILENT}
    return row | {"verdict": "found" if row["rank"] == 1 else "missed"}
