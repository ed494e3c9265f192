import os
import subprocess
import sys
import time

import psutil
import pytest

from bids_sexclf.errors import ToolError
from bids_sexclf.execute import FAILED, THREADS, run_jobs
from bids_sexclf.interfaces.plugin import Cell


def double(job, tell):
    """Double a number; refuse three."""
    tell(f"saw {job}")
    if job == 3:
        raise ValueError("three")
    return 2 * job


def check_last_words(told):
    """Every job ends once, after all else it says; the third has failed."""
    last = {index: message for index, message in told}
    assert last == {0: None, 1: None, 2: FAILED, 3: None}
    assert sum(message in (None, FAILED) for _, message in told) == 4


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_a_fault_stops_nobody_else(processes):
    told = []
    results = run_jobs(double, [1, 2, 3, 4], processes, tell=lambda i, m: told.append((i, m)))
    assert [r for r in results if not isinstance(r, Exception)] == [2, 4, 8]
    assert isinstance(results[2], ValueError)
    assert {(i, f"saw {i + 1}") for i in range(4)} <= set(told)
    check_last_words(told)


def test_temporary_folder_with_a_long_path_is_no_obstacle(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    assert run_jobs(double, [1, 2], 2) == [2, 4]


def vanish(job, tell):
    """End the whole process, as the kernel does when memory is short."""
    os._exit(9)


def test_worker_that_is_killed_leaves_an_error_and_not_a_wait():
    assert all(isinstance(result, Exception) for result in run_jobs(vanish, [1, 2], 2))


def test_no_jobs_give_no_results():
    assert run_jobs(double, [], 4) == []


def linger(job, tell):
    """Write the process id, then work for a long time."""
    with open(job, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)


PARENT = """
import os, sys, time
sys.path.insert(0, {folder!r})
import test_execute
from bids_sexclf.execute import run_jobs
from bids_sexclf.interfaces.plugin import Cell

if __name__ == "__main__":
    if sys.argv[1] == "pool":
        print("starting", flush=True)
        run_jobs(test_execute.linger, sys.argv[2:], 2)
    else:
        cells = [Cell(os.getpid(), ".", True) for _ in sys.argv[2:]]
        print("starting", flush=True)
        futures = [cell.submit(test_execute.linger, name, None)
                   for cell, name in zip(cells, sys.argv[2:])]
        time.sleep(60)
"""


def descendants(process):
    """List the processes below one."""
    return psutil.Process(process.pid).children(recursive=True)


def still_run(processes):
    """List the processes that have not ended; who ended is gone, or a zombie."""
    ended = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return [p for p in processes if p.is_running() and p.status() not in ended]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a feature of Linux")
@pytest.mark.parametrize("way", ["pool", "plugin"])
@pytest.mark.parametrize("delay", [0.1, 0.3, 0.6, 1.0, 1.5, None])
def test_workers_end_when_their_parent_is_killed(tmp_path, way, delay):
    script, names = tmp_path / "parent.py", [tmp_path / "a", tmp_path / "b"]
    script.write_text(PARENT.format(folder=os.path.dirname(__file__)))
    command = [sys.executable, script, way, *names]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "starting\n"
    if delay is None:  # until both work
        wait_until(lambda: all(name.exists() and name.read_text() for name in names), 60)
    else:
        time.sleep(delay)
    workers = descendants(parent)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert delay is not None or len(workers) >= 2
    wait_until(lambda: not still_run(workers), 20)


def wait_until(check, patience):
    """Wait until a check holds; fail after so many seconds."""
    end = time.monotonic() + patience
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


def count_threads(job, tell):
    """Tell how many threads libraries may use."""
    return {name: os.environ.get(name) for name in THREADS}


def test_libraries_of_the_participant_level_have_one_thread_each(monkeypatch):
    """With two, ANTs gives other numbers, and others each time."""
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "2")
    cell = Cell(os.getpid(), ".", True)
    assert cell.submit(count_threads, None, None).result(60) == dict.fromkeys(THREADS, "1")
    cell.executor.shutdown()


@pytest.fixture(scope="module")
def scheduler():
    """Start a Dask scheduler with one worker in this process."""
    distributed = pytest.importorskip("dask.distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    with distributed.LocalCluster(**options, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_dask_gives_results_faults_and_messages_as_a_pool_does(scheduler):
    told = []
    results = run_jobs(
        double, [1, 2, 3, 4], 9, tell=lambda i, m: told.append((i, m)), scheduler=scheduler
    )
    assert [r for r in results if not isinstance(r, Exception)] == [2, 4, 8]
    assert isinstance(results[2], ValueError)
    assert {(i, f"saw {i + 1}") for i in range(4)} <= set(told)
    check_last_words(told)


def test_scheduler_that_does_not_answer_is_named(monkeypatch):
    distributed = pytest.importorskip("dask.distributed")
    monkeypatch.setattr(
        distributed, "Client", lambda *args, **options: (_ for _ in ()).throw(OSError("timed out"))
    )
    with pytest.raises(ToolError, match="no Dask scheduler at tcp://nowhere:1.*timed out"):
        run_jobs(double, [1], 1, scheduler="tcp://nowhere:1")
