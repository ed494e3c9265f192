"""Damage every kind of file that is read: each must be refused in words, or read as it was."""

import random
import resource
import signal
import tracemalloc
from contextlib import contextmanager
from itertools import cycle, islice

from attacks import Outcome
from attacks.readers import READERS, Refused
from bids_sexclf.errors import REFUSALS
from bids_sexclf.faults import explain

PATIENCE = 20
"""Seconds that reading one small file may take."""

ROOM = 10 * 2**20
"""Bytes that any reader may use beside 1.5 times what the honest file takes: files are read in
pieces of 4 MiB, and the honest ones here are smaller."""


class Hang(BaseException):
    """Say that a reader does not come to an end."""


def run(folder, count=2000, seed=0, readers=READERS):
    """Damage files one by one, `count` in all, and read each.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
    seed : int
    readers : tuple of Reader

    Returns
    -------
    Outcome
    """
    outcome = Outcome("mutations")
    prepared = []
    for number, reader in enumerate(readers):
        place = folder / f"reader-{number}"
        place.mkdir(parents=True)
        reader.write(place)
        path = place / reader.file
        try:
            _read(reader, path)  # imports what it needs, which takes memory once
            _, honest, peak = _read(reader, path)
        except NotImplementedError as fault:
            outcome.skipped.append(f"{reader.name}: {fault}")
            continue
        prepared.append((reader, path, path.read_bytes(), honest, peak, cycle(reader.damages)))
    for number, each in enumerate(islice(cycle(prepared), count)):
        _attack(outcome, *each, seed=f"{seed}-{number}")
    return outcome.end()


def _attack(outcome, reader, path, content, honest, peak, damages, seed):
    """Damage one file and judge what reading it does."""
    damage = next(damages)
    changed = damage(content, random.Random(seed))
    if changed == content:
        return
    path.write_bytes(changed)
    outcome.tried += 1
    where = f"{reader.name}, {damage.__name__}, seed {seed}"
    verdict, value, used = _read(reader, path)
    path.write_bytes(content)
    if verdict == "read" and value == honest:
        verdict = "read as it was"
    outcome.count(verdict)
    if verdict in ("read", "hang", "traceback", "told late"):
        words = {"read": "accepted with other content", "told late": f"told late: {value}"}
        outcome.faults.append(f"{where}: {words.get(verdict, f'{verdict}: {value}')}")
    if used > 1.5 * peak + ROOM:
        outcome.count("memory")
        outcome.faults.append(f"{where}: {used / 2**20:.1f} MB, honest {peak / 2**20:.1f} MB")


def _read(reader, path):
    """Read a file: the verdict, what was read or said, and the most memory in use."""
    tracemalloc.start()
    try:
        with _limits():
            value = reader.read(path)
        verdict = "read"
    except (*REFUSALS, Refused) as fault:
        verdict, value = "refused", str(fault)
    except Hang:
        verdict, value = "hang", f"more than {PATIENCE} s"
    except NotImplementedError:
        raise
    except Exception as fault:
        told = explain(fault)
        verdict = "traceback" if told is None else "told late"
        value = " ".join(f"{type(fault).__name__}: {fault}".split())[:200]
    finally:
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return verdict, value, used


@contextmanager
def _limits():
    """Interrupt what takes too long, and refuse to hand out more memory than a machine has."""

    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, limits[1]))
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
