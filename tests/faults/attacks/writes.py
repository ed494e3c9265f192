"""Let every write fail in turn: an error in words, nothing half, and the same files afterwards.

Two layers work for any user: an audit hook of Python, which refuses to open, make or rename a file
from the n-th time on; and the operating system's limit of the size of a file, which breaks a write
off in the middle, in every language. Where the user may mount one, a small disk runs full for real.
"""

import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from multiprocessing import get_context

from attacks import Outcome, people, watch
from attacks.contents import contents, differences, leftovers

NAMED = (3, 65, 66, 67, 69, 71, 74, 75)
"""Exit codes of runs that have said what was wrong."""

KINDS = {"full": errno.ENOSPC, "denied": errno.EACCES, "read-only": errno.EROFS}
ROOM = "512m"
"""Of the small disk, while it is not small."""

FEW = 10
"""Writes that fail on a read-only disk, which the program takes as it takes a denied one."""

LEVELS = ("group", "participant")
PRELOAD = ("bids_sexclf.cli", "bids_sexclf.group.fit", "bids_sexclf.participant.run")


def run(folder, count=10_000, seed=0, levels=LEVELS):
    """Let the writes of a small study and of a participant fail, all from one on.

    Two writes to which other lines of the program lead are two sites; of each site the first write
    fails.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
        Sites of each kind of failure and level; spread evenly over all where there are more.
    seed : int
    levels : tuple of str

    Returns
    -------
    Outcome
    """
    outcome = Outcome("writes")
    context = get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, "attacks.writes"])
    for level in levels:
        _attack_level(outcome, _Bench(folder / level, level, seed, context), count)
    return outcome.end()


def _attack_level(outcome, bench, count):
    """Attack each site of the writes of a level."""
    code, told, writes = bench.run("reference")
    if code != 0:
        words = f"{bench.level}: the undisturbed run ended with {code}"
        outcome.faults.append(f"{words}: {told[-300:]}")
        return
    bench.reference = contents(bench.place("reference"))
    sites = watch.first_of_each_site(writes)
    outcome.numbers[f"writes of the {bench.level} level"] = len(writes)
    outcome.numbers[f"sites of the {bench.level} level"] = len(sites)
    for kind, number in KINDS.items():
        most = min(count, FEW) if kind == "read-only" else count
        for index in [sites[each] for each in spread(len(sites), most)]:
            what = f"{bench.level}, {kind} from write {index} on ({writes[index][1]})"
            _attack(outcome, bench, what, ("fail", index, number))
    sizes = sorted({len(each) for each in bench.results("reference")})
    for size in [sizes[index] for index in spread(len(sizes), min(count, FEW))]:
        what = f"{bench.level}, no file beyond {size - 1} bytes"
        _attack(outcome, bench, what, ("limit", size - 1))
    _small_disk(outcome, bench, count)


def spread(total, count):
    """Choose numbers below `total`, evenly spread, the first and the last among them.

    Examples
    --------
    >>> spread(10, 4), spread(3, 9), spread(9, 1)
    ([0, 3, 6, 9], [0, 1, 2], [4])
    """
    if count == 1:
        return [total // 2]
    if count >= total:
        return list(range(total))
    return sorted({round(index * (total - 1) / max(count - 1, 1)) for index in range(count)})


class _Bench:
    """Run one level again and again, each time from the same inputs.

    Parameters
    ----------
    folder : pathlib.Path
    level : {"group", "participant"}
    seed : int
    context : multiprocessing.context.BaseContext
        Whose processes have loaded the program already.
    """

    def __init__(self, folder, level, seed, context):
        self.folder, self.level, self.context = folder, level, context
        self.prepared, self.reference, self.runs = None, None, 0
        if level == "group":
            self.prepared = people.write_study(folder / "bids", n=8, seed=seed)
        else:
            people.write_raw(folder / "bids", n=1)

    def place(self, name):
        """Give the output folder of a run, ready for its start."""
        place = self.folder / name / "out"
        self.fill(place)
        return place

    def fill(self, place):
        """Make an output folder where it is missing."""
        if place.exists():
            return
        if self.prepared is None:
            place.mkdir(parents=True)
        else:
            shutil.copytree(self.prepared, place)

    def run(self, name, failure=None, place=None):
        """Run the level: exit code, what it said, and which files it wrote."""
        place = place or self.place(name)
        self.runs += 1
        log = self.folder / f"writes-{self.runs}.log"
        # A pipe, since what is said must not fall under the limits of files.
        listen, speak = self.context.Pipe(duplex=False)
        receive, send = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_run, args=(self._command(place), speak, str(place), failure, send, str(log))
        )
        process.start()
        send.close()
        speak.close()
        with open(os.dup(listen.fileno()), errors="replace") as stream:
            told = stream.read()
        try:
            code = receive.recv()
        except EOFError:
            code = None
        process.join()
        writes = watch.read_log(log)
        log.unlink(missing_ok=True)
        return process.exitcode if code is None else code, told, writes

    def _command(self, place):
        if self.level == "group":
            return people.group_command(self.folder / "bids", place)[3:]
        return people.participant_command(self.folder / "bids", place, nprocs=1)[3:]

    def results(self, name):
        """Give the bytes of each result of a run."""
        place = self.place(name)
        folder = place / "study-default" if self.level == "group" else place / "sub-001"
        return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def _attack(outcome, bench, what, failure):
    """Let writes fail, look at what is left, and run again without failures."""
    outcome.tried += 1
    shutil.rmtree(bench.folder / "attacked", ignore_errors=True)
    code, told, _ = bench.run("attacked", failure)
    judge(outcome, what, code, told, bench.place("attacked"))
    after, told, _ = bench.run("attacked")
    if after != 0:
        outcome.faults.append(f"{what}: the next run ended with {after}: {_last(told)}")
        return
    for line in differences(bench.reference, contents(bench.place("attacked")))[:3]:
        outcome.faults.append(f"{what}: after the next run, {line}")


def judge(outcome, what, code, told, place):
    """Note what is wrong with how a run ended whose writes failed."""
    outcome.count(f"exit code {code}")
    if code != 0 and code not in NAMED:
        outcome.faults.append(f"{what}: exit code {code}: {_last(told)}")
    if "Traceback" in told:
        outcome.faults.append(f"{what}: a traceback: {_last(told)}")
    if code in NAMED and not (("ound" in told or "cannot be" in told) and "eeded" in told):
        outcome.faults.append(f"{what}: no word of what was found and needed: {_last(told)}")
    for path in leftovers(place)[:3]:
        outcome.faults.append(f"{what}: left half-written: {path}")


def _last(told):
    lines = [line for line in told.replace("\r", "\n").splitlines() if line.strip()]
    return (lines or ["nothing was said"])[-1][:300]


def _run(command, told, place, failure, send, log):
    """Run the command line in this process, with failing writes."""
    os.dup2(told.fileno(), 1)
    os.dup2(told.fileno(), 2)
    told.close()
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    os.environ["TMPDIR"] = place
    tempfile.tempdir = None
    if failure and failure[0] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (failure[1], resource.RLIM_INFINITY))
    choices = {"place": place, "log": log}
    if failure and failure[0] == "fail":
        choices |= {"first": failure[1], "number": failure[2]}
    watch.tell_children(**choices)
    watch.begin(**choices)
    from bids_sexclf import cli

    try:
        code = cli.main(command)
    finally:
        watch.end()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    send.send(code)


def _small_disk(outcome, bench, count):
    """Run on a disk that is too small, at several sizes; then make room."""
    place = bench.folder / "disk"
    place.mkdir()
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "chaos", place],
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        outcome.skipped.append(f"a small disk: {tried.stderr.strip() or 'cannot be mounted'}")
        return
    try:
        start, whole = 0, _kilobytes(bench.place("reference"))
        if bench.prepared is not None:
            start = _kilobytes(bench.prepared)
        for part in spread(10, count):
            size = start + 200 + (whole - start) * part // 10
            what = f"{bench.level}, a disk with room for {part}/10 of all files"
            outcome.tried += 1
            _fill_disk(outcome, bench, place, size, what)
    finally:
        subprocess.run(["umount", place], check=True)


def _kilobytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024


def _fill_disk(outcome, bench, place, size, what):
    shutil.rmtree(place / "out", ignore_errors=True)
    subprocess.run(["mount", "-o", f"remount,size={ROOM}", place], check=True)
    bench.fill(place / "out")
    subprocess.run(["mount", "-o", f"remount,size={size}k", place], check=True)
    code, told, _ = bench.run("disk", place=place / "out")
    judge(outcome, what, code, told, place / "out")
    subprocess.run(["mount", "-o", f"remount,size={ROOM}", place], check=True)
    code, told, _ = bench.run("disk", place=place / "out")
    if code != 0:
        outcome.faults.append(f"{what}: the next run ended with {code}: {_last(told)}")
        return
    for line in differences(bench.reference, contents(place / "out"))[:3]:
        outcome.faults.append(f"{what}: after the next run, {line}")
