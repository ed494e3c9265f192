"""Run every network on synthetic heads with a known truth: AUC where one region differs, and none.

    python benchmarks/networks.py OUT [--only cnn3 vit_probe ...] [--truths planted none]
        [--people 96] [--effect 4] [--seed 0] [--processes 2]

Heads are the MNI152 tissue maps on a grid of 32 x 36 x 32 voxels of 6 mm. Each of 24 regions has a
brightness of its own in each head (SD 5 %), each voxel has noise (SD 8 % of white matter).
Planted: one region of white matter is brighter in men by EFFECT of its standard deviations; none:
nothing depends on sex. Maps go straight to disk as the participant level leaves them, and every
network is a study of its own on them: cohort, splits (3 folds), fit, evaluate. The table gives the
AUC of the tested participants with its 95 % interval for both truths, processor seconds to fit the
three folds of the planted truth, and the parameters. Sizes and training choices that differ from
the defaults are the variants below; each network is the catalogue's own.

What lies in OUT is not made again: a long run can be stopped and taken up. Seconds of a fit that
was cut short are then lost.
"""

import argparse
import json
import resource
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
import pandas as pd

from bids_sexclf import execute, layout
from bids_sexclf.disk import write_json
from bids_sexclf.group import base
from bids_sexclf.lobes import list_lobes, make_lobes, sample_tissues
from bids_sexclf.settings import Run, Study
from bids_sexclf.volumes import save

SHAPE, SIZE, ORIGIN = (32, 36, 32), 6.0, (-93.0, -129.0, -75.0)
PLANTED = 8
SPREAD, NOISE = 0.05, 0.08
STAGES = ("cohort", "splits", "fit", "evaluate")
TRUTHS = ("planted", "none")
COMMON = {"epochs": 20, "patience": 20, "batch_size": 8, "learning_rate": 1e-3}
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


def draw_heads(n, effect, seed, noise=NOISE):
    """Draw heads in which one region differs between the sexes.

    Parameters
    ----------
    n : int
        Even; every second one is male.
    effect : float
        Difference in standard deviations of the region's brightness.
    seed : int or list of int
    noise : float
        Standard deviation in each voxel, as a share of white matter.

    Yields
    ------
    sex : {"F", "M"}
    volume : ndarray of float32, shape SHAPE
    """
    rng, tissue = np.random.default_rng(seed), describe_brain()
    usual, labels, mask = tissue["brightness"], tissue["labels"], tissue["mask"]
    for index in range(n):
        male = index % 2
        deviation = np.append(0.0, rng.standard_normal(len(list_lobes())))
        deviation[PLANTED] += (male - 0.5) * effect
        volume = usual * (1 + SPREAD * deviation[labels]) + rng.normal(0, noise, SHAPE)
        yield "FM"[male], (volume * mask).astype(np.float32)


def describe_brain():
    """Give labels of the regions, usual brightness and brain mask on the grid."""
    labels, _ = make_lobes(SHAPE, world())
    grey, white = (np.asarray(map_, np.float32) for map_ in sample_tissues(SHAPE, world())[:2])
    mask = (grey + white) > 0.2
    return {
        "labels": labels * mask,
        "brightness": 0.7 * grey + white,
        "white": (white > 0.8) & mask,
        "mask": mask,
    }


def world():
    """Give voxel to world coordinates, mm."""
    affine = np.diag([SIZE, SIZE, SIZE, 1.0])
    affine[:3, 3] = ORIGIN
    return affine


def write_dataset(root, n, effect, seed):
    """Write participants.tsv and maps as the participant level leaves them.

    Parameters
    ----------
    root : pathlib.Path
        Gets participants.tsv last: where it is, all is.
    n, effect, seed
        As for ``draw_heads``.
    """
    if (root / "participants.tsv").exists():
        return
    out, brain, res = root / "derivatives" / "out", describe_brain(), f"{SIZE:.0f}"
    references = {
        "brain": brain["brightness"] * brain["mask"],
        "mask": brain["mask"],
        "white": brain["white"],
    }
    for kind, array in references.items():
        save(array, world(), out / layout.reference(kind, "Phantom", res))
    rows, rng = [], np.random.default_rng([seed, 1])
    for index, (sex, volume) in enumerate(draw_heads(n, effect, seed)):
        person = f"sub-{index:03d}"
        name = layout.derivative("t1w_template", person, space="Phantom", res=res)
        save(volume, world(), out / name)
        quality = {"brain_volume_ml": rng.normal(1200, 100), "snr": 10.0}
        write_json(quality, out / layout.derivative("quality", person))
        rows.append({"participant_id": person, "sex": sex, "age": round(rng.uniform(20, 80), 1)})
    pd.DataFrame(rows).to_csv(root / "participants.tsv", sep="\t", index=False)


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
        ``auc``, ``low``, ``high``, ``seconds`` of the processor, and ``parameters`` or None.
    """
    out = root / "derivatives" / "out"
    study = Study(
        name=name.replace("_", ""),
        models=[name],
        baselines=[],
        variants={name: VARIANTS[name]},
        voxel_size=SIZE,
        features="region_means",
        n_folds=3,
        **COMMON,
    )
    desk = base.Desk.at(root, out, Run(nprocs=1), study)
    for stage in STAGES:
        waiting, before = base.state(desk, stage) != "finished", processor_seconds()
        base.run_stage(desk, stage)
        if stage == "fit" and waiting:
            write_json({"seconds": processor_seconds() - before}, desk.folder / "seconds.json")
    score = desk.read("scores").query("score == 'auc'").iloc[0]
    cards = [json.loads(path.read_text()) for path in desk.folder.glob("models/*/*/model.json")]
    return {
        "auc": float(score.estimate),
        "low": float(score.ci_low),
        "high": float(score.ci_high),
        "seconds": json.loads((desk.folder / "seconds.json").read_text())["seconds"],
        "parameters": cards[0].get("parameters"),
    }


def processor_seconds():
    """Give the processor seconds of this process and of those it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def compare_networks(given):
    """Print the table of all networks."""
    ending = f"{given.people}-{given.effect:g}" + (f"-{given.seed}" if given.seed else "")
    roots = {truth: given.out / f"{truth}-{ending}" for truth in given.truths}
    for truth, root in roots.items():
        effect = given.effect if truth == "planted" else 0.0
        write_dataset(root, given.people, effect, seed=given.seed + TRUTHS.index(truth))
    told = {}
    with execute.pool(given.processes) as pool:
        jobs = {
            pool.submit(measure, root, name): (name, truth)
            for name in given.only
            for truth, root in roots.items()
        }
        for job in as_completed(jobs):
            told[jobs[job]] = job.result()
            print(jobs[job], told[jobs[job]], flush=True)
    print("| model | AUC, planted | AUC, none | parameters | processor s |\n|---|---|---|---|---|")
    for name in given.only:
        rows = {truth: told[name, truth] for truth in given.truths}
        known = next(iter(rows.values()))
        size = f"{known['parameters']:,}" if known["parameters"] else ""
        cells = " | ".join(say(rows.get(truth)) for truth in TRUTHS)
        print(f"| `{name}` | {cells} | {size} | {known['seconds']:.0f} |")


def say(row):
    """Say the AUC with its interval, or nothing where it was not asked."""
    return f"{row['auc']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if row else ""


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
