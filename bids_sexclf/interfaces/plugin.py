"""Nipype's process pool, with workers that end with their parent."""

import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

from bids_sexclf.execute import die_with_parent, set_threads


def quiet():
    """Keep Nipype from talking below warnings."""
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)


def start_worker(folder, threads, silent):
    """Prepare one worker process.

    Parameters
    ----------
    folder : str
        Its working directory.
    threads : int
    silent : bool
    """
    die_with_parent()
    set_threads(threads)
    process_initializer(folder)
    if silent:
        quiet()


class GuardedMultiProc(MultiProcPlugin):
    """Run a workflow's nodes in a pool whose workers cannot outlive a killed run.

    Parameters
    ----------
    plugin_args : dict
        As for Nipype's ``MultiProc``; and ``threads`` (per process), ``silent``.

    """

    def __init__(self, plugin_args=None):
        super().__init__(plugin_args=plugin_args)
        # The pool the parent class made has no worker yet; ours replaces it.
        self.pool.shutdown(wait=False)
        self.pool = ProcessPoolExecutor(
            max_workers=self.processors,
            mp_context=get_context("spawn"),
            initializer=start_worker,
            initargs=(self._cwd, plugin_args.get("threads", 1), plugin_args.get("silent", True)),
        )

    def _sort_jobs(self, jobids, scheduler="tsort"):
        """Finish one participant before the next: what is done early stays done after a kill."""
        return sorted(jobids, key=lambda job: (self.procs[job].fullname.split(".")[1], job))
