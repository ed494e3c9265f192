"""Start a command in a session of its own, and see which of its processes are still there."""

import os
import signal
import subprocess
import time
from pathlib import Path

from attacks import people


def start(command, told):
    """Start a command in a session of its own; what it says goes to the file `told`."""
    with open(told, "w") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            env=people.environment(),
        )  # fmt: skip


def living(session):
    """List the processes of a session that still run: number and command line.

    Workers are found also where the process that started them is gone. Who has ended, and was not
    collected, does not count.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found[int(entry.name)] = words.strip()
    return found


def wait_for_worker(child, patience=60):
    """Wait until a process has started another that works for it; False where it never does."""
    start = time.monotonic()
    while child.poll() is None and time.monotonic() - start < patience:
        if any("spawn_main" in words for words in living(child.pid).values()):
            return True
        time.sleep(0.01)
    return False


def survivors(session, patience=10.0):
    """Give the processes of a session that still run some seconds later, and end them."""
    start = time.monotonic()
    while (found := living(session)) and time.monotonic() - start < patience:
        time.sleep(0.05)
    for number in found:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found
