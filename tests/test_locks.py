"""Locks between processes: one holder, named to others, and gone with its process."""

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

from bids_sexclf import locks
from bids_sexclf.errors import BusyError
from bids_sexclf.locks import hold

HOLD = """
import os, subprocess, sys, time
from bids_sexclf.locks import hold

with hold(sys.argv[1], "sub-001 is being prepared"):
    if "fork" in sys.argv:
        child = os.fork()
        if not child:
            time.sleep(60)
    if "start" in sys.argv:
        child = subprocess.Popen(["sleep", "60"], close_fds=False).pid
    print(child if len(sys.argv) > 2 else 0, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, request):
    """Let another process hold a lock; give the process, the lock, and a child of the process."""
    path = tmp_path / "locks" / "sub-001.lock"
    command = [sys.executable, "-c", HOLD, path, *getattr(request, "param", [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process, path, child
    process.kill()
    process.wait()
    process.stdout.close()
    if child:
        os.kill(child, signal.SIGKILL)


def test_a_held_lock_names_its_holder(holder):
    process, path, _ = holder
    with pytest.raises(BusyError) as refusal, hold(path, "sub-001 is being cleaned", wait=False):
        pass
    host = json.loads(path.read_text())["host"]
    expected = f"Found that sub-001 is being prepared by process {process.pid} on {host} since "
    assert str(refusal.value).startswith(expected)


@pytest.mark.parametrize("holder", [[], ["fork"], ["start"]], indirect=True)
def test_the_lock_of_a_killed_process_is_free_also_where_its_children_live(holder):
    process, path, child = holder
    process.kill()
    process.wait()
    if child:
        os.kill(child, 0)  # it lives
    with hold(path, "sub-001 is being prepared", wait=False):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert path.exists() and not path.read_text()


def test_a_process_waits_and_says_for_whom_once(holder):
    process, path, _ = holder
    threading.Timer(0.5, process.kill).start()
    told, start = [], time.monotonic()
    with hold(path, "sub-001 is being prepared", tell=told.append):
        assert 0.3 < time.monotonic() - start < 30
    assert len(told) == 1 and f"by process {process.pid} on" in told[0]


def test_threads_of_one_process_exclude_each_other(tmp_path):
    with hold(tmp_path / "lock", "one"), pytest.raises(BusyError):
        with hold(tmp_path / "lock", "two", wait=False):
            pass


def test_a_fault_inside_gives_the_lock_back(tmp_path):
    with pytest.raises(RuntimeError), hold(tmp_path / "lock", "one"):
        raise RuntimeError
    with hold(tmp_path / "lock", "two", wait=False):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told_once(tmp_path, monkeypatch, code):
    def refuse(handle, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_told", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("a", "b", "a"):
            with hold(tmp_path / name, "one"):
                pass
    assert len(caught) == 1 and "has no locks" in str(caught[0].message)


def test_another_error_of_a_lock_is_raised(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken"), hold(tmp_path / "lock", "one"):
        pass


def test_a_full_disk_takes_the_words_and_not_the_lock(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", refuse)
    with hold(tmp_path / "lock", "one"), pytest.raises(BusyError, match="two by another process"):
        with hold(tmp_path / "lock", "two", wait=False):
            pass


def test_the_lock_file_of_another_user_may_only_be_readable(tmp_path, monkeypatch):
    with hold(tmp_path / "lock", "one"):
        pass
    opened = os.open

    def refuse(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "denied", str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with hold(tmp_path / "lock", "one"), pytest.raises(BusyError):
        with hold(tmp_path / "lock", "two", wait=False):
            pass
    with pytest.raises(PermissionError), hold(tmp_path / "new", "one"):
        pass


def test_more_locks_than_files_may_be_open_at_first(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 1000:
        pytest.skip("the hard limit is low")
    from contextlib import ExitStack

    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        with ExitStack() as stack:
            for number in range(400):
                stack.enter_context(hold(tmp_path / str(number), "one"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
