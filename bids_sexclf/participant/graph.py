"""Run the workflows of participants as one Nipype graph."""

import math
import time
from contextlib import suppress
from pathlib import Path

from bids_sexclf.derivatives.prepared import take_over
from bids_sexclf.disk import PART, read_small, remove_folder, remove_parts
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.execute import processors, set_threads
from bids_sexclf.faults import explain
from bids_sexclf.layout import name_of
from bids_sexclf.participant.cache import GRAPH, forget_changed, forget_incomplete, list_reads
from bids_sexclf.participant.failures import (
    read_crashes,
    reason_of_fault,
    row_of_failure,
    tell_failure,
)
from bids_sexclf.participant.finished import digest_plan, judge, record_inputs, withdraw
from bids_sexclf.participant.forecast import Clock, Step, foretell, say_progress


def remove_intermediates(work, rows):
    """Remove the intermediate files of participant-sessions, and nothing else.

    Parameters
    ----------
    work : path-like
        Work folder.
    rows : list of dict
        Of the worklist.
    """
    graph = Path(work, GRAPH)
    for row in rows:
        remove_folder(folder_of(work, row), graph)


def folder_of(work, row):
    """Return the folder of a participant-session's workflow within the work folder."""
    from bids_sexclf.participant.base import wf_name

    return Path(work, GRAPH, wf_name(row["participant_id"], row["session_id"]))


def run_workflows(materials, places, work, run, preparation, rows, advance):
    """Run the workflows of several participant-sessions; return the rows of those that failed.

    Parameters
    ----------
    materials : dict
        Folders and files for `init_participant_wf`: root, out, template, references, …
    places : dict
        Where inputs lie, as `finished.find_places` returns it.
    work : pathlib.Path
        Work folder.
    run : settings.Run
    preparation : settings.Preparation
    rows : list of dict
        Of the worklist.
    advance : callable or None
        Called with (steps done, steps in all, words on what runs and how long it will take).

    Returns
    -------
    list of dict
        participant_id, session_id, stage, reason, trace.

    Raises
    ------
    ToolError
        If the graph could not be run with the plugin of the user's file.
    """
    from nipype.pipeline.engine import Workflow

    # One thread within each library, since its sums depend on the number of threads. The option
    # ``threads`` of a step changes no number.
    set_threads(1)
    crashes = materials["out"] / "logs" / "crash"
    _configure(crashes)
    graph, failed = Workflow(GRAPH, base_dir=str(work)), []
    for row in rows:
        try:
            graph.add_nodes([_build(row, materials, places, work, run, preparation)])
        except Exception as fault:  # one participant's scans can never stop another's
            failed.append(row_of_failure(row, reason_of_fault(fault)))
    started, ended, faults = time.time() - 1, set(), {}
    built = [row for row in rows if not any(_is_of(row, failure) for failure in failed)]
    if built:
        steps = list_steps(graph, built, materials, preparation)
        clock = Clock(steps, run.nprocs or processors())
        follow = _progress(clock, advance, ended)
        _run_graph(graph, run, follow, faults, lambda: read_crashes(crashes, started))
    traces = read_crashes(crashes, started) | faults
    for row in built:
        if not _is_finished(row, preparation, places):
            failed.append(tell_failure(materials["out"], row, folder_of(work, row), traces, ended))
    return failed


def _is_finished(row, preparation, places):
    """Return whether a participant-session is finished; False where it cannot be read."""
    try:
        return judge(row, preparation, places).finished
    except OSError:
        return False


def _is_of(row, failure):
    return all(row[key] == failure[key] for key in ("participant_id", "session_id"))


def _configure(crashes):
    """Configure Nipype to go on where a step fails, and to write crash files."""
    from nipype import config

    crashes.mkdir(parents=True, exist_ok=True)
    execution = {
        "stop_on_first_crash": "false",
        "remove_unnecessary_outputs": "false",
        "crashfile_format": "txt",
        "crashdump_dir": str(crashes),
        "poll_sleep_duration": "0.1",
    }
    config.update_config({"execution": execution})


def _build(row, materials, places, work, run, preparation):
    """Build the workflow of a participant-session, and remove outdated files.

    Files in the output folder that were made from other inputs are removed, and so are steps in
    the work folder whose inputs have changed or whose results are missing.
    """
    from bids_sexclf.participant.base import init_participant_wf

    out = materials["out"]
    _remove_parts(out, row)
    if judge(row, preparation, places).stale:
        withdraw(row, out)
    workflow = init_participant_wf(
        row=row, **materials, preparation=preparation, threads=run.omp_nthreads
    )
    reads = list_reads(workflow)
    forget_changed(work, workflow, reads)
    forget_incomplete(work, workflow)
    write = workflow.get_node("write")
    write.inputs.made_from = record_inputs(row, reads, places)
    write.inputs.plan = digest_plan(row, places)
    return workflow


def _remove_parts(out, row):
    """Remove the incomplete files of a run that was killed."""
    stem = name_of(row["participant_id"], row["session_id"])
    person = Path(out, row["participant_id"])
    parts = f"{PART}*-{stem}[_.]*"
    remove_parts(Path(out).glob(parts))
    for folder in (person / (row["session_id"] or ""), person / "figures"):
        remove_parts(folder.rglob(parts))


def _run_graph(graph, run, follow, faults, find_crashes):
    """Run the graph with the pool, or with the plugin of the user's file."""
    from bids_sexclf.interfaces.plugin import GuardedMultiProc, quiet

    if run.verbose < 2:
        quiet()
    tell = {"status_callback": follow}
    if run.use_plugin:
        chosen = read_plugin(run.use_plugin)
        chosen["plugin_args"] = (chosen.get("plugin_args") or {}) | tell
    else:
        arguments = {
            "n_procs": run.nprocs or processors(),
            "memory_gb": run.mem or _free_memory() * 0.9,
            "raise_insufficient": False,
            "silent": run.verbose < 2,
            "faults": faults,
        }
        chosen = {"plugin": GuardedMultiProc(arguments | tell)}
    try:
        graph.run(**chosen)
    except Exception as fault:
        # Nipype raises one error once every node that could run has run; each node that failed
        # has left a crash file. Without any, the fault is of another kind.
        if faults or find_crashes():
            return
        if run.use_plugin and explain(fault) is None:
            raise ToolError(
                f"Found that the workflow could not be run ({fault}); needed a working Nipype "
                "plugin. Check --use-plugin."
            ) from fault
        raise


LARGEST_PLUGIN = 10_000
"""Largest size of a plugin file, bytes; deeply nested YAML takes very long to read."""


def read_plugin(path):
    """Read the file of a Nipype plugin.

    Parameters
    ----------
    path : path-like
        YAML: plugin (its name), plugin_args.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it cannot be read, or is not a plugin file.
    """
    import yaml

    try:
        chosen = yaml.safe_load(read_small(path, LARGEST_PLUGIN).decode("utf-8-sig"))
        fault = f"it holds {str(chosen)[:80]}"
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        chosen, fault = None, " ".join(str(error).split())[:200]
    arguments = chosen.get("plugin_args") if isinstance(chosen, dict) else None
    whole = isinstance(chosen, dict) and isinstance(chosen.get("plugin"), str)
    if not whole or not isinstance(arguments, dict | None):
        raise InputError(
            f"Found {path}, which names no Nipype plugin ({fault}); needed YAML such as "
            "'plugin: MultiProc' and 'plugin_args: {n_procs: 4}'. Correct --use-plugin."
        )
    unknown = sorted(set(chosen) - {"plugin", "plugin_args"})
    if unknown:
        raise InputError(
            f"Found {', '.join(map(str, unknown))} in {path}, needed plugin and plugin_args only. "
            "Correct --use-plugin."
        )
    return chosen


def list_steps(graph, rows, materials, preparation):
    """List the steps of a run, each with the seconds it should take.

    Parameters
    ----------
    graph : nipype.pipeline.engine.Workflow
    rows : list of dict
        Of the worklist: the participant-sessions in the graph.
    materials : dict
        As for `run_workflows`.
    preparation : settings.Preparation

    Returns
    -------
    dict of str to forecast.Step
        By the full name of the node.
    """
    from bids_sexclf.participant.base import wf_name

    places = {"raw": materials.get("root", "")} | (materials.get("derivatives") or {})
    sizes, names = {}, {}
    for row in rows:
        folder = wf_name(row["participant_id"], row["session_id"])
        names[folder] = name_of(row["participant_id"], row["session_id"])
        sizes[folder] = measure_scans(take_over(row, places, preparation.template))
    steps, shapes = {}, {}
    for folder, session_name in names.items():
        workflow = graph.get_node(folder)
        shape = tuple(workflow.list_node_names())
        if shape not in shapes:  # most participant-sessions have the same steps
            shapes[shape] = _needs(workflow)
        for kind, needs in shapes[shape].items():
            place = f"{graph.name}.{folder}"
            steps[f"{place}.{kind}"] = Step(
                session_name,
                kind,
                foretell(kind, sizes[folder]),
                workflow.get_node(kind).n_procs or 1,
                tuple(f"{place}.{need}" for need in needs),
            )
    return steps


def _needs(workflow):
    """Return the steps of a workflow in order: name of a step to the names of steps it needs.

    Nodes that only pass values on (``inputnode``, ``outputnode``) are left out.
    """
    import networkx as nx

    flat, needs = workflow._create_flat_graph(), {}
    for node in nx.topological_sort(flat):
        required = set()
        for before in flat.predecessors(node):
            required |= needs[before] if before.name.endswith("putnode") else {before}
        needs[node] = required
    names = {node: node.fullname.partition(".")[2] for node in needs}
    return {
        names[node]: sorted(names[before] for before in required)
        for node, required in needs.items()
        if not node.name.endswith("putnode")
    }


def measure_scans(record):
    """Return how many values the scans of a participant-session hold.

    Parameters
    ----------
    record : prepared.Record

    Returns
    -------
    dict of str to float
        ``t1w`` and ``dwi``; files that cannot be read are left out.
    """
    import nibabel as nib

    sizes = {}
    for kind, files in {"t1w": record.t1w, "dwi": record.dwi}.items():
        try:
            shapes = [nib.load(path).shape for path in files]
        except Exception:  # nibabel raises many kinds; the forecast does not need it
            continue
        if shapes:
            sizes[kind] = float(sum(math.prod(shape) for shape in shapes))
    return sizes


def _progress(clock, advance, ended):
    """Return a callback that reports progress and adds the names of finished steps to `ended`."""
    finished = [0]

    def tell(node, status):
        name, now = node.fullname, time.monotonic()
        if name not in clock.steps or name in ended:
            return
        if status == "start":
            clock.begin(name, now)
        elif status == "cached":  # and its end follows
            clock.skip(name)
        else:
            clock.end(name, now, failed=status != "end")
        if status == "end":
            ended.add(name)
            finished[0] += node.name == "write"
        if advance:
            # Nipype calls this between two steps: a failing message must not end the run.
            with suppress(Exception):
                advance(len(ended), len(clock.steps), say_progress(clock, now, finished[0]))

    return tell


def _free_memory():
    """Return the available memory, GB."""
    import psutil

    return psutil.virtual_memory().available / 2**30
