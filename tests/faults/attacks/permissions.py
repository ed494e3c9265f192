"""Take permissions of files and folders away: an error in words, and the others go on.

Root may read and write everything, so that a run of root gives that right up first.
"""

import ctypes
import os
import shutil

from attacks import Outcome, people
from attacks.contents import contents, differences
from attacks.writes import judge, spread

RIGHTS = (1, 2)
"""Linux capabilities of root to pass over permissions: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH."""

DROP = 24
"""PR_CAPBSET_DROP: the capability is gone from the next program on."""

READ_ONLY, CLOSED = 0o555, 0o000

GROUP = {
    "out": READ_ONLY,
    "out/study-default": READ_ONLY,
    "out/study-default/logs": READ_ONLY,
    "out/study-default/grid": READ_ONLY,
    "out/work": READ_ONLY,
    "out/tpl-Phantom": CLOSED,
    "bids": CLOSED,
    "bids/participants.tsv": CLOSED,
    "out/sub-003": CLOSED,
    "out/sub-003/sub-003_quality.json": CLOSED,
    "out/sub-003/anat": CLOSED,
}
PARTICIPANT = {
    "out": READ_ONLY,
    "out/logs": READ_ONLY,
    "out/work": READ_ONLY,
    "bids": CLOSED,
    "bids/participants.tsv": CLOSED,
    "bids/derivatives/phantom/templates": CLOSED,
    "out/sub-001": READ_ONLY,
    "bids/sub-001": CLOSED,
    "bids/sub-001/dwi/sub-001_dwi.nii.gz": CLOSED,
    "bids/sub-001/dwi/sub-001_dwi.bval": CLOSED,
}
"""File or folder to its permissions; folders that do not exist yet are made."""

OF_ONE = ("sub-001", "sub-003")
"""Whose files are touched costs only them."""


REMEMBERS = ("looked_at.tsv", "report.html")
"""Files of a study that tell of earlier runs."""


def drop_rights():
    """Let permissions count for the next program as they do for any user."""
    if os.geteuid() == 0:
        for right in RIGHTS:
            if ctypes.CDLL(None).prctl(DROP, right, 0, 0, 0):
                raise OSError("root could not give up its rights")


def run(folder, count=20, seed=0, levels=("group", "participant")):
    """Take permissions away, one after the other.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
        Places of each level; spread evenly over all where there are more.
    seed : int
    levels : tuple of str

    Returns
    -------
    Outcome
    """
    outcome = Outcome("permissions")
    for level in levels:
        places = GROUP if level == "group" else PARTICIPANT
        home = folder / level
        _prepare(home / "fresh", level, seed)
        expected = _run_undisturbed(outcome, home, level)
        names = list(places)
        for name in [names[index] for index in spread(len(names), count)]:
            _attack(outcome, home, level, (name, places[name]), expected)
    return outcome.end()


def _prepare(fresh, level, seed):
    if level == "group":
        people.write_study(fresh / "bids", n=10, seed=seed)  # one less can still be studied
    else:
        people.write_raw(fresh / "bids", n=2)
        (fresh / "out").mkdir()


def _command(home, level):
    if level == "group":
        return people.group_command(home / "bids", home / "out")
    return people.participant_command(home / "bids", home / "out")


def _copy(home):
    """Put a fresh copy of the inputs where the runs read them; the paths are always the same."""
    place = home / "attacked"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(home / "fresh", place)
    return place


def _run_undisturbed(outcome, home, level):
    place = _copy(home)
    ended = people.execute(_command(place, level), preexec_fn=drop_rights)
    if ended.returncode != 0:
        outcome.faults.append(f"{level}: the undisturbed run: {ended.stderr[-300:]}")
    return contents(place / "out")


def _attack(outcome, home, level, closed, expected):
    """Close one place, look at how the run ends, open it, and run again."""
    name, mode = closed
    place = _copy(home)
    path = place / name
    if not path.exists():
        path.mkdir(parents=True)
    before = path.stat().st_mode
    path.chmod(mode)
    what = f"{level}, {name} with mode {mode:03o}"
    try:
        ended = people.execute(_command(place, level), preexec_fn=drop_rights)
    finally:
        path.chmod(before)
    outcome.tried += 1
    costs_one = any(person in name for person in OF_ONE)
    words = ended.stdout + ended.stderr + (_reasons(place / "out") if costs_one else "")
    judge(outcome, what, ended.returncode, words, place / "out")
    if ended.returncode != 3 if costs_one else ended.returncode in (0, 3):
        words = ended.stderr.strip()[-300:]
        outcome.faults.append(f"{what}: exit code {ended.returncode}: {words}")
    after = people.execute(_command(place, level), preexec_fn=drop_rights)
    if after.returncode != 0:
        outcome.faults.append(f"{what}: the next run: {after.stderr.strip()[-300:]}")
        return
    lines = differences(expected, contents(place / "out"))
    if ended.returncode == 3:  # a study without somebody was looked at, and is remembered as such
        lines = [line for line in lines if not any(name in line for name in REMEMBERS)]
    for line in lines[:3]:
        outcome.faults.append(f"{what}: after the next run, {line}")


def _reasons(out):
    """Return what the tables of who is left out say."""
    return "".join(path.read_text() for path in sorted(out.rglob("excluded.tsv")))
