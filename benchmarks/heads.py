"""Draw synthetic heads with a known truth, write them as prepared scans, and run a study on them.

Heads are the MNI152 tissue maps on a grid of 32 x 36 x 32 voxels of 6 mm. Each of 24 regions has a
brightness of its own in each head (SD 5 %), each voxel has noise (SD 8 % of white matter). One
region of white matter is brighter by what is planted, in its standard deviations.
"""

import json
import resource
from concurrent.futures import as_completed

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
COMMON = {"epochs": 20, "patience": 20, "batch_size": 8, "learning_rate": 1e-3}


def differ_by_sex(n, effect):
    """Plant a difference between the sexes; every second head is male.

    Parameters
    ----------
    n : int
    effect : float
        Between the means of the sexes.

    Returns
    -------
    ndarray of float, shape (n,)
    """
    return (np.arange(n) % 2 - 0.5) * effect


def draw_heads(planted, seed, noise=NOISE, alike=0.0):
    """Draw heads.

    Parameters
    ----------
    planted : array-like of float, shape (n,)
        What the planted region has beside its own brightness, in standard deviations of that.
    seed : int or list of int
    noise : float
        Standard deviation in each voxel, as a share of white matter.
    alike : float
        Correlation of the brightness of regions between the heads i and i + 2 of each four.

    Yields
    ------
    ndarray of float32, shape SHAPE
    """
    rng, tissue = np.random.default_rng(seed), describe_brain()
    usual, labels, mask = tissue["brightness"], tissue["labels"], tissue["mask"]
    drawn = []
    for index, extra in enumerate(planted):
        own = rng.standard_normal(len(list_lobes()))
        if alike and index % 4 >= 2:
            own = alike * drawn[index - 2] + np.sqrt(1 - alike**2) * own
        drawn.append(own)
        deviation = np.append(0.0, own)
        deviation[PLANTED] += extra
        volume = usual * (1 + SPREAD * deviation[labels]) + rng.normal(0, noise, SHAPE)
        yield (volume * mask).astype(np.float32)


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


def write_dataset(root, people, volumes, seed):
    """Write participants.tsv and maps as the participant level leaves them.

    Parameters
    ----------
    root : pathlib.Path
        Gets participants.tsv last: where it is, all is.
    people : dict of array-like
        Columns of participants.tsv: ``sex`` (F, M), perhaps ``age`` (20 to 80 at random where it is
        not given) and ``family_id``.
    volumes : iterable of ndarray
    seed : int
        Of age and brain volume.
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
    table, rng = pd.DataFrame(people), np.random.default_rng([seed, 1])
    table.insert(0, "participant_id", [f"sub-{index:03d}" for index in range(len(table))])
    ages = []
    for person, volume in zip(table["participant_id"], volumes, strict=True):
        name = layout.derivative("t1w_template", person, space="Phantom", res=res)
        save(volume, world(), out / name)
        quality = {"brain_volume_ml": rng.normal(1200, 100), "snr": 10.0}
        write_json(quality, out / layout.derivative("quality", person))
        ages.append(round(rng.uniform(20, 80), 1))
    if "age" not in table:
        table["age"] = ages
    table.to_csv(root / "participants.tsv", sep="\t", index=False)


def run_study(root, name, **choices):
    """Run cohort, splits (3 folds), fit and evaluate; what is finished stays.

    Parameters
    ----------
    root : pathlib.Path
        What ``write_dataset`` wrote.
    name : str
        Of the study.
    **choices
        Settings other than those common to all benchmarks on these heads.

    Returns
    -------
    desk : base.Desk
    about : dict
        ``seconds`` of the processor that the fit took, and ``parameters`` of the first model, or
        None.
    """
    out = root / "derivatives" / "out"
    given = {"baselines": [], "voxel_size": SIZE, "features": "region_means", "n_folds": 3}
    study = Study(name=name, **(given | COMMON | choices))
    desk = base.Desk.at(root, out, Run(nprocs=1), study)
    for stage in STAGES:
        waiting, before = base.state(desk, stage) != "finished", processor_seconds()
        base.run_stage(desk, stage)
        if stage == "fit" and waiting:
            write_json({"seconds": processor_seconds() - before}, desk.folder / "seconds.json")
    paths = desk.folder.glob("models/*/*/bundle/model.json")
    cards = [json.loads(path.read_text()) for path in paths]
    seconds = json.loads((desk.folder / "seconds.json").read_text())["seconds"]
    return desk, {"seconds": seconds, "parameters": cards[0].get("parameters")}


def judge_all(measure, names, roots, processes):
    """Measure every model on every truth; say each score as it comes.

    Parameters
    ----------
    measure : callable
        ``measure(root, name)`` gives a dict, in which ``score`` is a row of the scores table.
    names : list of str
    roots : dict of str to pathlib.Path
        Truth to what ``write_dataset`` wrote.
    processes : int

    Returns
    -------
    dict
        (name, truth) to what was measured.
    """
    told = {}
    with execute.pool(processes) as pool:
        jobs = {
            pool.submit(measure, root, name): (name, truth)
            for name in names
            for truth, root in roots.items()
        }
        for job in as_completed(jobs):
            told[jobs[job]] = job.result()
            print(*jobs[job], say(told[jobs[job]]["score"]), flush=True)
    return told


def processor_seconds():
    """Give the processor seconds of this process and of those it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def say(row):
    """Say a score with its interval, or nothing where there is none.

    Parameters
    ----------
    row : pandas.Series or None
        Of the scores table.

    Returns
    -------
    str
    """
    return "" if row is None else f"{row.estimate:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]"
