"""Count how often what a study says of cohorts without an effect, or with a known one, is wrong.

    python benchmarks/coverage.py [--cohorts 200] [--processes 2]

Cohorts are drawn by the hundred: numbers of participants in 24 regions, each of 30 features, of
which one region may differ between the sexes. A model is fitted in k folds, scored and attributed
(a region's features taken away) as studies are, by this package's own statistics, once with models
taken as they are (factor 1) and once with the factor of the variance that cross-validation has
(2). The tables give how often

* an interval of 95 % misses the AUC that such studies have on average (promised: 5 %);
* a score is better than chance with p <= 0.05 where there is no effect (promised: 5 %);
* any of the regions without an effect survives Holm or the maximum statistic (promised: 5 %).
"""

import argparse
from concurrent.futures import as_completed

import numpy as np
from scipy.special import expit

from bids_sexclf import execute
from bids_sexclf.stats import multiplicity, regional, resampling, scores

REGIONS, FEATURES, DRAWS = 24, 30, 1000
MODELS = ("difference of means", "logistic", "svm", "knn")
# model, participants, folds, effect on the informative region
CASES = [
    *((model, 96, 3, 0.0) for model in MODELS),
    *((model, 145, 5, 0.0) for model in MODELS),
    ("logistic", 145, 10, 0.0),
    ("logistic", 400, 5, 0.0),
    *((model, 145, 5, 3.0) for model in MODELS),
    ("logistic", 145, 5, 6.0),
    ("logistic", 400, 5, 3.0),
]


def fit(model, data, target):
    """Fit a model, and give the function that tells logits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    if model == "difference of means":
        means = [data[target == k].mean(axis=0) for k in (0, 1)]
        centre, weight = np.mean(means, axis=0), (means[1] - means[0]) / data.shape[1]
        return lambda rows: (rows - centre) @ weight
    if model == "logistic":
        return LogisticRegression(C=0.01, max_iter=1000).fit(data, target).decision_function
    if model == "svm":
        return SVC(C=10).fit(data, target).decision_function
    voters = KNeighborsClassifier(9).fit(data, target)
    return lambda rows: voters.predict_proba(rows)[:, 1] - 0.5


def run_study(case, seed):
    """Draw a cohort, cross-validate, and hide each region of the tested.

    Returns
    -------
    target, logit, fold : ndarray, shape (participants,)
    drop : ndarray, shape (participants, regions)
        Of the probability of the correct class.
    """
    from sklearn.model_selection import StratifiedKFold

    model, n, folds, effect = case
    rng = np.random.default_rng([seed, n, folds, int(effect * 10), MODELS.index(model)])
    target = rng.permutation(np.arange(n) % 2)
    data = rng.standard_normal((n, REGIONS, FEATURES))
    data[:, 0] += effect / np.sqrt(FEATURES) * (target[:, None] - 0.5)
    logit, fold, drop = np.empty(n), np.empty(n, int), np.empty((n, REGIONS))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (learn, test) in enumerate(splitter.split(target, target)):
        tell = fit(model, data[learn].reshape(len(learn), -1), target[learn])
        logit[test], fold[test] = tell(data[test].reshape(len(test), -1)), number
        sign = 2 * target[test] - 1
        for region in range(REGIONS):
            hidden = data[test].copy()
            hidden[:, region] = 0
            left = tell(hidden.reshape(len(test), -1))
            drop[test, region] = expit(sign * logit[test]) - expit(sign * left)
    return target, logit, fold, drop


def judge(case, seed):
    """Say what a study would, with either factor.

    Returns
    -------
    list of dict
        ``auc``, ``low``, ``high``, ``p``, ``holm`` and ``maximum`` (smallest corrected p of the
        regions without an effect) for the factors 1 and 2.
    """
    target, logit, fold, drop = run_study(case, seed)
    null = drop[:, 1:] if case[-1] else drop
    said = []
    for factor in (1, 2):
        options = {"n": DRAWS, "seed": seed, "factor": factor}
        low, high = resampling.bootstrap(scores.auc, target, logit, fold, **options)
        p = resampling.permutation(scores.auc, target, logit, fold, **options)[1]
        holm = multiplicity.holm(regional.wilcoxon_drop(null, factor)["p"]).min()
        maximum = regional.signflip_max(null, **options).min()
        auc = scores.auc(target, logit, fold)
        said.append(dict(auc=auc, low=low, high=high, p=p, holm=holm, maximum=maximum))
    return said


def judge_many(case, seeds):
    """Judge cohorts one after the other, in a process of its own."""
    return [judge(case, seed) for seed in seeds]


def say(case, said):
    """Say one row of the table."""
    model, n, folds, effect = case
    auc = np.array([one[0]["auc"] for one in said])
    truth = auc.mean() if effect else 0.5
    cells = [model, n, folds, f"{effect:g}", f"{auc.mean():.3f}", f"{auc.std(ddof=1):.3f}"]
    wrong = {
        "interval": lambda one: not one["low"] <= truth <= one["high"],
        "p": lambda one: one["p"] <= 0.05,
        "holm": lambda one: one["holm"] <= 0.05,
        "maximum": lambda one: one["maximum"] <= 0.05,
    }
    for name, is_wrong in wrong.items():
        rates = [np.mean([is_wrong(one[factor]) for one in said]) for factor in (0, 1)]
        known = name == "interval" or not effect or name in ("holm", "maximum")
        cells.append("{:.1%} / {:.1%}".format(*rates) if known else "")
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    told = {case: [] for case in CASES}
    with execute.pool(given.processes) as pool:
        jobs = {
            pool.submit(judge_many, case, range(first, given.cohorts, given.processes)): case
            for case in CASES
            for first in range(given.processes)
        }
        for job in as_completed(jobs):
            told[jobs[job]] += job.result()
    print(
        "| model | n | folds | effect | mean AUC | its SD | interval misses | p <= 0.05 | any "
        "region, Holm | any region, maximum |\n" + "|---" * 10 + "|"
    )
    for case in CASES:
        print(say(case, told[case]))


if __name__ == "__main__":
    main()
