"""The process pool of the participant level."""

import gc

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.plugin import GuardedMultiProc


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
