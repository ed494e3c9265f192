"""Kill runs of both levels at random moments: no child is left, and in the end nothing is lost.

Only SIGKILL counts, which no program can answer. SIGTERM and SIGINT come in addition.
"""

import random
import shutil
import signal
import time

from attacks import Outcome, people
from attacks.contents import content, contents, differences, is_part, leftovers
from attacks.processes import start, survivors, wait_for_worker

LEVELS = ("group", "participant")
KINDS = (signal.SIGKILL,) * 5 + (signal.SIGTERM, signal.SIGINT)
PATIENCE = 60
"""Seconds that a run may take to end after a signal that it can answer."""


def run(folder, count=100, seed=0, levels=LEVELS):
    """Kill `count` runs, as many of each level; half of the kills aim at the start of a worker.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
        Kills by SIGKILL over all levels.
    seed : int
    levels : tuple of str

    Returns
    -------
    Outcome
    """
    outcome = Outcome("kills")
    for level in levels:
        share = max(count // len(levels), 1)
        _attack_level(outcome, folder / level, level, share, random.Random(f"{level} {seed}"))
    return outcome.end()


def _attack_level(outcome, folder, level, count, draw):
    commands = _prepare(folder, level, n=1 if count < 10 else 2)
    undisturbed = commands("undisturbed")
    begin = time.monotonic()
    ended = people.execute(undisturbed)
    takes = time.monotonic() - begin
    if ended.returncode != 0:
        outcome.faults.append(f"{level}: the undisturbed run: {ended.stderr[-300:]}")
        return
    killed = tries = 0
    while killed < count and tries < 3 * count:
        tries += 1
        kind = _kill(outcome, folder, commands("killed"), takes, level, killed, draw)
        killed += kind == signal.SIGKILL
        if (folder / "killed" / "finished").exists():
            _compare(outcome, folder, level, killed)
            shutil.rmtree(folder / "killed")
    if killed < count:
        outcome.faults.append(f"{level}: {killed} kills in {tries} runs, {count} needed")
    if (folder / "killed").exists():
        ended = people.execute(commands("killed"))
        if ended.returncode != 0:
            words = f"{level}: after {killed} kills the next run ended with {ended.returncode}"
            outcome.faults.append(f"{words}: {ended.stderr[-300:]}")
        _compare(outcome, folder, level, killed)


def _prepare(folder, level, n):
    """Write a dataset of n scans; give a function that gives the command of a run by its name."""
    if level == "group":
        prepared = people.write_study(folder / "bids", n=8)

        def command(name):
            place = folder / name / "out"
            if not place.exists():
                shutil.copytree(prepared, place)
            return people.group_command(folder / "bids", place, nprocs=2)

        return command
    people.write_raw(folder / "bids", n=n)
    return lambda name: people.participant_command(folder / "bids", folder / name / "out")


def _kill(outcome, folder, command, takes, level, number, draw):
    """Start a run and stop it; return the signal, None where the run had ended before."""
    told = folder / "told.txt"
    child = start(command, told)
    early = draw.random() < 0.5 and wait_for_worker(child)
    if early:
        moment = f"{(wait := draw.uniform(0, 2)):.2f} s after its first worker"
    else:
        moment = f"after {(wait := draw.uniform(0, takes)):.2f} s"
    time.sleep(wait)
    kind = draw.choice(KINDS)
    if child.poll() is not None:
        _finish(outcome, folder, child, told, level)
        return None
    child.send_signal(kind)
    what = f"{level}, kill {number}, {kind.name} {moment}"
    try:
        code = child.wait(PATIENCE)
    except Exception:
        outcome.faults.append(f"{what}: still runs {PATIENCE} s later")
        code = None
    left = survivors(child.pid)
    child.wait()
    outcome.tried += 1
    outcome.count(f"{kind.name} of the {level} level")
    if early:
        outcome.count(f"{kind.name} within 2 s of a worker's start")
    if left:
        outcome.faults.append(f"{what}: {len(left)} processes live on: {list(left.values())[0]}")
    words = told.read_text(errors="replace")
    # A signal that comes when all is said ends an interpreter that is already leaving.
    over = code == -kind and words.rpartition("\n")[0].rpartition("\n")[2].startswith("report: ")
    if kind != signal.SIGKILL and not over and code not in (128 + kind, 0, None):
        outcome.faults.append(f"{what}: exit code {code}, needed {128 + kind}: {words[-200:]}")
    if "Traceback" in words:
        outcome.faults.append(f"{what}: a traceback: {words[words.index('Traceback') :][:600]}")
    _check_whole(outcome, folder / "killed" / "out", what)
    return kind


def _check_whole(outcome, out, what):
    """Note results that cannot be read: what exists must be whole, also right after a kill."""
    for path in out.rglob("*.nii.gz"):
        if "work" in path.parts or is_part(path):
            continue
        try:
            content(path)
        except Exception as fault:
            outcome.faults.append(f"{what}: {path.name} is not whole: {fault}")


def _finish(outcome, folder, child, told, level):
    """Note how a run ended that was quicker than its kill."""
    if child.returncode != 0:
        words = told.read_text(errors="replace")[-300:]
        outcome.faults.append(f"{level}: a resumed run ended with {child.returncode}: {words}")
    (folder / "killed" / "finished").touch()


def _compare(outcome, folder, level, killed):
    first, second = (contents(folder / name / "out") for name in ("undisturbed", "killed"))
    outcome.count("comparisons")
    for line in differences(first, second)[:5]:
        outcome.faults.append(f"{level}, after {killed} kills: {line}")
    for path in leftovers(folder / "killed" / "out")[:3]:
        outcome.faults.append(f"{level}, after {killed} kills: left half-written: {path}")
