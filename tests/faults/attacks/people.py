"""Small datasets to attack, and the command lines that run on them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[3]
SIZE = 12.0
"""Voxel size of the maps, mm."""
FINE = 6.5
"""Voxel size at which networks have enough to read, mm."""
FIELD = (180.0, 218.0, 180.0)
STUDY = {
    "models": ["logistic"],
    "baselines": ["brain_size"],
    "features": "region_means",
    "n_folds": 2,
    "age_bands": 1,
    "voxel_size": SIZE,
    "bootstraps": 100,
    "permutations": 100,
}


def write_study(root, n=12, seed=0, maps=("T1w",), size=SIZE):
    """Write participants and their maps as the participant level leaves them.

    Parameters
    ----------
    root : pathlib.Path
    n : int
    seed : int
    maps : tuple of str
        T1w and FA.
    size : float
        Voxel size, mm; at 12 mm a study takes seconds.

    Returns
    -------
    pathlib.Path
        The output folder.
    """
    from bids_sexclf import layout
    from bids_sexclf.lobes import make_lobes, sample_tissues
    from bids_sexclf.volumes import save

    rng, affine = np.random.default_rng(seed), np.diag([size, size, size, 1.0])
    shape = tuple(int(length // size) for length in FIELD)
    affine[:3, 3] = (-90, -126, -72)
    labels, _ = make_lobes(shape, affine)
    grey, white = (np.asarray(each, np.float32) for each in sample_tissues(shape, affine)[:2])
    mask = (grey + white) > 0.2
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "sex": ["F", "M"] * (n // 2),
            "age": rng.uniform(20, 80, n).round(1),
        }
    )
    root.mkdir(parents=True, exist_ok=True)
    people.to_csv(root / "participants.tsv", sep="\t", index=False)
    out = root.parent / "out"
    where = {"space": "Phantom", "res": f"{size:g}".replace(".", "p")}
    brain = {"brain": grey + 1.5 * white, "mask": mask, "white": (white > 0.6) & mask}
    for kind, array in brain.items():
        save(array, affine, out / layout.reference(kind, "Phantom", where["res"]))
    for row in people.itertuples():
        value = 0.7 * grey + white + rng.normal(0, 0.08, shape)
        value[labels == 8] *= 1.3 if row.sex == "M" else 1.0
        name = layout.derivative("t1w_template", row.participant_id, **where)
        save(value * mask, affine, out / name)
        if "FA" in maps:
            name = layout.derivative("tensor_template", row.participant_id, param="fa", **where)
            save((0.3 * white + rng.normal(0.2, 0.02, shape)) * mask, affine, out / name)
        numbers = {"brain_volume_ml": 1200 + 100 * rng.normal(), "snr": 10.0, "motion_mm": 0.5}
        (out / layout.derivative("quality", row.participant_id)).write_text(json.dumps(numbers))
    return out


def write_raw(root, n=2, seed=5):
    """Write small diffusion scans with 6 mm voxels, which take seconds to prepare."""
    from bids_sexclf.phantom.dataset import write_dataset
    from bids_sexclf.phantom.options import PhantomOptions

    options = PhantomOptions(
        participants=n, seed=seed, resolution=6, dwi_resolution=6, shells=(1000,),
        directions=(6,), b0s=1,
    )  # fmt: skip
    write_dataset(root, options)
    for path in root.glob("sub-*/anat/*"):
        path.unlink()
    return root


def participant_command(root, out, *more, nprocs=2):
    """Give the command line that prepares such scans."""
    templates = root / "derivatives" / "phantom" / "templates"
    words = f"participant --template Phantom --templates-dir {templates} --resolution 6 --sloppy"
    words += f" --dwi-alignment none --nprocs {nprocs}"
    return _command(root, out, *words.split(), *more)


def group_command(root, out, *more, nprocs=1, **choices):
    """Give the command line of a small study."""
    words = ["group", "--nprocs", nprocs]
    for name, value in (STUDY | choices).items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *values]
    return _command(root, out, *words, *more)


def _command(root, out, *words):
    return [sys.executable, "-m", "bids_sexclf.cli", *map(str, (root, out, *words))]


def execute(command, timeout=3600, **options):
    """Run a command line to its end."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(), **options
    )


def environment(**more):
    """Give the environment of a command: this checkout's package, one thread."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | more
