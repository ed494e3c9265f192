"""Count how often hiding regions names a region that holds nothing, by the claim and as published.

    python benchmarks/occlusion.py cohorts [--only NAME ...] [--cohorts 400] [--planted 100]
        [--processes 2]
    python benchmarks/occlusion.py heads OUT [--draws 20] [--model svm_rbf] [--people 145]
        [--effect 2.5]

**cohorts**: hundreds of small cohorts of 16 regions. Models are formulas whose coefficients are
learnt in training: a sum over regions (linear), a sum of products of pairs of regions (product),
the largest of all regions (max). Each is cross-validated in five folds of 100 people, regions of
the tested are hidden by the package's own occlusion, and judged at 5 %:

* *claim*: the region of donors put in, sexes weighing alike, maximum over regions of signs flipped
  by family, variance of cross-validation raised by its factor;
* *published*: a constant put in (zero), Wilcoxon test of each region, no correction.

**heads**: the synthetic heads of heads.py, one white-matter region planted, the package's own study
from cohort to regions. Counted are the draws in which any other region is named.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binom

from bids_sexclf import attribution, execute, fills
from bids_sexclf.fills.donors import assign_donors
from bids_sexclf.stats import regional
from bids_sexclf.stats.folds import variance_factor

PEOPLE, FOLDS, REGIONS, FEATURES = 100, 5, 16, 4
FLIPS, LEVEL = 999, 0.05
PLANTED_REGION = 8
"""Of heads.py."""
LABELS = np.repeat(np.arange(1, REGIONS + 1), FEATURES)[:, None, None]
MODELS = ("linear", "product", "max")
NULLS = {
    "nothing": {},
    "60 women, 40 men": {"women": 0.6},
    "60/40, fill 4 SD off": {"women": 0.6, "offset": 4.0},
    "same-sex twins, declared": {"pairs": 0.9},
    "same-sex twins, unknown": {"pairs": 0.9, "declared": False},
    "copies, declared": {"pairs": 1.0},
    "copies, unknown": {"pairs": 1.0, "declared": False},
    "three sites": {"sites": 2.0},
    "regions correlate 0.8": {"shared": 0.8},
    "one split": {"folds": 1},
}
PLANTED = {
    "one region": {"effects": {0: 2.5}},
    "one region, 60/40": {"effects": {0: 2.5}, "women": 0.6},
    "five regions, graded": {"effects": {0: 2.5, 1: 2.0, 2: 1.5, 3: 1.0, 4: 0.5}},
    "one region, regions correlate 0.8": {"effects": {0: 2.5}, "shared": 0.8},
}


def draw_cohort(rng, women=0.5, offset=0.0, pairs=0.0, declared=True, sites=0.0, shared=0.0, **_):
    """Draw people without an effect of sex.

    Parameters
    ----------
    rng : numpy.random.Generator
    women : float
        Share of women.
    offset : float
        Mean of every feature, standard deviations: how far off a fill of zero is.
    pairs : float
        Correlation between the features of every two people of one sex; 1 for copies.
    declared : bool
        Whether it is known who belongs to whom.
    sites : float
        Standard deviation of the shift of a site, per feature.
    shared : float
        Correlation between the regions of a person.

    Returns
    -------
    people : pandas.DataFrame
    volumes : ndarray of float32, shape (PEOPLE, REGIONS * FEATURES, 1, 1)
    """
    size = (PEOPLE, REGIONS * FEATURES)
    values = rng.standard_normal(size)
    male = np.arange(PEOPLE) >= round(women * PEOPLE)
    family = np.arange(PEOPLE)
    if pairs:
        second = np.sqrt(1 - pairs**2) * values[1::2] + pairs * values[::2]
        values[1::2], family = second, family // 2
    if shared:
        common = rng.standard_normal((PEOPLE, 1))
        values = np.sqrt(shared) * common + np.sqrt(1 - shared) * values
    if sites:
        values += (sites * rng.standard_normal((3, size[1])))[rng.integers(0, 3, PEOPLE)]
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{index:03d}" for index in range(PEOPLE)],
            "session_id": None,
            "family": (family if declared else np.arange(PEOPLE)).astype(str),
            "sex": np.where(male, "male", "female"),
        }
    )
    return people, (values + offset).astype(np.float32)[:, :, None, None]


def plant(volumes, male, effects, model, rng):
    """Let regions differ by sex: in their mean, or for products in the sign of a product.

    Returns
    -------
    set of int
        Regions that are used, from 0.
    """
    flat = volumes[:, :, 0, 0].reshape(len(male), REGIONS, FEATURES)
    sign = np.where(male, 0.5, -0.5)[:, None]
    used = set()
    for region, effect in effects.items():
        if model != "product":
            flat[:, region] += effect / np.sqrt(FEATURES) * sign
            used.add(region)
            continue
        pair = rng.standard_normal((len(male), 1)) * effect
        flat[:, 2 * region] += pair
        flat[:, 2 * region + 1] += 2 * sign * pair
        used |= {2 * region, 2 * region + 1}
    return used


def learn(model, volumes, male):
    """Learn the coefficients of a formula.

    Returns
    -------
    callable
        Volumes (k, REGIONS * FEATURES, 1, 1) to evidence (k,).
    """

    def shape(rows):
        return rows.reshape(len(rows), REGIONS, FEATURES).astype(float)

    def difference(values):
        return values[male].mean(axis=0) - values[~male].mean(axis=0)

    train = shape(volumes)
    centre = (train[male].mean(axis=0) + train[~male].mean(axis=0)) / 2
    if model == "product":
        slopes = np.full((REGIONS, FEATURES), FEATURES**-0.5)
    else:
        slopes = difference(train)

    def score(rows):
        regions = ((shape(rows) - centre) * slopes).sum(axis=2)
        if model == "linear":
            return regions.sum(axis=1)
        if model == "max":
            return regions.max(axis=1)
        return (regions[:, ::2] * regions[:, 1::2]) @ gains

    if model == "product":
        regions = np.einsum("nrf,rf->nr", train - centre, slopes)
        gains = difference(regions[:, ::2] * regions[:, 1::2])
    scores = score(volumes)
    middle, spread = (scores[male].mean() + scores[~male].mean()) / 2, scores.std()
    return lambda rows: 2 * (score(rows) - middle) / spread


def run_study(case, model, seed):
    """Cross-validate one formula on one cohort, and hide each region of the tested.

    Returns
    -------
    people : pandas.DataFrame
        Those who were tested.
    drops : dict of str to ndarray, shape (tested, REGIONS)
        Fill to drop of the probability of the correct sex.
    factor : float
    used : set of int
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rng = np.random.default_rng([seed, MODELS.index(model)])
    people, volumes = draw_cohort(rng, **case)
    male = (people["sex"] == "male").to_numpy()
    used = plant(volumes, male, case.get("effects", {}), model, rng)
    together = people["family"].duplicated().any()
    deal = (StratifiedGroupKFold if together else StratifiedKFold)(
        FOLDS, shuffle=True, random_state=seed
    )
    groups = people["family"] if together else None
    parts = list(deal.split(male, male, groups))[: case.get("folds", FOLDS)]
    drops = {name: np.full((PEOPLE, REGIONS), np.nan) for name in ("donors", "zero")}
    for train, test in parts:
        evidence = learn(model, volumes[train], male[train])
        for name, drop in drops.items():
            drop[test] = hide(name, evidence, people.iloc[test], volumes[test], seed)
    tested = ~np.isnan(drops["donors"][:, 0])
    factor = variance_factor(*np.array([_members(part) for part in parts]).transpose(1, 0, 2))
    return people[tested], {name: drop[tested] for name, drop in drops.items()}, factor, used


def _members(part):
    """Mark who is taught and who is tested."""
    return [np.isin(np.arange(PEOPLE), rows) for rows in part]


def hide(name, evidence, people, volumes, seed):
    """Hide each region of each person by one fill, everybody at once.

    `check_shortcut` holds it against the package's own occlusion.

    Returns
    -------
    ndarray, shape (people, REGIONS)
        Drop of the probability of the correct sex.
    """
    flat = volumes[:, :, 0, 0]
    sign = np.where(people["sex"] == "male", 1, -1)[:, None]
    put_in, weight = np.zeros_like(flat)[:, None], np.ones((len(flat), 1))
    if name == "donors":
        put_in, weight = _gather_donors(people, flat, seed)
    draws = put_in.shape[1]
    hidden = np.broadcast_to(flat[:, None, None], (len(flat), draws, REGIONS, flat.shape[1])).copy()
    for region in range(REGIONS):
        here = slice(region * FEATURES, (region + 1) * FEATURES)
        hidden[:, :, region, here] = put_in[:, :, here]
    p_whole = expit(sign[:, 0] * evidence(flat))
    hidden_evidence = evidence(hidden.reshape(-1, flat.shape[1])).reshape(hidden.shape[:3])
    return p_whole[:, None] - np.einsum(
        "pd,pdr->pr", weight, expit(sign[..., None] * hidden_evidence)
    )


def _gather_donors(people, flat, seed):
    """Return what the donors put in, (people, draws, features), and the weight of each draw."""
    put_in, weight = np.zeros((len(flat), 4, flat.shape[1])), np.zeros((len(flat), 4))
    for row, chosen in enumerate(assign_donors(people, 2, (), seed)):
        rows = [donor for sex in chosen.values() for donor in sex]
        put_in[row, : len(rows)] = flat[rows]
        weight[row, : len(rows)] = [0.5 / len(sex) for sex in chosen.values() for _ in sex]
    return put_in, weight


def check_shortcut():
    """Refuse to measure where `hide` and the package's own occlusion differ."""
    rng = np.random.default_rng(0)
    people, volumes = draw_cohort(rng, women=0.6, offset=1.0)
    people, volumes = people.iloc[30:], volumes[30:]
    male = (people["sex"] == "male").to_numpy()
    mask = np.ones(LABELS.shape, bool)
    for model in MODELS:
        evidence = learn(model, volumes, male)
        for name in ("donors", "zero"):
            tested = fills.Tested(volumes, people, mask, LABELS, mask, (), 1)
            view = attribution.View(evidence, mask, LABELS, fills.prepare(name, tested))
            answers = attribution.attribute("region_occlusion", volumes, view)
            drops = [
                np.array(one.weights)
                @ (expit(side * one.evidence) - expit(side * (one.evidence - one.values)))
                for side, one in zip(np.where(male, 1, -1), answers, strict=True)
            ]
            np.testing.assert_allclose(hide(name, evidence, people, volumes, 1), drops, atol=1e-6)


def judge(case, model, seed):
    """Say which regions are named.

    Returns
    -------
    dict
        ``claim``, ``published``: named regions, from 0; ``used``: those that are used.
    """
    people, drops, factor, used = run_study(case, model, seed)
    weight = regional.weigh_alike(people["sex"] == "male")
    claim = regional.signflip_max(
        drops["donors"], people["family"].to_numpy(str), FLIPS, seed, factor, weight
    )
    published = regional.wilcoxon_drop(drops["zero"])["p"]
    named = {"claim": claim <= LEVEL, "published": published < LEVEL}
    return {key: set(np.flatnonzero(rows)) for key, rows in named.items()} | {"used": used}


def judge_many(case, model, seeds):
    """Judge cohorts one after the other, in a process of its own."""
    return [judge(case, model, seed) for seed in seeds]


def compare_cohorts(cases, cohorts, planted, processes):
    """Print the table of some kinds of cohorts, a row as soon as it is known."""
    check_shortcut()
    print(
        f"5 % of {cohorts} cohorts are {LEVEL * cohorts:g}; luck alone gives up to "
        f"{binom.ppf(0.95, cohorts, LEVEL) / cohorts:.1%} in 19 of 20 tables of one row."
    )
    print(
        "| cohorts | model | claim: any false region | published: any false region | "
        "published: false regions | claim: recall |\n" + "|---" * 6 + "|"
    )
    with execute.pool(processes) as pool:
        for name in cases:
            case = (NULLS | PLANTED)[name]
            for model in MODELS:
                seeds = range(planted if name in PLANTED else cohorts)
                jobs = [
                    pool.submit(judge_many, case, model, seeds[part::processes])
                    for part in range(processes)
                ]
                judged = [one for job in jobs for one in job.result()]
                print(say_row(name, model, judged), flush=True)


def say_row(name, model, judged):
    """Write one row of the table."""
    false = {key: [len(one[key] - one["used"]) for one in judged] for key in ("claim", "published")}
    recall = ""
    if judged[0]["used"]:
        regions = sorted(judged[0]["used"])
        rates = [np.mean([region in one["claim"] for one in judged]) for region in regions]
        recall = " ".join(f"{rate:.2f}" for rate in rates)
    any_false = {key: np.mean(np.array(counts) > 0) for key, counts in false.items()}
    return (
        f"| {name} | {model} | {any_false['claim']:.1%} | {any_false['published']:.1%} | "
        f"{np.mean(false['published']):.1f} | {recall} |"
    )


def judge_heads(out, draw, model, people, effect):
    """Run the package's study on one draw of heads, and read its regions.

    Returns
    -------
    dict
        ``auc``; ``claim`` and ``published``: named regions; ``drop`` and ``p_fwe`` of the planted.
    """
    from heads import differ_by_sex, draw_heads, run_study, write_dataset
    from networks import VARIANTS

    from bids_sexclf.group import base

    root = out / f"heads-{people}-{effect:g}-{draw}"
    sexes = ["FM"[index % 2] for index in range(people)]
    volumes = draw_heads(differ_by_sex(people, effect), draw)
    write_dataset(root, {"sex": sexes}, volumes, draw)
    choices = {"models": [model], "variants": {model: VARIANTS[model]}, "random_seed": draw}
    choices |= {"n_folds": FOLDS, "fills": ["donors", "white_matter_mean"], "region_means": False}
    desk, _ = run_study(root, model.replace("_", ""), features="morphometry", **choices)
    for stage in ("attribute", "regions"):
        base.run_stage(desk, stage)
    table = desk.read("regions").set_index("region")
    claim, published = (table[table["fill"] == name] for name in choices["fills"])
    score = desk.read("scores").query("score == 'auc'").iloc[0]
    return {
        "auc": score["estimate"],
        "claim": set(claim.index[regional.is_named(claim)]),
        "published": set(published.index[published["p_wilcoxon"] < LEVEL]),
        "drop": claim.loc[PLANTED_REGION, "mean"],
        "p_fwe": claim.loc[PLANTED_REGION, "p_fwe"],
    }


def compare_heads(options):
    """Print the table of all draws of heads."""
    print(
        "| draw | AUC | claim: false regions | planted named | drop | published: false regions |\n"
        + "|---" * 6
        + "|"
    )
    judged = []
    for draw in range(options.draws):
        one = judge_heads(options.out, draw, options.model, options.people, options.effect)
        judged.append(one)
        cells = (
            draw,
            f"{one['auc']:.2f}",
            len(one["claim"] - {PLANTED_REGION}),
            f"{'yes' if PLANTED_REGION in one['claim'] else 'no'} (p {one['p_fwe']:.4f})",
            f"{one['drop']:.3f}",
            len(one["published"] - {PLANTED_REGION}),
        )
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    for key in ("claim", "published"):
        wrong = sum(bool(one[key] - {PLANTED_REGION}) for one in judged)
        n_planted = sum(PLANTED_REGION in one[key] for one in judged)
        print(f"{key}: any false region in {wrong} of {len(judged)} draws, planted in {n_planted}.")


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    levels = parser.add_subparsers(dest="level", required=True)
    many = levels.add_parser("cohorts")
    many.add_argument("--only", nargs="+", default=[*NULLS, *PLANTED], choices=[*NULLS, *PLANTED])
    many.add_argument("--cohorts", type=int, default=400)
    many.add_argument("--planted", type=int, default=100)
    many.add_argument("--processes", type=int, default=2)
    heads = levels.add_parser("heads")
    heads.add_argument("out", type=Path)
    heads.add_argument("--draws", type=int, default=20)
    heads.add_argument("--model", default="svm_rbf")
    heads.add_argument("--people", type=int, default=145)
    heads.add_argument("--effect", type=float, default=2.5)
    options = parser.parse_args()
    if options.level == "heads":
        compare_heads(options)
        return
    compare_cohorts(options.only, options.cohorts, options.planted, options.processes)


if __name__ == "__main__":
    main()
