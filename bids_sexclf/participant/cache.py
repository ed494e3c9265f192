"""The steps in the work folder: those whose inputs or results are not what they were run again.

Nipype knows a step's inputs by size and time. A file of the same size that was put in place with
the time of the one before would pass for it; so the files that steps read from outside the work
folder are compared by fingerprint before a run. Nor does Nipype look whether what a step has made
is still there: disks for intermediate files are often purged of old ones.
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
    """List the files that the steps of a workflow are given before it runs.

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
        """Follow nodes that only hand on to those that compute."""
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
        return [path for each in value.values() for path in _paths_in(each)]
    if isinstance(value, (list, tuple)):
        return [path for each in value for path in _paths_in(each)]
    return [str(value)] if isinstance(value, (str, Path)) and os.path.isabs(value) else []


def forget_changed(work, workflow, reads):
    """Remove the folders of steps that have read a file whose content has changed since.

    What follows on them is made again by Nipype, since their results are then newer.

    Parameters
    ----------
    work : path-like
        Work folder.
    workflow : nipype.pipeline.engine.Workflow
    reads : dict
        As `list_reads` gives it.

    Returns
    -------
    list of str
        The files that have changed.
    """
    home = Path(work, GRAPH, workflow.name)
    known = read_known(home / RECORD)
    now = take_fingerprints(reads, known)
    changed = [
        path
        for path in reads
        if path in known and now.get(path, {}).get("sha256") != known[path].get("sha256")
    ]
    for step in {step for path in changed for step in reads[path]}:
        remove_folder(home.joinpath(*step[1:]), home)
    write_json(known | now, home / RECORD)
    return changed


def forget_incomplete(work, workflow):
    """Remove the folders of steps whose results are not all there, so that they run again.

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
    """Return whether the files that a step's result names are all there."""
    from nipype.pipeline.engine.utils import load_resultfile

    try:
        outputs = load_resultfile(str(path)).outputs
        values = outputs.get_traitsfree() if outputs is not None else {}
    except Exception:  # a damaged file may raise anything
        return False
    return all(os.path.exists(path) for path in _paths_in(values))
