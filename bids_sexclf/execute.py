"""Run independent jobs in this process, in a pool or on Dask (interface: concurrent.futures)."""

import os
import signal
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from queue import Empty, SimpleQueue
from uuid import uuid4

from bids_sexclf.errors import ToolError
from bids_sexclf.stopping import answering_alone

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class InProcess(Executor):
    """An executor that runs each job immediately in this process."""

    def submit(self, function, /, *args, **kwargs):
        """Run a job; its error is raised by the future's ``result``, as in a pool."""
        future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as fault:
            future.set_exception(fault)
        return future


class Workers(ProcessPoolExecutor):
    """A pool of processes that ignore Ctrl-C, so that only this process handles it."""

    def submit(self, function, /, *args, **kwargs):
        """Submit a job; the first ones start the processes."""
        with answering_alone():
            return super().submit(function, *args, **kwargs)


def set_threads(count):
    """Limit this process, and those it starts, to `count` threads each.

    Parameters
    ----------
    count : int
    """
    for name in THREADS:
        os.environ[name] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def die_with_parent(parent):
    """End this process when the one that started it ends (Linux).

    Otherwise the workers of a killed run would still write into the folders of the run that
    resumes it. The kernel sends the signal when the thread that started this process ends; `pool`
    and the plugin of the participant level start their workers from the thread that waits for
    them. On other systems than Linux, only a parent that has already ended is detected.

    Parameters
    ----------
    parent : int
        Process id of the parent, as the parent itself knows it: it may have been killed while
        this process was still importing modules, and then sends no signal any more.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


FAILED = "failed"
"""The message of a failed job."""

post = None
"""In a worker: the queue of messages to the process that started it."""


def _start_worker(parent, threads, queue):
    global post
    die_with_parent(parent)
    set_threads(threads)
    post = queue


@contextmanager
def pool(processes, threads=1, queue=None):
    """Provide an executor for independent jobs.

    Parameters
    ----------
    processes : int
        With one, jobs run in this process.
    threads : int
        Threads per process.
    queue : multiprocessing.Queue, optional
        Known to the workers as ``post``.

    Yields
    ------
    concurrent.futures.Executor
    """
    if processes == 1:
        set_threads(threads)
        yield InProcess()
        return
    # Spawned, not forked: threads of torch and ITK do not survive a fork.
    arguments = (os.getpid(), threads, queue)
    with Workers(
        processes, get_context("spawn"), initializer=_start_worker, initargs=arguments
    ) as executor:
        yield executor


def processors():
    """Count the processors this process may use (cgroup and affinity included)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def run_jobs(function, jobs, processes, threads=1, tell=None, scheduler=None):
    """Run one function over many jobs, and pass on their messages while they run.

    Parameters
    ----------
    function : callable
        Called as ``function(job, tell)``; importable by name. ``tell(message)`` reaches the
        caller while the job runs.
    jobs : list
        Anything that can be pickled.
    processes, threads : int
        As for `pool`.
    tell : callable, optional
        Called as ``tell(index, message)`` for each message, and once more at a job's end: with
        ``None`` where it has returned, with `FAILED` where it has raised. A worker that is killed
        says nothing more.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers then run the jobs.

    Returns
    -------
    list
        One entry per job, in order: what the function returned, or the exception it raised.

    Raises
    ------
    ToolError
        If Dask is not installed, or its scheduler does not answer.
    """
    tell = tell or (lambda index, message: None)
    if scheduler is not None and jobs:
        return _run_on_dask(function, jobs, threads, tell, scheduler)
    processes = min(processes, len(jobs))
    if processes <= 1:
        set_threads(threads)
        return [_run_here(function, job, index, tell) for index, job in enumerate(jobs)]
    # A queue of pipes, since the name of a manager's socket is too long for a long TMPDIR.
    queue = get_context("spawn").Queue()
    with pool(processes, threads, queue) as executor:
        futures = [
            executor.submit(_run_there, function, job, index) for index, job in enumerate(jobs)
        ]
        return _listen(futures, queue, tell)


def _listen(futures, queue, tell):
    """Pass messages on until all jobs have ended; return results or exceptions in order."""
    ended = 0
    while ended < len(futures):
        try:
            index, message = queue.get(timeout=0.5)
        except Empty:
            if all(future.done() for future in futures):
                break  # a worker died without a message
            continue
        ended += message in (None, FAILED)
        tell(index, message)
    return [future.exception() or future.result() for future in futures]


def _run_on_dask(function, jobs, threads, tell, scheduler):
    """Run jobs on the workers of a Dask scheduler."""
    client = _connect(scheduler)
    topic, queue = f"bids_sexclf-{uuid4().hex}", SimpleQueue()
    try:
        client.subscribe_topic(topic, lambda event: queue.put(event[1]))
        executor = client.get_executor(pure=False)
        futures = [
            executor.submit(_run_on_worker, function, job, index, threads, topic)
            for index, job in enumerate(jobs)
        ]
        return _listen(futures, queue, tell)
    finally:
        client.close()


def _connect(scheduler):
    try:
        from dask.distributed import Client
    except ImportError as fault:
        raise ToolError(
            f"Found no Dask for the scheduler {scheduler}, needed it. Install "
            "bids-sexclf[dask], or leave --dask-scheduler out."
        ) from fault
    try:
        return Client(scheduler, timeout="20s", set_as_default=False)
    except Exception as fault:  # Dask raises several kinds for a wrong address
        raise ToolError(
            f"Found no Dask scheduler at {scheduler} ({type(fault).__name__}: {fault}), needed one "
            "that answers. Start it, or correct --dask-scheduler."
        ) from fault


def _run_on_worker(function, job, index, threads, topic):
    from dask.distributed import get_worker

    worker = get_worker()
    set_threads(threads)
    return _run(function, job, lambda message: worker.log_event(topic, (index, message)))


def _run_here(function, job, index, tell):
    try:
        return _run(function, job, lambda message: tell(index, message))
    except Exception as fault:
        return fault


def _run_there(function, job, index):
    return _run(function, job, lambda message: post.put((index, message)))


def _run(function, job, say):
    """Run a job, and report its result or exception."""
    try:
        result = function(job, say)
    except BaseException:
        say(FAILED)
        raise
    say(None)
    return result
