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
from contextlib import contextmanager
from multiprocessing import get_context

from attacks import Outcome, people
from attacks.contents import contents, differences, leftovers

NAMED = (3, 65, 66, 67, 69, 71, 74, 75)
"""Exit codes of runs that have said what was wrong."""

KINDS = {"full": errno.ENOSPC, "denied": errno.EACCES, "read-only": errno.EROFS}


def run(folder, count=10_000, seed=0):
    """Let writes of a small study fail, `count` of them at most.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
        Of each kind of failure; spread evenly over all writes where there are more.
    seed : int

    Returns
    -------
    Outcome
    """
    outcome = Outcome("writes")
    out = people.write_study(folder / "bids", n=8, seed=seed)
    context = get_context("forkserver")
    context.set_forkserver_preload(["bids_sexclf.cli", "bids_sexclf.group.fit", "attacks.writes"])
    desk = _Bench(folder, out, context)
    code, told, seen = desk.run("reference")
    if code != 0:
        outcome.faults.append(f"the undisturbed run ended with {code}: {told[-300:]}")
        return outcome.end()
    desk.reference = contents(desk.place("reference"))
    outcome.numbers["writes in a run"] = len(seen)
    for kind, number in KINDS.items():
        for index in spread(len(seen), count):
            what = f"{kind} from write {index} on ({seen[index]})"
            _attack(outcome, desk, what, ("fail", index, number))
    sizes = sorted({len(each) for each in desk.sizes("reference")})
    for size in [sizes[index] for index in spread(len(sizes), count)]:
        _attack(outcome, desk, f"no file beyond {size - 1} bytes", ("limit", size - 1))
    _small_disk(outcome, desk, count)
    return outcome.end()


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
    """Run a study again and again on copies of the same prepared participants.

    Parameters
    ----------
    folder, out : pathlib.Path
    context : multiprocessing.context.BaseContext
        Whose processes have loaded the program already.
    """

    def __init__(self, folder, out, context):
        self.folder, self.out, self.context = folder, out, context
        self.reference = None

    def place(self, name):
        """Give the folder of a run, with a copy of the participants where it is new."""
        place = self.folder / name / "out"
        if not place.exists():
            shutil.copytree(self.out, place)
        return place

    def run(self, name, failure=None, place=None):
        """Run the study: exit code, what it said, and which files it wrote."""
        place = place or self.place(name)
        command = people.group_command(self.folder / "bids", place)[3:]
        # A pipe, since what is said must not fall under the limits of files.
        listen, speak = self.context.Pipe(duplex=False)
        receive, send = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_run, args=(command, speak, str(place), failure, send)
        )
        process.start()
        send.close()
        speak.close()
        with open(os.dup(listen.fileno()), errors="replace") as stream:
            told = stream.read()
        try:
            code, seen = receive.recv()
        except EOFError:
            code, seen = None, []
        process.join()
        return process.exitcode if code is None else code, told, seen

    def sizes(self, name):
        """Give the bytes of each result of a run."""
        study = self.place(name) / "study-default"
        return [path.read_bytes() for path in study.rglob("*") if path.is_file()]


def _attack(outcome, desk, what, failure):
    """Let writes fail, look at what is left, and run again without failures."""
    outcome.tried += 1
    shutil.rmtree(desk.folder / "attacked", ignore_errors=True)
    code, told, _ = desk.run("attacked", failure)
    judge(outcome, what, code, told, desk.place("attacked"))
    after, told, _ = desk.run("attacked")
    if after != 0:
        outcome.faults.append(f"{what}: the next run ended with {after}: {_last(told)}")
        return
    for line in differences(desk.reference, contents(desk.place("attacked")))[:3]:
        outcome.faults.append(f"{what}: after the next run, {line}")


def judge(outcome, what, code, told, place):
    """Note what is wrong with how a run ended whose writes failed."""
    outcome.count(f"exit code {code}")
    if code != 0 and code not in NAMED:
        outcome.faults.append(f"{what}: exit code {code}: {_last(told)}")
    if "Traceback" in told:
        outcome.faults.append(f"{what}: a traceback: {_last(told)}")
    if code in NAMED and not ("ound" in told and "eeded" in told):
        outcome.faults.append(f"{what}: no word of what was found and needed: {_last(told)}")
    for path in leftovers(place)[:3]:
        outcome.faults.append(f"{what}: left half-written: {path}")


def _last(told):
    lines = [line for line in told.replace("\r", "\n").splitlines() if line.strip()]
    return (lines or ["nothing was said"])[-1][:300]


def _run(command, told, place, failure, send):
    """Run the command line in this process, with failing writes."""
    os.dup2(told.fileno(), 1)
    os.dup2(told.fileno(), 2)
    told.close()
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    os.environ["TMPDIR"] = place
    tempfile.tempdir = None
    seen = []
    if failure and failure[0] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (failure[1], resource.RLIM_INFINITY))
    with _watched(place, seen, *(failure[1:] if failure and failure[0] == "fail" else ())):
        from bids_sexclf import cli

        code = cli.main(command)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    send.send((code, seen))


EVENTS = ("open", "os.mkdir", "os.rename", "os.truncate", "os.link", "os.symlink", "os.putxattr")


@contextmanager
def _watched(place, seen, first=None, number=None):
    """Note each write below a folder; let all from the first on fail.

    An audit hook cannot be taken away again, so that it is switched off instead.
    """
    active = [True]

    def hook(event, given):
        if not active[0] or event not in EVENTS or not _writes(event, given):
            return
        path = given[1] if event == "os.rename" else given[0]
        if isinstance(path, int) or not os.fsdecode(path).startswith(place):
            return
        if first is not None and len(seen) >= first:
            seen.append(None)
            raise OSError(number, os.strerror(number), os.fsdecode(path))
        seen.append(f"{event} {os.path.relpath(os.fsdecode(path), place)}")

    sys.addaudithook(hook)
    try:
        yield
    finally:
        active[0] = False


def _writes(event, given):
    if event != "open":
        return True
    _, mode, flags = given
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _small_disk(outcome, desk, count):
    """Run on a disk that is too small, at several sizes; then make room."""
    place = desk.folder / "disk"
    place.mkdir()
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "chaos", place], capture_output=True, text=True
    )
    if tried.returncode != 0:
        outcome.skipped.append(f"a small disk: {tried.stderr.strip() or 'cannot be mounted'}")
        return
    try:
        needed = sum(len(each) for each in desk.sizes("reference")) // 1024
        start = sum(path.stat().st_size for path in desk.out.rglob("*") if path.is_file()) // 1024
        for part in spread(10, count):
            size = start + 200 + needed * part // 10
            what = f"a disk with room for {part}/10 of the study"
            outcome.tried += 1
            _fill_disk(outcome, desk, place, size, what)
    finally:
        subprocess.run(["umount", place], check=True)


def _fill_disk(outcome, desk, place, size, what):
    shutil.rmtree(place / "out", ignore_errors=True)
    subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
    shutil.copytree(desk.out, place / "out")
    subprocess.run(["mount", "-o", f"remount,size={size}k", place], check=True)
    code, told, _ = desk.run("disk", place=place / "out")
    judge(outcome, what, code, told, place / "out")
    subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
    code, told, _ = desk.run("disk", place=place / "out")
    if code != 0:
        outcome.faults.append(f"{what}: the next run ended with {code}: {_last(told)}")
        return
    for line in differences(desk.reference, contents(place / "out"))[:3]:
        outcome.faults.append(f"{what}: after the next run, {line}")
