"""Run every network on synthetic heads with a known truth: AUC where one region differs, and none.

    python benchmarks/networks.py OUT [--only cnn3 vit_probe ...] [--truths planted none]
        [--people 96] [--effect 4] [--seed 0] [--processes 2]

The heads are those of heads.py. Planted: one region of white matter is brighter in men by EFFECT of
its standard deviations; none: nothing depends on sex. Every network is a study of its own on them:
cohort, splits (3 folds), fit, evaluate. The table gives the AUC of the tested participants with its
95 % interval for both truths, processor seconds to fit the three folds of the planted truth, and
the parameters. Sizes and training choices that differ from the defaults are the variants below;
each network is the catalogue's own.

What lies in OUT is not made again: a long run can be stopped and taken up. Seconds of a fit that
was cut short are then lost.
"""

import argparse
from pathlib import Path

from heads import differ_by_sex, draw_heads, judge_all, run_study, say, write_dataset

TRUTHS = ("planted", "none")
VIT = {"design": "vit", "patch": [8, 9, 8], "width": 96, "depth": 3, "heads": 4}
MAE = {"decoder_width": 48, "decoder_depth": 1, "decoder_heads": 3, "mae_learning_rate": 1e-3}
MAE |= {"mae2d_epochs": 30, "mae3d_epochs": 200, "normalize_patches": False}
VARIANTS = {
    "cnn3": {"design": "cnn3"},
    "slice_resnet18": {"design": "slice_resnet18", "width": 16},
    "resnet10": {"design": "resnet10", "width": 16, "groups": 8},
    "bagnet": {"design": "bagnet", "width": 16},
    "sfcn": {"design": "sfcn", "widths": [16, 32, 32, 32, 32]},
    "imagenet2d": {
        "design": "imagenet2d",
        "backbone": "resnet10t",
        "weights": "none",
        "slices": 4,
        "size": 64,
    },
    "vit_scratch": VIT | {"arm": "scratch"},
    "vit_probe": VIT | MAE | {"arm": "probe", "learning_rate": 1e-2},
    "vit_probe_mean": VIT | MAE | {"arm": "probe", "learning_rate": 1e-2, "pool": "mean"},
    "vit_finetune": VIT | MAE | {"arm": "finetune"},
    "svm_rbf": {"design": "svm_rbf"},
    "logistic": {"design": "logistic"},
    "knn": {"design": "knn"},
    "xgboost": {"design": "xgboost"},
}


def measure(root, name):
    """Run the study of one network; what is finished stays.

    Parameters
    ----------
    root : pathlib.Path
        What ``write_dataset`` wrote.
    name : str
        Of ``VARIANTS``.

    Returns
    -------
    dict
        ``score`` (AUC, a row of the scores table), ``seconds`` of the processor, and ``parameters``
        or None.
    """
    desk, about = run_study(
        root, name.replace("_", ""), models=[name], variants={name: VARIANTS[name]}
    )
    return about | {"score": desk.read("scores").query("score == 'auc'").iloc[0]}


def compare_networks(given):
    """Print the table of all networks."""
    ending = f"{given.people}-{given.effect:g}" + (f"-{given.seed}" if given.seed else "")
    roots = {truth: given.out / f"{truth}-{ending}" for truth in given.truths}
    for truth, root in roots.items():
        seed = given.seed + TRUTHS.index(truth)
        planted = differ_by_sex(given.people, given.effect if truth == "planted" else 0.0)
        sexes = ["FM"[index % 2] for index in range(given.people)]
        write_dataset(root, {"sex": sexes}, draw_heads(planted, seed), seed)
    told = judge_all(measure, given.only, roots, given.processes)
    print("| model | AUC, planted | AUC, none | parameters | processor s |\n|---|---|---|---|---|")
    for name in given.only:
        rows = {truth: told[name, truth] for truth in given.truths}
        known = next(iter(rows.values()))
        size = f"{known['parameters']:,}" if known["parameters"] else ""
        cells = " | ".join(say(rows[truth]["score"] if truth in rows else None) for truth in TRUTHS)
        print(f"| `{name}` | {cells} | {size} | {known['seconds']:.0f} |")


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--truths", nargs="+", default=list(TRUTHS), choices=TRUTHS)
    parser.add_argument("--people", type=int, default=96)
    parser.add_argument("--effect", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0, help="of the heads; an even number")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    compare_networks(given)


if __name__ == "__main__":
    main()
