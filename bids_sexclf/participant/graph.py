"""Run the workflows of all participants as one Nipype graph."""

import time
from pathlib import Path

from bids_sexclf.disk import remove_folder
from bids_sexclf.errors import ToolError
from bids_sexclf.execute import processors, set_threads
from bids_sexclf.layout import name_of
from bids_sexclf.participant.failures import read_crashes, tell_failure
from bids_sexclf.participant.plan import is_finished

GRAPH = "bids_sexclf_wf"
"""Name of the graph of all participants, and of its folder in the work folder."""


def remove_intermediates(work, rows):
    """Remove the intermediate files of participant-sessions, and nothing else.

    Parameters
    ----------
    work : path-like
        Work folder.
    rows : list of dict
        Of the worklist.
    """
    from bids_sexclf.participant.base import wf_name

    graph = Path(work, GRAPH)
    for row in rows:
        remove_folder(graph / wf_name(row["participant_id"], row["session_id"]), graph)


def run_workflows(places, work, run, preparation, rows, advance):
    """Run the graph of all participants; give the rows of those that failed.

    Parameters
    ----------
    places : dict
        Folders and files for `init_participant_wf`: root, out, template, references, …
    work : pathlib.Path
        Work folder.
    run : settings.Run
    preparation : settings.Preparation
    rows : list of dict
        Of the worklist.
    advance : callable or None
        Called with (steps done, steps in all, participant-sessions finished).

    Returns
    -------
    list of dict
        participant_id, session_id, stage, reason, trace.

    Raises
    ------
    ToolError
        If the graph could not be run at all.
    """
    from nipype import config
    from nipype.pipeline.engine import Workflow

    from bids_sexclf.participant.base import init_participant_wf, wf_name

    set_threads(run.omp_nthreads)
    out = places["out"]
    crashes = out / "logs" / "crash"
    crashes.mkdir(parents=True, exist_ok=True)
    execution = {
        "stop_on_first_crash": "false",
        "remove_unnecessary_outputs": "false",
        "crashfile_format": "txt",
        "crashdump_dir": str(crashes),
        "poll_sleep_duration": "0.1",
    }
    config.update_config({"execution": execution})
    graph = Workflow(GRAPH, base_dir=str(work))
    for row in rows:
        _remove_parts(out, row)
        road = init_participant_wf(
            row=row, **places, preparation=preparation, threads=run.omp_nthreads
        )
        graph.add_nodes([road])
    started, ended = time.time() - 1, set()
    _run_graph(graph, run, advance, ended)
    traces = read_crashes(crashes, started)
    failed = []
    for row in rows:
        if not is_finished(out, row, preparation):
            folder = work / graph.name / wf_name(row["participant_id"], row["session_id"])
            failed.append(tell_failure(out, row, folder, traces, ended))
    return failed


def _remove_parts(out, row):
    """Remove what a killed run left half-written."""
    stem = name_of(row["participant_id"], row["session_id"])
    person = Path(out, row["participant_id"])
    for folder in (person / (row["session_id"] or ""), person / "figures"):
        for path in folder.rglob(f".part-*-{stem}*"):
            path.unlink(missing_ok=True)


def _run_graph(graph, run, advance, ended):
    """Run the graph with the pool, or with the plugin of the user's file."""
    from bids_sexclf.interfaces.plugin import GuardedMultiProc, quiet

    if run.verbose < 2:
        quiet()
    if run.use_plugin:
        import yaml

        chosen = yaml.safe_load(Path(run.use_plugin).read_text())
        tell = {"status_callback": _progress(graph, advance, ended)}
        chosen["plugin_args"] = (chosen.get("plugin_args") or {}) | tell
    else:
        arguments = {
            "n_procs": run.nprocs or processors(),
            "memory_gb": run.mem or _free_memory() * 0.9,
            "raise_insufficient": False,
            "threads": run.omp_nthreads,
            "silent": run.verbose < 2,
            "status_callback": _progress(graph, advance, ended),
        }
        chosen = {"plugin": GuardedMultiProc(arguments)}
    try:
        graph.run(**chosen)
    except Exception as fault:
        # Nipype raises one error once every node that could run has run; each node that failed
        # has left a crash file. Without any, the fault is of another kind.
        if not any(Path(graph.config["execution"]["crashdump_dir"]).glob("crash-*.txt")):
            raise ToolError(
                f"Found that the workflow could not be run ({fault}); needed a working Nipype "
                "plugin. Check --use-plugin."
            ) from fault


def _progress(graph, advance, seen):
    """Count finished steps and finished participant-sessions; add their names to `seen`."""
    steps = [name for name in graph.list_node_names() if not name.endswith("putnode")]
    total, done = len(steps), [0]

    def tell(node, status):
        if status != "end" or node.fullname in seen:
            return
        seen.add(node.fullname)
        done[0] += node.name == "write"
        if advance:
            advance(len(seen), total, done[0])

    return tell


def _free_memory():
    """Memory that can be had, GB."""
    import psutil

    return psutil.virtual_memory().available / 2**30
