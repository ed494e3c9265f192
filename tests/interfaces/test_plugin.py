"""The process pool of the participant level."""

import gc
import pickle
from concurrent.futures import Future
from concurrent.futures.process import _ExceptionWithTraceback

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.plugin import Cell, GuardedMultiProc
from bids_sexclf.participant.failures import reason_of


def add_one(x):
    return x + 1


@pytest.fixture
def workflow(tmp_path):
    workflow = Workflow("sums", base_dir=str(tmp_path))
    nodes = [Node(Function(function=add_one, output_names=["x"]), f"n{n}") for n in range(2)]
    nodes[0].inputs.x = 1
    workflow.connect(nodes[0], "x", nodes[1], "x")
    workflow.config["execution"] = {"poll_sleep_duration": "0.1", "crashdump_dir": str(tmp_path)}
    return workflow


def test_the_search_for_garbage_leaves_the_graph_out_while_nodes_run(workflow, monkeypatch):
    frozen, searches = [], []
    monkeypatch.setattr(gc, "collect", lambda: searches.append(gc.get_freeze_count()))
    plugin = GuardedMultiProc({"n_procs": 2, "memory_gb": 1, "silent": True})
    submit = plugin._submit_job
    monkeypatch.setattr(
        plugin,
        "_submit_job",
        lambda *args, **more: (frozen.append(gc.get_freeze_count()), submit(*args, **more))[1],
    )
    ended = {node.name: node for node in workflow.run(plugin=plugin).nodes()}
    assert ended["n1"].result.outputs.x == 3
    assert len(frozen) == 2 and min(frozen) > 10_000
    assert gc.get_freeze_count() == 0 and searches[0] == 0


def write_on_a_full_disk():
    """Fail as a worker does that can write neither its result nor why there is none."""
    try:
        raise OSError(28, "No space left on device", "/work/result_n0.pklz.tmp")
    except OSError:
        raise FileNotFoundError("/work/result_n0.pklz")  # noqa: B904


def test_a_worker_that_cannot_write_why_it_failed_is_told_by_its_first_fault():
    future, plugin = Future(), GuardedMultiProc({"n_procs": 1, "memory_gb": 1, "silent": True})
    try:
        write_on_a_full_disk()
    except FileNotFoundError as fault:
        carried = pickle.dumps(_ExceptionWithTraceback(fault, fault.__traceback__))
    future.set_exception(pickle.loads(carried))  # as it comes from another process
    plugin._task_obj[1], plugin._cells[1] = future, (Cell(1, ".", True), "wf.n0")
    trace = "".join(plugin._get_result(1)["traceback"])
    reason = reason_of(trace.splitlines(), "n0")
    assert reason.startswith("ToolError: Found no space left to write (OSError: [Errno 28]")
