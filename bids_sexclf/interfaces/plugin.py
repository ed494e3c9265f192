"""Nipype's process pool, with workers that die alone and end with their parent."""

import gc
import logging
import os
import signal
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from bids_sexclf.execute import Workers, die_with_parent, set_threads


def quiet():
    """Keep Nipype from talking; of a step that fails the run tells the reason at its end."""
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
    set_threads(1)  # the sums of libraries depend on how many threads share them
    process_initializer(folder)
    if silent:
        quiet()


class Cell:
    """Hold one worker process, so that its death is that of its own job only.

    A pool of many processes breaks as a whole when one of them is killed; of
    cells, only the one breaks, and is replaced.

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
        """Give the worker a job; it is started with its first one."""
        before = set(active_children())
        future = self.executor.submit(function, *args)
        started = set(active_children()) - before
        self.process = self.process or (started.pop() if started else None)
        return future

    def epitaph(self):
        """Say how the worker died, in a few words."""
        code = self.process.exitcode if self.process else None
        if code == -signal.SIGKILL:
            return "was killed (SIGKILL), as a system does that runs out of memory"
        if code is not None and code < 0:
            return f"crashed ({signal.Signals(-code).name})"
        return "ended before it had finished"


class GuardedMultiProc(MultiProcPlugin):
    """Run a workflow's nodes in processes that cannot outlive a killed run, nor pull others down.

    A worker that is killed fails its own node, with a message that names the
    node; a new one takes its place, and the other nodes go on.

    Parameters
    ----------
    plugin_args : dict
        As for Nipype's ``MultiProc``; and ``silent``, and ``faults``: a dict that receives the
        traceback of each node that fails, by the node's full name.

    """

    def __init__(self, plugin_args=None):
        super().__init__(plugin_args=plugin_args)
        # The pool the parent class made has no worker yet; the cells replace it.
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
        """Give a finished node's result, or that of one whose worker died; None while it runs."""
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
            told = (
                f"ToolError: Found that the process of {name} {cell.epitaph()}; needed it to "
                "finish. Plan for less memory by --mem or fewer processes by --nprocs, or use a "
                "machine with more memory, and run again: finished steps are kept."
            )
        elif fault.__cause__ is not None:
            # The worker could not write what it has made, and not even why; Python tells it here.
            told = str(fault.__cause__).strip('"\n').partition("\n")[2]
        else:
            told = f"ToolError: Found that {name} could not be handed to its process ({fault})."
        trace = ["Traceback (most recent call last):\n", told + "\n"]
        return {"result": None, "traceback": trace, "taskid": taskid}

    def _task_finished_cb(self, jobid, cached=False):
        """Tell also that a step was taken from an earlier run."""
        if cached and self._status_callback:
            self._status_callback(self.procs[jobid], "cached")
        super()._task_finished_cb(jobid, cached=cached)

    def _report_crash(self, node, result=None):
        """Keep a node's traceback, also where there is no room for its crash file."""
        if result is not None:
            self._faults[node.fullname] = "".join(result["traceback"])
        try:
            return super()._report_crash(node, result)
        except OSError as fault:
            return f"no crash file ({fault})"

    def _prerun_check(self, graph):
        """Set the graph apart from what Nipype searches for garbage, ten times a second.

        With 2,900 nodes, that search took more than half of a processor.
        """
        super()._prerun_check(graph)
        gc.collect()
        gc.freeze()

    def _postrun_check(self):
        gc.unfreeze()
        for cell in [*self._free, *(cell for cell, _ in self._cells.values())]:
            cell.executor.shutdown()

    def _sort_jobs(self, jobids, scheduler="tsort"):
        """Finish one participant before the next: what is done early stays done after a kill."""
        return sorted(jobids, key=lambda job: (self.procs[job].fullname.split(".")[1], job))
