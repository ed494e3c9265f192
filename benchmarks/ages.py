"""Let every model learn age from synthetic heads where a region brightens with age, or none does.

    python benchmarks/ages.py OUT [--only cnn3 svm_rbf ...] [--truths planted none]
        [--people 192] [--effect 8] [--seed 0] [--processes 2]

The heads are those of heads.py; ages lie evenly between 20 and 80. Planted: one region of white
matter is brighter at 80 than at 20 by EFFECT of its standard deviations; none: nothing depends on
age. Every model is a study of its own (3 folds) beside the median age of the training part. The
table gives, for the planted truth, the mean absolute error, what it has less than the median's
(negative is better), R2 and the lean of the error with age (years per year; -1 is that of the same
answer to everyone), each with its 95 % interval, and for the other truth the difference of errors.
Above it stands the least error that anybody who knew the region's brightness could make.

What lies in OUT is not made again.
"""

import argparse
from pathlib import Path

import numpy as np
from heads import draw_heads, judge_all, run_study, say, write_dataset
from networks import VARIANTS

TRUTHS = ("planted", "none")
DESIGNS = {name: one for name, one in VARIANTS.items() if name != "logistic"}
DESIGNS["ridge"] = {"design": "ridge"}
YOUNGEST, OLDEST = 20, 80


def find_least_error(effect, n=200_000):
    """Give the mean absolute error of the median of age given the region's brightness, years."""
    rng = np.random.default_rng(0)
    ages = np.linspace(YOUNGEST, OLDEST, 601)
    true = rng.uniform(YOUNGEST, OLDEST, n)
    slope = effect / (OLDEST - YOUNGEST)
    bright = true * slope + rng.standard_normal(n)
    points = np.linspace(bright.min(), bright.max(), 2000)
    weight = np.exp(-0.5 * (points[:, None] - slope * ages) ** 2).cumsum(axis=1)
    median = ages[np.argmax(weight >= weight[:, -1:] / 2, axis=1)]
    return np.abs(np.interp(bright, points, median) - true).mean()


def make_heads(root, people, effect, seed):
    """Write the heads of one truth."""
    ages = np.random.default_rng([seed, 2]).uniform(YOUNGEST, OLDEST, people).round(1)
    planted = effect * (ages - (YOUNGEST + OLDEST) / 2) / (OLDEST - YOUNGEST)
    sexes = ["FM"[index % 2] for index in range(people)]
    write_dataset(root, {"sex": sexes, "age": ages}, draw_heads(planted, seed), seed)


def measure(root, name):
    """Run the study of one model; what is finished stays.

    Returns
    -------
    dict
        ``score`` (mean absolute error), ``r2``, ``age_bias`` and ``gain``: rows of tables.
    """
    desk, _ = run_study(
        root,
        f"age{name.replace('_', '')}",
        target="age",
        models=[name],
        baselines=["median_age"],
        variants={name: DESIGNS[name]},
        epochs=30,
        patience=30,
    )
    scores = desk.read("scores").query("model == @name").set_index("score")
    gain = desk.read("comparisons").rename(columns={"difference": "estimate"}).iloc[0]
    rows = {one: scores.loc[one] for one in ("r2", "age_bias")}
    return rows | {"gain": gain, "score": scores.loc["mae"]}


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--truths", nargs="+", default=list(TRUTHS), choices=TRUTHS)
    parser.add_argument("--people", type=int, default=192)
    parser.add_argument("--effect", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0, help="of the heads; an even number")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    roots = {}
    for truth in given.truths:
        effect, seed = given.effect * (truth == "planted"), given.seed + TRUTHS.index(truth)
        roots[truth] = given.out / f"{truth}-{given.people}-{given.effect:g}-{given.seed}"
        make_heads(roots[truth], given.people, effect, seed)
    told = judge_all(measure, given.only, roots, given.processes)
    print(f"\nLeast error that knowing the region allows: {find_least_error(given.effect):.2f}\n")
    columns = ("error, years", "minus the median's", "R2", "lean", "minus the median's, none")
    print(f"| model | {' | '.join(columns)} |\n" + "|---" * 6 + "|")
    for name in given.only:
        one, none = (told.get((name, truth), {}) for truth in TRUTHS)
        cells = [say(one.get(key)) for key in ("score", "gain", "r2", "age_bias")]
        print(f"| `{name}` | {' | '.join([*cells, say(none.get('gain'))])} |")


if __name__ == "__main__":
    main()
