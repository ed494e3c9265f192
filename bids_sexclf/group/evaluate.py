"""Score every model beside its baselines. Reads cohort, splits, predictions; writes scores.tsv.

Also comparisons.tsv (model against baseline), added.tsv (what evidence adds to confounds),
matching.tsv (AUC among pairs of like brain size) and confounds.tsv (association within each sex).
"""

import numpy as np

from bids_sexclf.cohort.blocks import count_people, gather_people
from bids_sexclf.cohort.dependence import variance_factor
from bids_sexclf.execute import processors, run_jobs
from bids_sexclf.group import _age
from bids_sexclf.group._added import add_rows
from bids_sexclf.group._matching import match_rows
from bids_sexclf.stats import confounds, resampling, scores
from bids_sexclf.tables import write_table

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
COVARIATES = ("brain_volume_ml", "age_years", "motion_mm", "registration_agreement")


def run(desk, advance):
    """Score, compare with the baselines, and look for confounds within each sex.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    import pandas as pd

    tested = desk.read("predictions").query("part == 'test'")
    tested = tested.merge(_about(desk.read("cohort")), on=["participant_id", "session_id"])
    groups = {key: rows for key, rows in tested.groupby(["model", "map"], sort=False)}
    splits = desk.read("splits")
    factors = {key: variance_factor(splits, rows) for key, rows in groups.items()}
    by_age = desk.study.target == "age"
    score, hold, relate = (
        (_age.score_table, _age.compare, _age.associate)
        if by_age
        else (score_table, compare, associate)
    )
    jobs = [(score, key, rows, desk.study, factors[key]) for key, rows in groups.items()]
    own = [key for key in groups if key[0] in desk.study.models]
    if not by_age:
        people = gather_people(desk.read("cohort"), desk.read("resemblance"))
        jobs += [(add_rows, key, groups[key], people, factors[key]) for key in own]
        jobs += [(match_rows, key, groups[key], desk.study, factors[key]) for key in own]
    baselines = set(desk.study.baselines) - set(desk.study.models)
    for key in own:
        jobs += [
            (hold, key, (groups[key], groups[other], other[0]), desk.study, factors[key])
            for other in groups
            if other[0] in baselines and other[1] in ("table", key[1])
        ]
        jobs.append((relate, key, groups[key], desk.study))  # nobody has taught a covariate
    done = set()

    def tell(index, message):
        done.add(index)
        advance(len(done), len(jobs))

    results = run_jobs(_work, jobs, desk.run.nprocs or processors(), 1, tell)
    for fault in results:
        if isinstance(fault, Exception):
            raise fault
    for name, function in (
        ("scores", score),
        ("comparisons", hold),
        ("added", add_rows),
        ("matching", match_rows),
        ("confounds", relate),
    ):
        rows = [
            row
            for job, made in zip(jobs, results, strict=True)
            if job[0] is function
            for row in made
        ]
        columns = list(_columns(name))
        write_table(pd.DataFrame(rows, columns=columns), desk.folder / f"{name}.tsv", name)


def _columns(name):
    from bids_sexclf.tables import schema

    return schema(name)


def _work(job, tell):
    function, *given = job
    return function(*given)


def _about(cohort):
    """Give what scores need to know of each participant: family and covariates."""
    family = cohort["family_id"].fillna(cohort["participant_id"]).astype(str)
    columns = ["participant_id", "session_id", "sex", *COVARIATES]
    return cohort[columns].assign(family=family)


def arrays_of(rows):
    """Turn rows of predictions into the arrays that ``stats`` takes.

    Parameters
    ----------
    rows : pandas.DataFrame
        Test rows of one model on one map, with ``family``.

    Returns
    -------
    dict
        target, logit, fold (one label per repeat and fold), group (families), participant.
    """
    return {
        "target": rows["target"].to_numpy(int),
        "logit": rows["logit"].to_numpy(float),
        "fold": (rows["repeat"].astype(str) + "/" + rows["fold"].astype(str)).to_numpy(),
        "group": rows["family"].to_numpy(str),
        "participant": rows["participant_id"].to_numpy(str),
    }


def score_table(key, rows, study, factor):
    """Score one model on one map: estimate, interval, permutation p.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    rows : pandas.DataFrame
        Its test predictions.
    study : settings.Study
    factor : float
        Of the variance, as ``dependence.variance_factor`` gives it.

    Returns
    -------
    list of tuple
        Rows of the ``scores`` table.
    """
    given, table = arrays_of(rows), []
    target, logit, fold = (given[name] for name in ("target", "logit", "fold"))
    options = {"seed": study.random_seed, "fold": fold, "group": given["group"]}
    for score in scores.SCORES:
        function = getattr(scores, score)
        options["factor"] = 1.0 if score in scores.OF_LEVEL else factor
        low = high = null = p = np.nan
        if score not in scores.WITHOUT_INTERVAL:
            low, high = resampling.bootstrap(
                function, target, logit, n=study.bootstraps, level=study.interval_level, **options
            )
        if score not in scores.WITHOUT_NULL:
            null, p = resampling.permutation(
                function,
                target,
                logit,
                n=study.permutations,
                participant=given["participant"],
                higher_is_better=score not in scores.LOWER_IS_BETTER,
                **options,
            )
        people = len(np.unique(given["participant"]))
        value = function(target, logit, fold)
        row = (*key, score, "test", people, value, low, high, null, p)
        table.append((*row, options["factor"]))
    return table


def compare(key, pair, study, factor):
    """Compare one model with one baseline on the same participants and folds.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    pair : tuple
        Test predictions of the model, those of the baseline, the baseline's name.
    study : settings.Study
    factor : float
        Of the variance, as ``dependence.variance_factor`` gives it.

    Returns
    -------
    list of tuple
        One row of the ``comparisons`` table.
    """
    own, other, name = pair
    keys = ["repeat", "fold", "participant_id", "session_id"]
    both = own.merge(other[[*keys, "logit"]], on=keys, suffixes=("", "_baseline"))
    given = arrays_of(both)
    options = {
        "fold": given["fold"],
        "group": given["group"],
        "n": study.bootstraps,
        "level": study.interval_level,
        "seed": study.random_seed,
        "factor": factor,
    }
    found = confounds.explained_by(
        given["target"], given["logit"], both["logit_baseline"].to_numpy(float), **options
    )
    options.pop("n")
    low, _ = resampling.bootstrap(
        scores.auc, given["target"], given["logit"], n=study.bootstraps, **options
    )
    people = both["participant_id"].nunique()
    return [
        (
            *key,
            name,
            "auc",
            people,
            found["difference"],
            found["low"],
            found["high"],
            found["p"],
            factor,
            verdict(found, low, scores.auc(given["target"], given["logit"], given["fold"])),
        )
    ]


def verdict(found, low, auc):
    """Say what a comparison's interval allows to say.

    Parameters
    ----------
    found : dict
        Of `stats.confounds.explained_by`.
    low : float
        Lower bound of the model's own AUC.
    auc : float
        The model's own AUC.

    Returns
    -------
    {"above", "not above", "below", "chance"} or None
    """
    if np.isnan(found["difference"]):
        return None
    # A score without spread has no interval: it is then judged by itself.
    if (auc if np.isnan(low) else low) <= 0.5:
        return "chance"
    lower = found["difference"] if np.isnan(found["low"]) else found["low"]
    upper = found["difference"] if np.isnan(found["high"]) else found["high"]
    return "above" if lower > 0 else "below" if upper < 0 else "not above"


def associate(key, rows, study):
    """Look for association of a model's logits with covariates, within each sex.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    rows : pandas.DataFrame
        Its test predictions with the covariates.
    study : settings.Study

    Returns
    -------
    list of tuple
        Rows of the ``confounds`` table.
    """
    table = []
    for name in COVARIATES:
        known = rows.dropna(subset=[name])
        if known.groupby("target")["participant_id"].nunique().reindex([0, 1]).fillna(0).min() < 4:
            continue
        given = arrays_of(known)
        found = confounds.partial_association(
            given["logit"],
            given["target"],
            known[name].to_numpy(float),
            group=given["group"],
            fold=given["fold"],
            n=study.permutations,
            seed=study.random_seed,
        )
        counts = count_people(known)
        for sex, part in (("female", "negative"), ("male", "positive"), ("both", "pooled")):
            own = found[part]
            table.append((*key, name, sex, counts[sex], own["rho"], own["p"]))
    return table
