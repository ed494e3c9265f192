"""Several runs into one output folder at the same time: the files of one run after the other."""

import shutil
import time

from attacks import Outcome, people
from attacks.contents import contents, differences, leftovers
from attacks.processes import start, survivors

PATIENCE = 900
BUSY = "is being"
"""How a run is told that another holds what it needs."""


def run(folder, count=10, seed=0, parts=("groups", "growing", "participants")):
    """Run several commands together.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
        Participants that are prepared together; half as many pairs of group runs.
    seed : int
    parts : tuple of str

    Returns
    -------
    Outcome
    """
    outcome = Outcome("together")
    for part in parts:
        PARTS[part](outcome, folder / part, count, seed)
    return outcome.end()


def _groups(outcome, folder, count, seed):
    """Two group runs in one study, started together or one after the other."""
    people.write_study(folder / "alone" / "bids", n=8)
    bids, reference = folder / "alone" / "bids", folder / "alone" / "out"
    alone = people.execute(people.group_command(bids, reference))
    if alone.returncode != 0:
        outcome.faults.append(f"two group runs: one alone: {alone.stderr[-300:]}")
        return
    expected = contents(reference)
    for index in range(max(count // 2, 1)):
        delay = 0.0 if index == 0 else 3.0 * index / count
        out = people.write_study(folder / f"pair-{index}" / "bids", n=8)
        command = people.group_command(bids, out, nprocs=2)
        what = f"two group runs, {delay:.1f} s apart"
        _end(outcome, what, _start([command, command], folder, delay))
        after = people.execute(command)
        if after.returncode != 0:
            outcome.faults.append(f"{what}: the next run: {after.stderr[-300:]}")
        _compare(outcome, what, expected, out)


def _growing(outcome, folder, count, seed):
    """A group run while participants are added."""
    from bids_sexclf.disk import whole

    people.write_study(folder / "all" / "bids", n=12)
    final = folder / "all" / "out"
    out = folder / "growing" / "out"
    for path in sorted(final.rglob("*")):
        if path.is_file() and path.relative_to(final).parts[0] < "sub-008":
            (out / path.relative_to(final)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, out / path.relative_to(final))
    shutil.copytree(final / "tpl-Phantom", out / "tpl-Phantom")
    what = "a group run while participants are added"
    running = _start([people.group_command(folder / "all" / "bids", out)], folder, 0)
    while running[0][0].poll() is None:
        for path in sorted(final.rglob("sub-*")):
            target = out / path.relative_to(final)
            if path.is_file() and not target.exists():
                with whole(target) as part:
                    part.write_bytes(path.read_bytes())
                time.sleep(0.2)
        time.sleep(0.1)
    _end(outcome, what, running, fine=(0, 3))  # who is half there when it begins is left out
    both = [people.execute(people.group_command(folder / "all" / "bids", each))
            for each in (final, out)]  # fmt: skip
    for ended in both:
        if ended.returncode != 0:
            outcome.faults.append(f"{what}: the next run: {ended.stderr[-300:]}")
    _compare(outcome, what, contents(final), out)


def _participants(outcome, folder, count, seed):
    """Prepare participants through three processes at once, apart and overlapping."""
    bids = people.write_raw(folder / "bids", n=count)
    labels = [f"{number:03d}" for number in range(1, count + 1)]
    alone = people.execute(people.participant_command(bids, folder / "alone"), timeout=3600)
    if alone.returncode != 0:
        outcome.faults.append(f"participants together: one run: {alone.stderr[-300:]}")
        return
    expected = contents(folder / "alone")
    shares = [labels[index::3] for index in range(3) if labels[index::3]]
    for what, asked in {
        "three runs, each with its own participants": shares,
        "three runs of the same participants": [labels] * 3,
    }.items():
        out = folder / what.replace(" ", "-").replace(",", "")
        commands = [
            people.participant_command(bids, out, "--participant-label", *each, nprocs=1)
            for each in asked
        ]
        _end(outcome, what, _start(commands, folder, 0))
        _compare(outcome, what, expected, out)


PARTS = {"groups": _groups, "growing": _growing, "participants": _participants}


def _start(commands, folder, delay):
    """Start commands one after the other: pairs of process and file of what it says."""
    running = []
    for index, command in enumerate(commands):
        told = folder / f"told-{index}.txt"
        running.append((start(command, told), told))
        time.sleep(delay)
    return running


def _end(outcome, what, running, fine=(0,)):
    """Wait for all, and note how each ended."""
    outcome.tried += 1
    for child, told in running:
        try:
            code = child.wait(PATIENCE)
        except Exception:
            code = None
            outcome.faults.append(f"{what}: still runs after {PATIENCE} s")
            survivors(child.pid, 0)
            child.wait()
        words = told.read_text(errors="replace")
        refused = code is not None and 64 <= code < 80 and BUSY in words
        outcome.count("refused because another run works there" if refused else f"exit {code}")
        if code not in (*fine, None) and not refused:
            outcome.faults.append(f"{what}: exit code {code}: {words.strip()[-300:]}")
        if "Traceback" in words:
            where = words.index("Traceback")
            outcome.faults.append(f"{what}: a traceback: {words[where : where + 600]}")


def _compare(outcome, what, expected, out):
    for line in differences(expected, contents(out))[:5]:
        outcome.faults.append(f"{what}: {line}")
    for path in leftovers(out)[:3]:
        outcome.faults.append(f"{what}: left half-written: {path}")
