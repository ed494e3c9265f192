"""Find the steps in the work folder that must run again: an input or a result has changed.

Nipype compares the inputs of a step by size and time. It misses a new file that has the size and
the time of the old one. So the files that steps read from outside the work folder are compared by
fingerprint before a run. Nipype does not check either that the results of a step still exist, and
many clusters delete old intermediate files.
"""

import os
from pathlib import Path

from bids_sexclf.disk import remove_folder, write_json
from bids_sexclf.participant.finished import read_known, take_fingerprints

GRAPH = "bids_sexclf_wf"
"""Name of the graph of all participants, and of its folder in the work folder."""

RECORD = "inputs.json"
"""File in the folder of a workflow: what its steps have read, path to fingerprint."""


def list_reads(workflow):
    """List the input files of all steps of a workflow, before it runs.

    Parameters
    ----------
    workflow : nipype.pipeline.engine.Workflow
        Of one participant-session.

    Returns
    -------
    dict of str to set of tuple
        Path of each file to the steps that read it: names from the workflow's own inwards.
    """
    from nipype.interfaces.utility import IdentityInterface

    flat = workflow._create_flat_graph()

    def readers(node):
        """Return the computing nodes that follow a node; skip nodes that only pass values on."""
        if not isinstance(node.interface, IdentityInterface):
            return {tuple(node.fullname.split("."))}
        return set().union(*(readers(after) for after in flat.successors(node)))

    reads = {}
    for node in flat.nodes():
        for path in filter(os.path.isfile, _paths_in(node.inputs.get_traitsfree())):
            reads.setdefault(path, set()).update(readers(node))
    return reads


def _paths_in(value):
    """List the absolute paths in the inputs or outputs of a step."""
    if isinstance(value, dict):
        return [path for entry in value.values() for path in _paths_in(entry)]
    if isinstance(value, (list, tuple)):
        return [path for entry in value for path in _paths_in(entry)]
    return [str(value)] if isinstance(value, (str, Path)) and os.path.isabs(value) else []


def forget_changed(work, workflow, reads):
    """Remove the folders of steps that have read a file whose content has changed.

    Nipype then also repeats the steps that depend on them, since their results are newer.

    Parameters
    ----------
    work : path-like
        Work folder.
    workflow : nipype.pipeline.engine.Workflow
    reads : dict
        As `list_reads` returns it.

    Returns
    -------
    list of str
        The files that have changed.
    """
    home = Path(work, GRAPH, workflow.name)
    recorded = read_known(home / RECORD)
    current = take_fingerprints(reads, recorded)
    changed = [
        path
        for path in reads
        if path in recorded and current.get(path, {}).get("sha256") != recorded[path].get("sha256")
    ]
    for step in {step for path in changed for step in reads[path]}:
        remove_folder(home.joinpath(*step[1:]), home)
    write_json(recorded | current, home / RECORD)
    return changed


def forget_incomplete(work, workflow):
    """Remove the folders of steps of which a result is missing, so that they run again.

    Parameters
    ----------
    work : path-like
        Work folder.
    workflow : nipype.pipeline.engine.Workflow

    Returns
    -------
    list of pathlib.Path
        The folders that were removed.
    """
    home = Path(work, GRAPH, workflow.name)
    lost = [path.parent for path in home.rglob("result_*.pklz") if not _is_complete(path)]
    for folder in lost:
        remove_folder(folder, home)
    return lost


def _is_complete(path):
    """Return whether all files exist that the result of a step names."""
    from nipype.pipeline.engine.utils import load_resultfile

    try:
        outputs = load_resultfile(str(path)).outputs
        values = outputs.get_traitsfree() if outputs is not None else {}
    except Exception:  # a damaged file may raise anything
        return False
    return all(os.path.exists(path) for path in _paths_in(values))
