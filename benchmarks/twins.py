"""Show what undeclared twins do to a score, on synthetic heads without any effect of sex.

    python benchmarks/twins.py OUT [--only svm_rbf cnn3 knn] [--people 96] [--alike 0.95]
        [--noise 0.02] [--seeds 3]

The heads are those of heads.py, with noise of 2 % of white matter in each voxel; nothing depends on
sex, and every two heads are twins of one sex, whose regions' brightness has a correlation of ALIKE.
Each model is studied twice on the same scans: without ``family_id``, when twins are dealt like
strangers, and with it. The table gives the AUC with its 95 % interval for both, how many of the
pairs were parted in some fold, and how many the cohort stage warned of.

What lies in OUT is not made again.
"""

import argparse
from pathlib import Path

import numpy as np
from heads import draw_heads, run_study, say, write_dataset
from networks import VARIANTS


def make_heads(root, given, seed, families):
    """Write the heads, with or without the column that says who is whose twin."""
    index = np.arange(given.people)
    told = {"sex": ["FM"[one % 2] for one in index]}
    if families:
        told["family_id"] = [f"f{one // 4}{'ab'[one % 2]}" for one in index]
    volumes = draw_heads(np.zeros(given.people), seed, given.noise, given.alike)
    write_dataset(root, told, volumes, seed)


def measure(root, name):
    """Run the study of one model.

    Returns
    -------
    dict
        ``auc`` (row of scores), ``parted`` (pairs with only one of them tested in some fold) and
        ``warned`` (pairs that the cohort stage found to resemble each other).
    """
    desk, _ = run_study(root, name.replace("_", ""), models=[name], variants={name: VARIANTS[name]})
    part = desk.read("splits").pivot(index="participant_id", columns="fold", values="part")
    tested = (part == "test").to_numpy()
    parted = sum(
        np.any(tested[one] != tested[one + 2]) for one in range(len(tested)) if one % 4 < 2
    )
    return {
        "auc": desk.read("scores").query("score == 'auc'").iloc[0],
        "parted": parted,
        "warned": len(desk.read("resemblance")),
    }


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=["svm_rbf", "cnn3", "knn"], choices=VARIANTS)
    parser.add_argument("--people", type=int, default=96, help="a multiple of four")
    parser.add_argument("--alike", type=float, default=0.95)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print("| model | draw | families | AUC | pairs parted | pairs warned of |\n" + "|---" * 6 + "|")
    for name in given.only:
        for seed in range(given.seeds):
            for families in (False, True):
                known = "known" if families else "unknown"
                numbers = (given.people, given.alike, given.noise, seed)
                root = given.out / "-".join([known, *(f"{one:g}" for one in numbers)])
                make_heads(root, given, seed, families)
                one = measure(root, name)
                cells = (say(one["auc"]), one["parted"], one["warned"])
                print(
                    f"| `{name}` | {seed} | {known} | {' | '.join(map(str, cells))} |", flush=True
                )


if __name__ == "__main__":
    main()
