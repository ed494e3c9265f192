"""Nipype's process pool, in which a killed worker fails one job, and workers end with the run."""

import gc
import logging
import os
import signal
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from bids_sexclf.execute import Workers, die_with_parent, set_threads


def quiet():
    """Silence Nipype's messages; the run reports the reason of a failed step at its end."""
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def start_worker(parent, folder, silent):
    """Prepare one worker process.

    Parameters
    ----------
    parent : int
        Process id of the run that starts it.
    folder : str
        Its working directory.
    silent : bool
    """
    die_with_parent(parent)
    set_threads(1)  # the sums of libraries depend on the number of threads
    process_initializer(folder)
    if silent:
        quiet()


class Cell:
    """A pool of one worker process, so that a killed worker fails only its own job.

    A pool of many processes breaks as a whole when one of them is killed; with
    cells, only one breaks, and is replaced.

    Parameters
    ----------
    *initargs
        For `start_worker`.
    """

    def __init__(self, *initargs):
        self.executor = Workers(
            max_workers=1,
            mp_context=get_context("spawn"),
            initializer=start_worker,
            initargs=initargs,
        )
        self.process = None

    def submit(self, function, *args):
        """Submit a job to the worker; the first job starts the process."""
        before = set(active_children())
        future = self.executor.submit(function, *args)
        started = set(active_children()) - before
        self.process = self.process or (started.pop() if started else None)
        return future

    def epitaph(self):
        """Return a short text on how the worker ended."""
        code = self.process.exitcode if self.process else None
        if code == -signal.SIGKILL:
            return "was killed (SIGKILL), as a system does that runs out of memory"
        if code is not None and code < 0:
            return f"crashed ({signal.Signals(-code).name})"
        return "ended before it had finished"


class GuardedMultiProc(MultiProcPlugin):
    """Run the nodes of a workflow in processes that end with the run and fail independently.

    A worker that is killed fails its own node, with a message that names the
    node; a new worker replaces it, and the other nodes continue.

    Parameters
    ----------
    plugin_args : dict
        As for Nipype's ``MultiProc``; and ``silent``, and ``faults``: a dict that receives the
        traceback of each node that fails, by the node's full name.

    """

    def __init__(self, plugin_args=None):
        super().__init__(plugin_args=plugin_args)
        # The pool of the parent class has no worker yet; the cells replace it.
        self.pool.shutdown(wait=False)
        self._initargs = (
            os.getpid(),
            self._cwd,
            plugin_args.get("silent", True),
        )
        self._faults = plugin_args.get("faults", {})
        self._free = []
        self._cells = {}

    def _submit_job(self, node, updatehash=False):
        self._taskid += 1
        task = self._taskid
        if getattr(node.interface, "terminal_output", "") == "stream":
            node.interface.terminal_output = "allatonce"
        cell = self._free.pop() if self._free else Cell(*self._initargs)
        self._cells[task] = (cell, node.fullname)
        try:
            future = cell.submit(run_node, node, updatehash, task)
        except BrokenProcessPool:
            # Its worker died between two jobs; nothing is lost.
            cell = Cell(*self._initargs)
            self._cells[task] = (cell, node.fullname)
            future = cell.submit(run_node, node, updatehash, task)
        self._task_obj[task] = future
        return task

    def _get_result(self, taskid):
        """Return the result of a finished node or of a dead worker; None while the node runs."""
        future = self._task_obj[taskid]
        if not future.done():
            return None
        cell, name = self._cells.pop(taskid)
        fault = future.exception()
        if fault is None:
            self._free.append(cell)
            return future.result()
        cell.executor.shutdown(wait=True)
        if isinstance(fault, BrokenProcessPool):
            message = (
                f"ToolError: Found that the process of {name} {cell.epitaph()}; needed it to "
                "finish. Plan for less memory by --mem or fewer processes by --nprocs, or use a "
                "machine with more memory, and run again: finished steps are kept."
            )
        elif fault.__cause__ is not None:
            # The worker could write neither its result nor the error; Python reports it here.
            message = str(fault.__cause__).strip('"\n').partition("\n")[2]
        else:
            message = f"ToolError: Found that {name} could not be handed to its process ({fault})."
        trace = ["Traceback (most recent call last):\n", message + "\n"]
        return {"result": None, "traceback": trace, "taskid": taskid}

    def _task_finished_cb(self, jobid, cached=False):
        """Report a finished step, and whether an earlier run computed it."""
        if cached and self._status_callback:
            self._status_callback(self.procs[jobid], "cached")
        super()._task_finished_cb(jobid, cached=cached)

    def _report_crash(self, node, result=None):
        """Keep the traceback of a node, even if the disk is too full for its crash file."""
        if result is not None:
            self._faults[node.fullname] = "".join(result["traceback"])
        try:
            return super()._report_crash(node, result)
        except OSError as fault:
            return f"no crash file ({fault})"

    def _prerun_check(self, graph):
        """Exclude the graph from garbage collection, which Nipype runs ten times a second.

        With 2,900 nodes, it took more than half of a processor.
        """
        super()._prerun_check(graph)
        gc.collect()
        gc.freeze()

    def _postrun_check(self):
        gc.unfreeze()
        for cell in [*self._free, *(cell for cell, _ in self._cells.values())]:
            cell.executor.shutdown()

    def _sort_jobs(self, jobids, scheduler="tsort"):
        """Sort jobs so that one participant finishes before the next, in case the run is killed."""
        return sorted(jobids, key=lambda job: (self.procs[job].fullname.split(".")[1], job))
