"""Stage ``evaluate``: reads cohort, splits, predictions; writes scores.tsv and four other tables.

These are comparisons.tsv (model against baseline), added.tsv (what evidence adds to confounds),
matching.tsv (AUC among pairs by brain size) and confounds.tsv (association within each sex).
"""

from bids_sexclf import targets
from bids_sexclf.cohort.blocks import find_families, gather_people
from bids_sexclf.cohort.dependence import variance_factor
from bids_sexclf.execute import processors, run_jobs
from bids_sexclf.group._added import add_rows
from bids_sexclf.group._matching import match_rows
from bids_sexclf.tables import schema, write_table

READS = ("cohort", "splits", "predictions", "resemblance")
WRITES = ("scores.tsv", "comparisons.tsv", "added.tsv", "matching.tsv", "confounds.tsv")
SETTINGS = (
    "target",
    "bootstraps",
    "permutations",
    "interval_level",
    "random_seed",
    "models",
    "baselines",
)
TABLES = {
    "score_table": "scores",
    "compare": "comparisons",
    "add_rows": "added",
    "match_rows": "matching",
    "associate": "confounds",
}
"""What is asked of each model, to the table that the answers fill."""
OF_CLASSES = {"add_rows": add_rows, "match_rows": match_rows}
"""What is asked where the target is one of two classes."""

COVARIATES = ("brain_volume_ml", "age_years", "motion_mm", "registration_agreement")


def run(desk, advance):
    """Compute scores, comparisons with baselines, and associations with confounds.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    import pandas as pd

    tested = desk.read("predictions").query("part == 'test'")
    tested = tested.merge(
        _about(desk.read("cohort"), desk.read("resemblance")), on=["participant_id", "session_id"]
    )
    groups = {key: rows for key, rows in tested.groupby(["model", "map"], sort=False)}
    splits = desk.read("splits")
    factors = {key: variance_factor(splits, rows) for key, rows in groups.items()}
    jobs = [("score_table", key, rows, factors[key]) for key, rows in groups.items()]
    judged = [key for key in groups if key[0] in desk.study.models]
    if targets.find(desk.study.target).is_classes:
        people = gather_people(desk.read("cohort"), desk.read("resemblance"))
        jobs += [("add_rows", key, groups[key], people, factors[key]) for key in judged]
        jobs += [("match_rows", key, groups[key], desk.study, factors[key]) for key in judged]
    baselines = set(desk.study.baselines) - set(desk.study.models)
    for key in judged:
        jobs += [
            ("compare", key, groups[key], groups[baseline], baseline[0], factors[key])
            for baseline in groups
            if baseline[0] in baselines and baseline[1] in ("table", key[1])
        ]
        jobs.append(("associate", key, groups[key]))  # a covariate has no training part
    done = set()

    def tell(index, message):
        done.add(index)
        advance(len(done), len(jobs))

    with_study = [(desk.study, *job) for job in jobs]
    results = run_jobs(_work, with_study, desk.run.nprocs or processors(), 1, tell)
    for fault in results:
        if isinstance(fault, Exception):
            raise fault
    for method, name in TABLES.items():
        rows = [
            row
            for job, job_rows in zip(jobs, results, strict=True)
            if job[0] == method
            for row in job_rows
        ]
        columns = list(schema(name))
        write_table(pd.DataFrame(rows, columns=columns), desk.folder / f"{name}.tsv", name)


def _work(job, tell):
    """Compute scores, a comparison or associations with the method of the target."""
    study, method, key, *arguments = job
    goal = targets.find(study.target)
    if method in OF_CLASSES:
        return OF_CLASSES[method](key, *arguments)
    if method == "associate":
        return goal.associate(key, *arguments, study, COVARIATES)
    return getattr(goal, method)(key, *arguments[:-1], study, arguments[-1])


def _about(cohort, resemblance):
    """Return family and covariates of each participant."""
    family = find_families(cohort, resemblance).astype(str)
    columns = ["participant_id", "session_id", "sex", *COVARIATES]
    return cohort[columns].assign(family=family)
