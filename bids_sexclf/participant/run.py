"""Run the participant level: find, check, prepare, and account for every participant."""

import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bids_sexclf import layout, resources
from bids_sexclf.citations import to_markdown, write_citations
from bids_sexclf.disk import locked, whole
from bids_sexclf.errors import REFUSALS, InputError, ToolError
from bids_sexclf.execute import processors, set_threads
from bids_sexclf.offers import find_offers, holds_scans, is_own_folder, read_by_participant
from bids_sexclf.participant.morphometry import write_atlases
from bids_sexclf.participant.preflight import check_dataset
from bids_sexclf.participant.report import (
    FIGURES,
    figure_name,
    name_of,
    sentences,
    write_report,
)
from bids_sexclf.participant.series import plan_series
from bids_sexclf.prepared import fill, scans_of
from bids_sexclf.settings import Preparation
from bids_sexclf.tables import read_table, write_table
from bids_sexclf.volumes import load, resample, save


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    ready : list of dict
        Worklist rows to prepare.
    finished : list of dict
        Rows that an earlier run has finished with the same choices.
    excluded : list of dict
        participant_id, session_id, stage, reason.
    worklist : pandas.DataFrame
        Every row found.
    """

    ready: list
    finished: list
    excluded: list
    worklist: object


def plan(bids_dir, out, run, preparation, advance=None):
    """Find the scans, check them all, and see what is already there.

    Parameters
    ----------
    bids_dir, out : path-like
    run : settings.Run
    preparation : settings.Preparation
    advance : callable, optional
        Called with (done, total) as scans are checked.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If the dataset, a label or a filter cannot be used, no participant is usable, or the output
        was made with other choices.
    ToolError
        If the template, or a program asked for, is not at hand.
    """
    resources.find_template(preparation.template, preparation.templates_dir)
    check_tools(preparation)
    folders = run.folders()
    if is_own_folder(bids_dir, folders):
        dataset = layout.PlainFolder(bids_dir)
    else:
        dataset = layout.open_dataset(
            bids_dir, validate=not run.skip_bids_validation, database_dir=run.bids_database_dir
        )
    worklist = make_worklist(dataset, folders, run, preparation)
    if worklist.empty:
        raise InputError(
            f"Found no T1w and no diffusion series in {bids_dir}, needed sub-*/anat/*_T1w.nii.gz "
            "or sub-*/dwi/*_dwi.nii.gz. Check the names, or the labels and filters given."
        )
    tell = _counter(advance, len(worklist))
    good, excluded = check_dataset(
        dataset,
        worklist,
        run.nprocs or processors(),
        tell,
        labelled=not run.allow_unlabelled,
        folders=folders,
        preparation=preparation,
    )
    if good.empty:
        reasons = "; ".join(excluded["participant_id"] + ": " + excluded["reason"])
        raise InputError(
            f"Found no usable participant among {len(worklist)} ({reasons}), needed at least one. "
            "Mend the scans or the tables named."
        )
    rows = [row | plan_series(dataset, row, preparation) for row in good.to_dict("records")]
    done = [is_finished(out, row, preparation) for row in rows]
    return Plan(
        ready=[row for row, there in zip(rows, done, strict=True) if not there],
        finished=[row for row, there in zip(rows, done, strict=True) if there],
        excluded=excluded.to_dict("records"),
        worklist=worklist,
    )


def check_tools(preparation):
    """Refuse choices that this machine has no programs or templates for.

    Parameters
    ----------
    preparation : settings.Preparation

    Raises
    ------
    ToolError
    """
    from bids_sexclf.participant import anat, dwi, maps, register

    for step in (anat, dwi, maps, register):
        step.check_tools(preparation)


def make_worklist(dataset, folders, run, preparation):
    """List every participant-session, with what others have prepared in place of what is raw.

    Parameters
    ----------
    dataset : bids.BIDSLayout or layout.PlainFolder
    folders : dict of str to path-like
        What others have prepared.
    run : settings.Run
    preparation : settings.Preparation

    Returns
    -------
    pandas.DataFrame
        The columns of the ``worklist`` table.
    """
    filters = _filters(run.bids_filter_file)
    offers = find_offers(folders, preparation.template, filters)
    first = [kind for kind in ("t1w", "dwi") if getattr(preparation, f"{kind}_runs") == "first"]
    worklist = layout.find_scans(
        dataset,
        run.participant_label,
        run.session_label,
        filters,
        others=[key for name in offers if holds_scans(name) for key in offers[name]],
        first=first,
    )
    rows = [fill(row, offers) for row in worklist.to_dict("records")]
    return worklist.__class__(rows, columns=worklist.columns, dtype=object)


def _counter(advance, total):
    """Turn 'one more' into 'so many of so many'."""
    if advance is None:
        return None
    state = iter(range(1, total + 1))
    return lambda: advance(next(state), total)


def _filters(path):
    """Read the file of BIDS filters."""
    if path is None:
        return {}
    try:
        return json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed JSON such as "
            '{"dwi": {"direction": "AP"}}. Correct --bids-filter-file.'
        ) from fault


CHANGING = tuple(name for name in Preparation.model_fields if name != "templates_dir")
"""Choices that must agree between the runs that share an output folder."""


def is_finished(out, row, preparation):
    """Say whether a participant-session is finished, with the same scans and choices.

    Parameters
    ----------
    out : path-like
    row : dict
        Of the worklist.
    preparation : settings.Preparation

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If it was made with other choices: results of two kinds must not mix in one folder.
    """
    path = Path(out, layout.derivative("quality", row["participant_id"], row["session_id"]))
    if not path.exists():
        return False
    held, asked = json.loads(path.read_text()), preparation.provenance()
    before = held.get("GeneratedWith", {})
    other = [key for key in CHANGING if before.get(key) != asked[key]]
    if other:
        told = "; ".join(f"{key} {before.get(key)}, this run asks {asked[key]}" for key in other)
        raise InputError(
            f"Found {path} made with {told}; needed one set of choices per output folder. Choose "
            "another output folder, or remove the participant's."
        )
    return held.get("Scans") in (None, scans_of(row))


def execute(bids_dir, out, run, preparation, planned, advance=None):
    """Prepare every participant-session of a plan.

    Parameters
    ----------
    bids_dir, out : path-like
    run : settings.Run
    preparation : settings.Preparation
    planned : Plan
    advance : callable, optional
        Called with (steps done, steps in all, participant-sessions finished).

    Returns
    -------
    list of dict
        Every participant-session left out: participant_id, session_id, stage, reason. The tables
        ``worklist`` and ``excluded`` are in the output folder.
    """
    out, work = Path(out), Path(run.work_dir or Path(out, "work")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    folders = {n: path.resolve() for n, path in run.folders().items() if read_by_participant(n)}
    links = {"raw": bids_dir} | folders
    layout.write_description(out, "bids_sexclf: maps on a common grid", links)
    write_table(planned.worklist, out / "worklist.tsv", "worklist")
    write_boilerplate(out, planned.worklist, preparation)
    for row in planned.excluded:
        _report_failure(out, row, planned.worklist, preparation)
    template = resources.find_template(preparation.template, preparation.templates_dir)
    places = {
        "root": Path(bids_dir).resolve(),
        "out": out.resolve(),
        "template": template,
        "references": write_references(out, template, preparation),
        "atlases": _atlases(out, template, run, preparation, planned),
        "derivatives": folders,
    }
    failed = []
    if planned.ready:
        failed = _run_workflows(places, work, run, preparation, planned.ready, advance)
    excluded = planned.excluded + failed
    _write_excluded(out, excluded, planned)
    for row in failed:
        _report_failure(out, row, planned.worklist, preparation)
    if run.clean_workdir and not failed:
        shutil.rmtree(work, ignore_errors=True)
    return excluded


def _atlases(out, template, run, preparation, planned):
    """Write the atlases that some participant's T1w needs."""
    if not any(row["t1w"] for row in planned.ready):
        return []
    folders = [run.atlas_dir] if run.atlas_dir else []
    return write_atlases(out, template, preparation, folders)


def rewrite_reports(out, planned, preparation):
    """Write the page of every finished participant-session again.

    Parameters
    ----------
    out : path-like
    planned : Plan
    preparation : settings.Preparation

    Returns
    -------
    int
        How many were written.
    """
    for row in planned.finished:
        path = Path(out, layout.derivative("quality", row["participant_id"], row["session_id"]))
        numbers = json.loads(path.read_text())
        write_report(
            out,
            row["participant_id"],
            row["session_id"],
            numbers=numbers,
            provenance=numbers.get("GeneratedWith", preparation.provenance()),
            sources=scans_of(row),
            note=row["note"],
        )
    for row in planned.excluded:
        _report_failure(out, row, planned.worklist, preparation)
    return len(planned.finished) + len(planned.excluded)


def write_boilerplate(out, worklist, preparation):
    """Write the methods text of the participant level to ``logs/CITATION.{md,html,tex,bib}``.

    Parameters
    ----------
    out : path-like
    worklist : pandas.DataFrame
    preparation : settings.Preparation

    Returns
    -------
    str
        The text, with a sentence for every step that some participant's scans need.
    """
    told, provenance = {}, preparation.provenance()
    for row in worklist.to_dict("records"):
        told |= dict.fromkeys(sentences(provenance, scans_of(row)))
    text = " ".join(told)
    write_citations(text, Path(out, "logs"))
    return to_markdown(text)


def _run_workflows(places, work, run, preparation, rows, advance):
    """Run the graph of all participants; give the rows of those that failed."""
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
    graph = Workflow("bids_sexclf_wf", base_dir=str(work))
    for row in rows:
        _remove_parts(out, row)
        road = init_participant_wf(
            row=row, **places, preparation=preparation, threads=run.omp_nthreads
        )
        graph.add_nodes([road])
    started, ended = time.time() - 1, set()
    _run_graph(graph, run, advance, ended)
    traces = _read_crashes(crashes, started)
    failed = []
    for row in rows:
        if is_finished(out, row, preparation):
            continue
        name = wf_name(row["participant_id"], row["session_id"])
        node, trace = next((each for each in traces.items() if f".{name}." in each[0]), ("", ""))
        _keep_pictures(out, work / graph.name / name, row, ended)
        failed.append(
            {
                "participant_id": row["participant_id"],
                "session_id": row["session_id"],
                "stage": "participant",
                "reason": reason_of(trace.splitlines(), node.partition(f".{name}.")[2]),
                "trace": trace,
            }
        )
    return failed


def _read_crashes(folder, since):
    """Read what Nipype wrote of the nodes that failed: full name of the node to its traceback."""
    found = {}
    for path in sorted(folder.glob("crash-*.txt")):
        if path.stat().st_mtime >= since:
            head, _, trace = path.read_text().partition("Traceback")
            node = re.search(r"^Node: (\S+)", head, re.M)
            found[node.group(1) if node else path.name] = "Traceback" + trace
    return found


def _keep_pictures(out, folder, row, ended):
    """Put the pictures that were drawn before a step failed where the page looks for them."""
    who = (row["participant_id"], row["session_id"])
    for section in FIGURES.values():
        for key in section:
            target = Path(out, who[0], "figures", figure_name(*who, key))
            target.unlink(missing_ok=True)  # of an earlier run
            source = folder / key / "picture.svg"
            # What this run has neither drawn nor found up to date shows something else.
            if f"{folder.parent.name}.{folder.name}.{key}" in ended and source.exists():
                with whole(target) as part:
                    shutil.copyfile(source, part)


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


def write_references(out, template, preparation):
    """Write the brain, mask and white matter of the template on the group grid.

    They lie beside the participants, so that the group level needs nothing else.

    Parameters
    ----------
    out : path-like
    template : resources.Template
    preparation : settings.Preparation

    Returns
    -------
    dict of str to str
        ``brain``, ``mask``, ``white``: absolute paths.
    """
    label = layout.number_label(preparation.resolution)
    paths = {
        kind: Path(out, layout.reference(kind, template.name, label)).resolve()
        for kind in layout.REFERENCES
    }
    # Kept as they are where they exist, so that finished steps stay valid.
    if not all(path.exists() for path in paths.values()):
        grid = resources.group_grid(template, preparation.resolution)
        mask = resample(*load(template.mask, ndim=3), grid) > 0.5
        save(resample(*load(template.brain, ndim=3), grid) * mask, grid.affine, paths["brain"])
        save(mask, grid.affine, paths["mask"])
        white = resources.white_matter(template.name, grid, preparation.templates_dir) & mask
        save(white, grid.affine, paths["white"])
    return {kind: str(path) for kind, path in paths.items()}


NAMED = tuple(kind.__name__ for kind in REFUSALS)
NO_SPACE = (
    r"\[Errno (?:28|27|122)\]|No space left|File too large|quota exceeded|written only in part"
)
"""Errors that say themselves what to do; what ENOSPC, EFBIG and EDQUOT are called in messages."""


def reason_of(trace, step=""):
    """Find the sentence that says what went wrong in a traceback.

    Parameters
    ----------
    trace : list of str
        Lines.
    step : str
        Name of the step that failed.

    Returns
    -------
    str
        The message of the innermost error, on one line, at most 500 characters.
    """
    text = "\n".join(trace)
    found = re.findall(r"^\s*(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt)): (.*)$", text, re.M)
    ours = [f"{kind}: {message}" for kind, message in found if kind != "NodeExecutionError"]
    if not ours:
        return (
            text.strip().splitlines()
            or [
                "the step ended without a message; it may have been "
                "killed for memory: give --mem, or fewer --nprocs"
            ]
        )[-1][:500]
    if re.search(NO_SPACE, ours[0]):
        return (
            f"ToolError: Found no space left to write ({ours[0][:200]}), needed room for the "
            "output and work folders. Free some, or give another work folder by -w or a higher "
            "file size limit, and run again: finished steps are kept."
        )
    if step and ours[0].split(":")[0] not in NAMED:
        return (
            f"ToolError: Found that step {step} ended with {ours[0][:300]}; needed it to finish. "
            "Look at the scans, and at this participant's page for where it failed."
        )
    return ours[0][:500]


def _report_failure(out, row, worklist, preparation):
    """Write the page of a participant-session that was left out."""
    match = worklist[worklist["participant_id"] == row["participant_id"]].to_dict("records")
    scans = next((r for r in match if r["session_id"] == row["session_id"]), {})
    write_report(
        out,
        row["participant_id"],
        row["session_id"],
        error=row["reason"],
        trace=row.get("trace"),
        provenance=preparation.provenance(),
        sources=scans_of(scans),
        note=scans.get("note"),
    )


def _write_excluded(out, excluded, planned):
    """Write excluded.tsv; rows of participants that this run did not look at stay."""
    import pandas as pd

    columns = ["participant_id", "session_id", "stage", "reason"]
    path = out / "excluded.tsv"
    with locked(out / "logs" / "excluded.lock"):
        kept = read_table(path, "excluded") if path.exists() else pd.DataFrame(columns=columns)
        seen = set(planned.worklist["participant_id"])
        kept = kept[~kept["participant_id"].isin(seen)]
        rows = pd.DataFrame(excluded, columns=columns, dtype=object)
        both = rows if kept.empty else pd.concat([kept, rows]) if len(rows) else kept
        write_table(both.sort_values("participant_id"), path, "excluded")


def _remove_parts(out, row):
    """Remove what a killed run left half-written."""
    stem = name_of(row["participant_id"], row["session_id"])
    person = Path(out, row["participant_id"])
    for folder in (person / (row["session_id"] or ""), person / "figures"):
        for path in folder.rglob(f".part-*-{stem}*"):
            path.unlink(missing_ok=True)
