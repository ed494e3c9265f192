"""The same seed gives the same files, with any number of processes and threads, every time."""

import itertools
import shutil
from pathlib import Path

from attacks import Outcome, people
from attacks.contents import contents, differences

NETWORK = {
    "voxel_size": people.FINE,
    "models": ["cnn3", "logistic"],
    "epochs": 2,
    "attributions": ["region_occlusion"],
    "baselines": ["brain_size", "shuffled"],
}


def run(folder, count=8, seed=0, levels=("group", "participant")):
    """Run both levels with 1 and 2 processes, 1 and 2 threads, twice each.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
        At most so many runs of each level beside the first one.
    seed : int
    levels : tuple of str

    Returns
    -------
    Outcome
    """
    outcome = Outcome("repeats")
    ways = [(*way, turn) for turn in (1, 2) for way in itertools.product((1, 2), (1, 2))]
    ways = [*ways[3:], *ways[1:3]] if count < 7 else ways[1:]  # the farthest first
    for level in levels:
        networks = count > 2 and level == "group"
        command = _prepare(folder / level, level, networks)
        expected = {1: _execute(outcome, command, level, 1, 1, 0)}
        for nprocs, threads, turn in ways[:count]:
            outcome.tried += 1
            written = _execute(outcome, command, level, nprocs, threads, turn)
            # The threads of a network are a choice that is noted and not mixed: like with like.
            alike = threads if networks else 1
            first = expected.setdefault(alike, written)
            what = f"{level}, --nprocs {nprocs} --omp-nthreads {threads}, time {turn}"
            lines = differences(first, written)
            outcome.count("files compared", len(first))
            if lines:
                outcome.faults.append(f"{what}: {len(lines)} files: {'; '.join(lines[:3])}")
    return outcome.end()


def _prepare(folder, level, networks):
    """Give a function that gives the command of a run; networks take minutes."""
    if level == "participant":
        people.write_raw(folder / "bids", n=2)
        return lambda out, *more, nprocs: people.participant_command(
            folder / "bids", folder / out, *more, nprocs=nprocs
        )
    size, choices = (people.FINE, NETWORK) if networks else (people.SIZE, {})
    prepared = people.write_study(folder / "bids", n=12, size=size)

    def command(out, *more, nprocs):
        shutil.copytree(prepared, folder / out / "out")
        return people.group_command(
            folder / "bids", folder / out / "out", *more, nprocs=nprocs, **choices
        )

    return command


def _execute(outcome, command, level, nprocs, threads, turn):
    name = f"run-{nprocs}-{threads}-{turn}"
    words = command(name, "--omp-nthreads", threads, nprocs=nprocs)
    ended = people.execute(words, timeout=3600)
    if ended.returncode != 0:
        outcome.faults.append(f"{level}, {name}: {ended.stderr[-300:]}")
    return contents(Path(words[4]))
