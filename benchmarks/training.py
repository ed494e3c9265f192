"""Compare training and prediction with what the network alone needs; measure their memory.

    python benchmarks/training.py [--rounds 3] [--steps 6] [--only steps prediction memory]

All in one run, on synthetic volumes (smooth noise in an ellipsoid, zero around it, float32), with
as many threads as --threads says (2), on a graphics card where there is one. Per network:

ours         what `fit` of a network runs: a memory-mapped cohort array, training/batches.py and
             Lightning's loop with this project's hooks. From the first moment of an epoch to the
             last of its training batches; the epoch before it warms up.
bare loop    the same network, optimiser and numbers, in a plain loop over random tensors that lie
             on the device already. It reads and standardises nothing: the limit.
NIfTI, 0     a plain loop that reads the same volumes from .nii.gz files through a Dataset and
NIfTI, 2     a DataLoader with no or two workers, and standardises each by itself. Workers start
             with the epoch, as they do by default.
maps, 0      the same from what lies on disk before a study: maps of half the voxel size (2 mm for
maps, 2      a network that sees 4 mm), which the Dataset brings to the network's grid each time
             (MONAI's Resize, trilinear), as most published code does.

Those that train run in a process of their own each time, as a user's would: memory that another
one has left behind makes a plain loop faster. Contestants take turns, round after round, and the
least of the rounds counts, since other work on the machine only adds; the ratio of each other one
to ours says how much faster ours is. With one thread, processor time says most on a busy machine:
two that wait for each other burn it. Processor time covers the workers. Prediction is `evidence`
over all volumes against the same module over a tensor in memory, in batches of the same size.

For memory a process of its own fits, saves and predicts with a network that costs nothing (means of
blocks and a linear layer), once on 10 and once on 1,000 volumes of one grid, in arrays that lie
sparse on disk. Its largest resident memory, pages of the mapped file included, is VmHWM of
/proc/self/status (the ru_maxrss of a child may be its parent's).
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np

GRIDS = {"cnn3": (45, 54, 45), "slice_resnet18": (91, 109, 91)}
"""MNI space at 4 mm and at 2 mm, which two cores manage."""
FINER = 2
"""How many times finer the maps on disk are than what the network sees."""
MEMORY_GRID = (48, 56, 48)
FEW, MANY = 10, 1000


def synthesize(n, grid, seed=0):
    """Yield n smooth volumes within an ellipsoid, float32, zero around it."""
    from scipy.ndimage import gaussian_filter

    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in grid), indexing="ij"))
    inside = (places**2).sum(0) < 0.8
    rng = np.random.default_rng(seed)
    for _ in range(n):
        noise = gaussian_filter(rng.normal(size=grid), 1)
        yield np.where(inside, 0.5 + noise, 0).astype(np.float32)


def name_files(folder, n):
    """Name the cohort array, the .nii.gz files and the finer maps of n volumes."""
    folder = Path(folder)
    scans, maps = ([folder / f"{row}_{kind}.nii.gz" for row in range(n)] for kind in "sm")
    return folder / "cohort.npy", scans, maps


def write_cohort(folder, n, grid):
    """Write the same volumes as a cohort array, as .nii.gz files, and as finer maps; give paths."""
    import nibabel as nib
    from scipy.ndimage import zoom

    from bids_sexclf.volumes import new_cohort

    path, scans, maps = name_files(folder, n)
    rng = np.random.default_rng(1)
    with new_cohort(path, (n, *grid)) as array:
        for row, volume in enumerate(synthesize(n, grid)):
            array[row] = volume
            finer = zoom(volume, FINER, order=1)
            finer[finer != 0] += rng.normal(0, 0.05, np.count_nonzero(finer)).astype(np.float32)
            for place, content in ((scans[row], volume), (maps[row], finer)):
                nib.save(nib.Nifti1Image(content, np.eye(4)), place)
    return path, scans, maps


class Clock:
    """Take wall and processor seconds, those of children that have ended included."""

    def __init__(self):
        self.start = self._now()

    def __call__(self):
        """Give seconds since the beginning: wall, processor."""
        return tuple(now - start for now, start in zip(self._now(), self.start, strict=True))

    @staticmethod
    def _now():
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        every = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in every)


def take_turns(contestants, rounds):
    """Let contestants run in turns (A B A B); give the least wall and processor seconds of each.

    Parameters
    ----------
    contestants : dict of str to callable
        Each gives its wall and its processor seconds.
    rounds : int

    Returns
    -------
    dict of str to tuple of float
    """
    told = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            told[name].append(run())
    return {name: tuple(map(min, zip(*every, strict=True))) for name, every in told.items()}


def tabulate(rows, seconds, steps):
    """Give the lines of a table, ours first; ratios above 1 mean that ours is faster.

    Parameters
    ----------
    rows : str
        What the first column says.
    seconds : dict of str to (wall, processor)
    steps : int
        That these seconds were spent on.

    Returns
    -------
    list of str
    """
    own = next(iter(seconds.values()))
    return [
        f"| {rows} | {name} | {steps / wall:.3g} | {wall / own[0]:.3f} | {used / steps:.4g} | "
        f"{used / own[1]:.3f} |"
        for name, (wall, used) in seconds.items()
    ]


def make_timed():
    """Give this project's training, with a clock that notes how long each epoch trains."""
    from bids_sexclf.training import supervised

    class Timed(supervised.Training):
        spans = None

        def on_train_epoch_start(self):
            super().on_train_epoch_start()
            self.clock = Clock()

        def on_validation_start(self):
            type(self).spans.append(self.clock())

    Timed.spans = []
    return Timed


def time_ours(classifier, rows, target):
    """Fit for two epochs; give wall and processor seconds of the second one's training."""
    from bids_sexclf.training import supervised

    timed = make_timed()
    with mock.patch.object(supervised, "Training", timed):
        classifier.fit(rows, target, (rows[:2], target[:2]), seed=0)
    return timed.spans[-1]


def make_step(name, grid, study):
    """Give a function that trains a fresh network on one batch, as a plain loop does."""
    import torch

    from bids_sexclf import catalogue, models
    from bids_sexclf.training import devices, schedule

    place = devices.device()
    network = catalogue.find(models.__name__, name).build(grid=grid).to(place).train()
    optimizer = schedule.make_optimizer(network, study)
    mixed = devices.precision_of(study) != "32"

    def step(volumes, target):
        with torch.autocast(place.type, torch.bfloat16, enabled=mixed):
            outputs = network(volumes.to(place))
        outputs = outputs.float()
        logit = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, target.to(place))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def time_bare(step, grid, size, steps):
    """Train on random tensors that lie on the device; give wall and processor seconds."""
    import torch

    from bids_sexclf.training import devices

    place = devices.device()
    pool = [torch.randn(size, 1, *grid, device=place) for _ in range(min(steps, 4))]
    target = (torch.arange(size, device=place) % 2).float()
    with devices.reproducible():
        step(pool[0], target)  # warms up
        clock = Clock()
        for number in range(steps):
            step(pool[number % len(pool)], target)
        return clock()


def make_scans(paths, target, grid):
    """Give a Dataset that reads compressed NIfTI, as published code does, and fits it to a grid."""
    import nibabel as nib
    import torch
    from monai.transforms import Resize

    fit = Resize(grid, mode="trilinear")

    class Scans(torch.utils.data.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, row):
            volume = nib.load(paths[row]).get_fdata(dtype=np.float32)
            volume = (volume - volume.mean()) / volume.std()
            volume = torch.from_numpy(volume[None])
            if volume.shape[1:] != tuple(grid):
                volume = fit(volume).as_tensor()
            return volume, torch.tensor(float(target[row]))

    return Scans()


def time_nifti(step, scans, size, workers):
    """Train for an epoch on scans read from files; give wall and processor seconds."""
    import torch

    from bids_sexclf.training import devices

    loader = torch.utils.data.DataLoader(
        scans,
        size,
        shuffle=True,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork" if workers else None,  # the default, but not of a child
    )
    with devices.reproducible():
        step(*next(iter(torch.utils.data.DataLoader(scans, size))))  # warms up
        clock = Clock()
        for batch in loader:
            step(*batch)
        return clock()


LOADERS = {
    f"{files}, {workers} workers": (files, workers)
    for files in ("NIfTI", "maps")
    for workers in (0, 2)
}


def contest(contestant, name, grid, size, steps, folder):
    """Train one network in one way; give wall and processor seconds."""
    from bids_sexclf import catalogue, models
    from bids_sexclf.settings import Study
    from bids_sexclf.volumes import Rows, open_cohort

    n = size * steps
    target, study = np.arange(n) % 2, Study(batch_size=size, epochs=2, patience=2)
    path, scans, maps = name_files(folder, n)
    if contestant == "ours":
        classifier = catalogue.find(models.__name__, name).Classifier(study)
        return time_ours(classifier, Rows(open_cohort(path), np.arange(n)), target)
    step = make_step(name, grid, study)
    if contestant == "bare loop":
        return time_bare(step, grid, size, steps)
    files, workers = LOADERS[contestant]
    return time_nifti(
        step, make_scans(scans if files == "NIfTI" else maps, target, grid), size, workers
    )


def apart(function, *given):
    """Run a function in a process of its own, with as many threads as this one has."""
    import torch

    spawn = get_context("spawn")  # torch holds threads that do not survive a fork
    threads = torch.get_num_threads()
    with ProcessPoolExecutor(1, spawn, torch.set_num_threads, (threads,)) as pool:
        return pool.submit(function, *given).result()


def compare_steps(name, grid, size, steps, rounds):
    """Give the table's lines for training one network."""
    n = size * steps
    with tempfile.TemporaryDirectory() as folder:
        _, *kinds = write_cohort(folder, n, grid)
        contestants = {
            one: partial(apart, contest, one, name, grid, size, steps, folder)
            for one in ("ours", "bare loop", *LOADERS)
        }
        seconds = take_turns(contestants, rounds)
        scans, maps = (make_scans(paths, np.zeros(n), grid) for paths in kinds)
        told = describe_reading(scans, maps, seconds["bare loop"][1] / n)
    title = f"{name}, {' x '.join(map(str, grid))}, batches of {size}"
    return tabulate(title, seconds, steps), told


def describe_reading(scans, maps, computing):
    """Say how long a volume takes to read either way, beside the seconds it takes to learn from."""
    spent = []
    for dataset in (scans, maps):
        clock = Clock()
        for row in range(len(dataset)):
            dataset[row]
        spent.append(1e3 * clock()[1] / len(dataset))
    return (
        f"Processor time of a volume: {spent[0]:.1f} ms to read it from .nii.gz, {spent[1]:.1f} ms "
        f"from a finer map, {1e3 * computing:.1f} ms to learn from it."
    )


def compare_prediction(name, grid, n, rounds):
    """Give the table's lines for prediction with one network."""
    import torch

    from bids_sexclf import catalogue, models
    from bids_sexclf.settings import Study
    from bids_sexclf.training import batches, devices, evidence
    from bids_sexclf.volumes import Rows, open_cohort

    place = devices.device()
    with tempfile.TemporaryDirectory() as folder:
        rows = Rows(open_cohort(write_cohort(folder, n, grid)[0]), np.arange(n))
        classifier = catalogue.find(models.__name__, name).Classifier(Study())
        classifier._take_shape(rows.shape)
        classifier.module = evidence.Evidence(
            classifier._built(), np.zeros(grid, np.float32), np.ones(grid, np.float32)
        ).eval()
        size = batches.choose_size(rows.shape, place)

        def ours():
            clock = Clock()
            classifier.evidence(rows)
            return clock()

        def limit():
            module = classifier.module.to(place)
            volumes = torch.randn(size, *grid, device=place)
            with torch.inference_mode(), devices.reproducible():
                clock = Clock()
                for _ in range(-(-n // size)):
                    module(volumes)
                return clock()

        ours(), limit()  # warm up
        seconds = take_turns({"ours": ours, "forward alone": limit}, rounds)
    return tabulate(f"{name}, {' x '.join(map(str, grid))}, prediction", seconds, n)


def cheap_network(grid, channels=1, outputs=2):
    """Build a network that costs nothing: means of blocks and a linear layer."""
    from torch import nn

    blocks = [length // 8 for length in grid]
    return nn.Sequential(
        nn.AvgPool3d(8), nn.Flatten(), nn.Linear(channels * int(np.prod(blocks)), outputs)
    )


def largest_resident():
    """Give the most memory that this process ever held in MiB, pages of mapped files included."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def use_cohort(path, n, grid=MEMORY_GRID):
    """Fit, save and predict on a sparse array of n volumes; give the largest resident MiB."""
    from bids_sexclf.settings import Study
    from bids_sexclf.training import networks
    from bids_sexclf.volumes import Rows, open_cohort

    # A sparse file: no disk is to hold it. A new cohort array would reserve its whole size.
    array = np.lib.format.open_memmap(path, "w+", np.float32, (n, *grid))
    for row, volume in enumerate(synthesize(FEW, grid)):
        array[row] = volume
    array.flush()
    del array
    rows, target = Rows(open_cohort(path), np.arange(n)), np.arange(n) % 2
    classifier = networks.network(cheap_network)(Study(epochs=1, patience=1, batch_size=4))
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        classifier.fit(rows, target, (rows[:2], target[:2]), seed=0, folder=folder)
        classifier.save(folder)
        classifier.evidence(rows)
    return largest_resident()


def compare_memory():
    """Give the lines of the table of memory."""
    lines, first = [], None
    volume = 4 * np.prod(MEMORY_GRID) / 2**20
    for n in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--child", f"{folder}/cohort.npy", str(n)]
            told = subprocess.run(command, capture_output=True, text=True, check=True)
        peak = json.loads(told.stdout.splitlines()[-1])
        first = first or peak
        lines.append(f"| {n} | {n * volume:.0f} | {peak:.0f} | {peak / first:.3f} |")
    return lines


def describe():
    """Give the lines that name the machine, the load on it and the programs."""
    import torch

    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    name = models[0].split(":")[1].strip() if models else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no graphics card"
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    programs = ", ".join(f"{one} {version(one)}" for one in ("torch", "lightning", "nibabel"))
    command = " ".join(["benchmarks/training.py", *sys.argv[1:]])
    return [
        f"`python {command}`: {os.cpu_count()} x {name}, "
        f"{memory:.0f} GiB, {card}, {torch.get_num_threads()} threads; load {load}; {programs}"
    ]


def say(*lines):
    """Print lines at once."""
    print(*lines, sep="\n", flush=True)


def main():
    """Read the command line and run what it asks for."""
    parts = ("steps", "prediction", "memory")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        say(json.dumps(use_cohort(given.child[0], int(given.child[1]))))
        return
    import torch

    torch.set_num_threads(given.threads)
    say(*describe(), "")
    head = ["per s", "wall, of ours", "processor s each", "processor, of ours"]
    if {"steps", "prediction"} & set(given.only):
        say(f"| network | contestant | {' | '.join(head)} |", "|---|---|" + "---|" * len(head))
    notes = []
    for name in given.networks:
        grid = GRIDS[name]
        if "steps" in given.only:
            lines, note = compare_steps(name, grid, given.batch, given.steps, given.rounds)
            notes.append(f"{name}: {note}")
            say(*lines)
        if "prediction" in given.only:
            say(*compare_prediction(name, grid, given.batch * given.steps, given.rounds))
    if "memory" in given.only:
        say("", "| volumes | MiB of the array | largest resident MiB | of the first |")
        say("|---|---|---|---|", *compare_memory())
    say("", *notes, f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
