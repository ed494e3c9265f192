"""Count how often claims are made where there is nothing to claim, and where there is something.

    python benchmarks/validity.py [--cohorts 300] [--people 100] [--processes 2] [--only regions]

Cohorts are drawn by the hundred: 24 regions of 30 voxels, which share parts of what varies between
people, within a region more than between regions. Three procedures are judged.

`regions`: which regions differ between the sexes (`stats.differences`), with 499 deals. The table
gives the share of cohorts in which any region without a difference has p_fwe <= 0.05 (promised: at
most 5 %), the share of planted regions found, and how often the interval of Cohen's d misses the
truth (promised: 5 %); beside them the share of cohorts in which the region of a plain t-test with
p <= 0.05, uncorrected, is a false one.

`adds`: whether evidence adds to what confounds tell (`stats.added`), beside the comparison of two
AUCs.

`shuffled`: whether a model of dealt sexes is told from chance, where people who are tested have
copies among those who teach, and where they have none.
"""

import argparse
from concurrent.futures import as_completed

import numpy as np

from bids_sexclf import execute

REGIONS, VOXELS, DEALS = 24, 30, 499
NULLS = (
    "nothing differs",
    "brain size only",
    "brain size only, bent",
    "age only",
    "site only",
    "60 women, 40 men of 100",
    "twins of one sex",
    "twins of all kinds",
    "copies, undeclared",
)
PLANTED = tuple((planted, effect) for planted in (1, 2, 5) for effect in (0.2, 0.35, 0.5))
ADDS = (
    "nothing differs",
    "brain size only",
    "brain size only, bent",
    "age only",
    "site only",
    "twins of one sex",
    "60 women, 40 men of 100",
    *(("brain size only", effect) for effect in (0.2, 0.35, 0.5)),
)

SHUFFLED = (
    "nothing differs",
    "the sexes differ strongly",
    "everybody has a copy, undeclared",
)


def draw_people(case, n, rng):
    """Draw people: sex, family, site, age, brain size.

    Returns
    -------
    dict of str to ndarray, each of shape (n,)
    """
    sex = rng.permutation(np.arange(n) % 2)
    if case == "60 women, 40 men of 100":
        sex = rng.permutation((np.arange(n) < round(0.4 * n)).astype(int))
    family, site = np.arange(n), np.zeros(n, dtype=int)
    if case == "twins of one sex":
        family, sex = np.arange(n) // 2, np.repeat(rng.permutation(np.arange(n // 2) % 2), 2)
    if case == "twins of all kinds":  # a third alone, a third twins of one sex, a third of two
        third = n // 6 * 2
        family = np.r_[np.arange(n - 2 * third), n + np.arange(2 * third) // 2]
        alike = np.repeat(rng.permutation(np.arange(third // 2) % 2), 2)
        sex = np.r_[rng.permutation(np.arange(n - 2 * third) % 2), alike, np.arange(third) % 2]
    if case == "copies, undeclared":
        tenth = n // 10
        sex[:tenth] = sex[tenth : 2 * tenth]
    if case == "site only":
        site = rng.integers(3, size=n)
        sex = (rng.random(n) < np.array([0.25, 0.5, 0.75])[site]).astype(int)
    size, age = rng.standard_normal((2, n))
    if case.startswith("brain size"):
        size = size + 1.5 * (sex - 0.5)
    if case == "age only":
        age = age + 1.0 * (sex - 0.5)
    return {"sex": sex, "family": family, "site": site, "age": age, "size": size}


def draw_regions(case, people, rng, shift=None):
    """Draw the voxels of every region.

    Parameters
    ----------
    case : str
    people : dict
    rng : numpy.random.Generator
    shift : ndarray of float, shape (regions,), optional
        Difference between the sexes, in standard deviations of a voxel.

    Returns
    -------
    regions : list of ndarray, each of shape (people, voxels)
    spread : ndarray of float, shape (regions,)
        Standard deviation of a region's mean among people who differ in nothing but chance.
    """
    n = people["sex"].size
    _, family = np.unique(people["family"], return_inverse=True)
    kin = np.bincount(family)[family] > 1
    alike = kin & (np.bincount(family, weights=people["sex"])[family] != 1)
    # Twins of one sex share more, since some of them share their genes.
    shared = np.where(alike, 0.8, np.where(kin, 0.4, 0.0))[:, None]

    def people_vary(columns):
        individual, of_family = rng.standard_normal((2, n, columns))
        return np.sqrt(1 - shared) * individual + np.sqrt(shared) * of_family[family]

    common, regions, spread = people_vary(2), [], np.empty(REGIONS)
    course = {"brain size only": people["size"], "age only": people["age"]}.get(case)
    if case == "brain size only, bent":
        course = people["size"] + 0.7 * np.abs(people["size"])
    for region in range(REGIONS):
        loading = rng.standard_normal((6, VOXELS)) * np.array([1, 1, 2, 1.5, 1, 0.7])[:, None]
        values = np.hstack([common, people_vary(4)]) @ loading / 3.0
        values += people_vary(VOXELS) * 0.6
        spread[region] = np.sqrt(np.sum((loading.mean(axis=1) / 3.0) ** 2) + 0.36 / VOXELS)
        if case == "site only":
            values += (rng.standard_normal((3, VOXELS)) * 0.8)[people["site"]]
        if course is not None:
            values += 0.6 * course[:, None] * rng.choice([0.5, 1, 1.5], VOXELS)
        if shift is not None:
            values += shift[region] * (people["sex"][:, None] - 0.5)
        regions.append(values)
    if case == "copies, undeclared":
        tenth = n // 10
        for values in regions:
            values[:tenth] = values[tenth : 2 * tenth] + 0.05 * rng.standard_normal((tenth, VOXELS))
    return regions, spread


def judge_regions(case, n, seed):
    """Draw a cohort and test its regions.

    Returns
    -------
    dict
        ``p_fwe``, ``t`` (p of a t-test of the region's mean), ``miss`` (whether the interval of d
        misses the truth), each of shape (regions,), and ``planted``.
    """
    from scipy.stats import ttest_ind

    from bids_sexclf.stats.design import spline_columns
    from bids_sexclf.stats.differences import Regions
    from bids_sexclf.stats.effects import cohens_d
    from bids_sexclf.stats.exchangeable import deal_sexes, join_families
    from bids_sexclf.stats.resemblance import close_pairs

    name, shift = case, None
    planted = np.zeros(REGIONS, dtype=bool)
    if isinstance(case, tuple):
        planted[: case[0]] = True
        name, shift = "planted", planted * float(case[1])
    cases = [*NULLS, *PLANTED]
    rng = np.random.default_rng([seed, n, cases.index(case)])
    people = draw_people(name, n, rng)
    regions, spread = draw_regions(name, people, rng, shift)
    confounds = [people["size"]] if name.startswith("brain size") else []
    confounds += [people["age"]] if name == "age only" else []
    columns = np.column_stack([spline_columns(one) for one in confounds]) if confounds else None
    site = people["site"] if name == "site only" else None
    family = people["family"]
    if name == "copies, undeclared":
        family = join_families(family, close_pairs(np.hstack(regions))[0])
    deals = deal_sexes(people["sex"], columns, site, family, n=DEALS, seed=seed)
    tests = Regions(deals)
    for values in regions:
        tests.add(values)
    means = np.column_stack([values.mean(axis=1) for values in regions])
    d, low, high = cohens_d(means, people["sex"], columns, site, family)
    truth = np.zeros(REGIONS)
    if shift is not None:  # what a cohort without end would give
        truth = shift / spread
    plain = ttest_ind(means[people["sex"] == 1], means[people["sex"] == 0]).pvalue
    results = tests.finish()
    return {
        "p_fwe": results["p_fwe"],
        "t": plain,
        "miss": ~((low <= truth) & (truth <= high)),
        "planted": planted,
    }


def judge_adds(case, n, seed):
    """Draw a cohort, let a model learn sex in five folds, and ask what it adds to its confounds.

    Returns
    -------
    dict
        ``p`` with the factor of the variance of cross-validation, ``p_one`` without, and ``above``:
        whether the interval of the difference of AUC to the confounds alone lies above 0.
    """
    from bids_sexclf.stats.added import adds
    from bids_sexclf.stats.confounds import explained_by
    from bids_sexclf.stats.design import dummy_columns, spline_columns

    name, effect = case if isinstance(case, tuple) else (case, 0.0)
    rng = np.random.default_rng([seed, n, ADDS.index(case), 1])
    people = draw_people(name, n, rng)
    shift = effect * (np.arange(REGIONS) < 3)
    data = np.hstack(draw_regions(name, people, rng, shift)[0])
    columns = spline_columns(people["age" if name == "age only" else "size"])
    if name == "site only":
        columns = dummy_columns(people["site"])
    target, family = people["sex"], people["family"]
    evidence, fold = cross_validate(data, target, family, seed)
    simple, _ = cross_validate(columns, target, family, seed)
    p = [
        adds(target, evidence, columns, fold=fold, group=family, factor=factor)["p"]
        for factor in (2.0, 1.0)
    ]
    options = {"fold": fold, "group": family, "n": 200, "seed": seed, "factor": 2.0}
    above = not explained_by(target, evidence, simple, **options)["explained"]
    return {"p": p[0], "p_one": p[1], "above": above}


def cross_validate(data, target, family, seed, learnt=None):
    """Learn sex by ridge regression in five folds, families whole.

    Parameters
    ----------
    data : ndarray of float, shape (people, features)
    target, family : ndarray, shape (people,)
    seed : int
    learnt : callable, optional
        Takes rows of teachers and gives the labels they teach; their targets by default.

    Returns
    -------
    evidence : ndarray of float, shape (people,)
    fold : ndarray of int, shape (people,)
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    evidence, fold = np.empty(target.size), np.empty(target.size, dtype=int)
    parts = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(data, target, family)
    for number, (learn, test) in enumerate(parts):
        model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=data.shape[1]))
        taught = target[learn] if learnt is None else learnt(learn)
        evidence[test] = model.fit(data[learn], taught).decision_function(data[test])
        fold[test] = number
    return evidence, fold


def say_adds(case, judged):
    """Say one row of the table of what evidence adds."""
    name = case if isinstance(case, str) else f"{case[0]}, and {case[1]:g} SD in three regions"
    shares = [rate([one[key] <= 0.05 for one in judged]) for key in ("p", "p_one")]
    cells = [name, len(judged), *shares, rate([one["above"] for one in judged])]
    return "| " + " | ".join(map(str, cells)) + " |"


def judge_shuffled(case, n, seed):
    """Draw a cohort, deal labels as the shuffled control does, and let a model learn them.

    Returns
    -------
    dict
        ``once``: p of the labels dealt once, on which the model is tested as well; ``anew``: p of
        labels dealt anew in each training part, where the model is tested on the true ones; both
        with the factor of the variance of cross-validation.
    """
    from bids_sexclf.stats.exchangeable import join_families
    from bids_sexclf.stats.resampling import permutation
    from bids_sexclf.stats.resemblance import close_pairs
    from bids_sexclf.stats.scores import auc
    from bids_sexclf.stats.shuffling import shuffle_sexes

    rng = np.random.default_rng([seed, n, SHUFFLED.index(case), 2])
    people = draw_people("nothing differs", n, rng)
    shift = (2.0 if case == "the sexes differ strongly" else 0.0) * (np.arange(REGIONS) < 3)
    sex, family = people["sex"], people["family"].astype(str)
    data = np.hstack(draw_regions("nothing differs", people, rng, shift)[0])
    if case == "everybody has a copy, undeclared":
        data[: n // 2] = data[n // 2 :] + 0.05 * rng.standard_normal((n // 2, data.shape[1]))
        sex[: n // 2] = sex[n // 2 :]
    _, fold = cross_validate(data[:, :1], sex, family, seed)
    alike = join_families(family, close_pairs(data)[0]).astype(str)
    dealt = shuffle_sexes(sex, fold, alike, seed)
    options = {"n": 500, "seed": seed, "factor": 2.0}
    evidence, fold = cross_validate(
        data, sex, family, seed, learnt=lambda training: dealt[training]
    )
    once = permutation(auc, dealt, evidence, fold, **options)[1]
    anew, fold = cross_validate(
        data, sex, family, seed, learnt=lambda training: halves(sex[training], rng)
    )
    return {"once": once, "anew": permutation(auc, sex, anew, fold, **options)[1]}


def halves(sex, rng):
    """Exchange the label of half of each sex."""
    dealt = sex.copy()
    for one in (0, 1):
        rows = rng.permutation(np.flatnonzero(sex == one))
        dealt[rows[: len(rows) // 2]] = 1 - one
    return dealt


def say_shuffled(case, judged):
    """Say one row of the table of alarms."""
    shares = [rate([one[key] < 0.01 for one in judged]) for key in ("once", "anew")]
    return "| " + " | ".join([case, str(len(judged)), *shares]) + " |"


def say_regions(case, judged):
    """Say one row of the table of regions."""
    planted = judged[0]["planted"]
    wrong = [np.any(one["p_fwe"][~planted] <= 0.05) for one in judged]
    plain = [np.any(one["t"][~planted] <= 0.05) for one in judged]
    name = case if isinstance(case, str) else f"{case[0]} planted, effect {case[1]:g} SD"
    cells = [name, len(judged), rate(wrong), rate(plain)]
    if planted.any():
        cells.append(f"{np.mean([one['p_fwe'][planted] <= 0.05 for one in judged]):.2f}")
    else:
        cells.append("")
    cells.append(f"{np.mean([one['miss'] for one in judged]):.1%}")
    return "| " + " | ".join(map(str, cells)) + " |"


def rate(wrong):
    """Say a share with its 95 % interval (Wilson)."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(np.sum(wrong), len(wrong), method="wilson")
    return f"{np.mean(wrong):.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def judge_many(judge, case, n, seeds):
    """Judge cohorts one after the other, in a process of its own."""
    return [judge(case, n, seed) for seed in seeds]


TABLES = {
    "regions": (
        judge_regions,
        say_regions,
        (*NULLS, *PLANTED),
        "| cohort | cohorts | any false region | uncorrected t | recall | interval of d misses |",
    ),
    "adds": (
        judge_adds,
        say_adds,
        ADDS,
        "| cohort | cohorts | adds (factor 2) | adds (factor 1) | AUC above that of confounds |",
    ),
    "shuffled": (
        judge_shuffled,
        say_shuffled,
        SHUFFLED,
        "| cohort | cohorts | alarms, dealt once | alarms, dealt anew in training |",
    ),
}


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=300)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=list(TABLES), choices=TABLES)
    options = parser.parse_args()
    for table in options.only:
        judge, say, cases, head = TABLES[table]
        print(head + "\n" + "|---" * (head.count("|") - 1) + "|", flush=True)
        with execute.pool(options.processes) as pool:
            jobs = {
                pool.submit(
                    judge_many, judge, case, options.people, range(first, options.cohorts, 8)
                ): case
                for case in cases
                for first in range(8)
            }
            judged = {case: [] for case in cases}
            for job in as_completed(jobs):
                judged[jobs[job]] += job.result()
        for case in cases:
            print(say(case, judged[case]), flush=True)


if __name__ == "__main__":
    main()
