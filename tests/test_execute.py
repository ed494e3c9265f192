import os
import subprocess
import sys
import time

import psutil
import pytest

from bids_sexclf.errors import ToolError
from bids_sexclf.execute import FAILED, run_jobs


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a feature of Linux")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from bids_sexclf.execute import run_jobs\nimport test_execute\n"
        "if __name__ == '__main__':\n"
        f"    jobs = [{str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r}]\n"
        "    run_jobs(test_execute.linger, jobs, 2)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, script])
    for _ in range(300):
        if all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "ab"):
            break
        time.sleep(0.1)
    workers = [int((tmp_path / name).read_text()) for name in "ab"]
    parent.kill()
    parent.wait()
    time.sleep(1)
    # Who ended is gone, or a zombie that nobody has collected yet.
    running = [w for w in workers if psutil.pid_exists(w)]
    assert all(psutil.Process(w).status() == psutil.STATUS_ZOMBIE for w in running)


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
