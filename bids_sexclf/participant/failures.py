"""Report failures: turn crash files into a reason, a page and a row of ``excluded.tsv``."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

from bids_sexclf.derivatives.prepared import scans_of
from bids_sexclf.disk import whole
from bids_sexclf.errors import REFUSALS
from bids_sexclf.faults import explain
from bids_sexclf.layout import figure_name, name_of
from bids_sexclf.locks import hold
from bids_sexclf.participant.captions import FIGURES
from bids_sexclf.participant.index import THUMBNAILS
from bids_sexclf.participant.report import write_report
from bids_sexclf.tables import read_table, write_table

LOCKS = Path("logs", "locks")
"""Folder of the locks in the output folder."""

NAMED = tuple(kind.__name__ for kind in REFUSALS)
"""Errors whose message already says what to do."""

NO_SPACE = (
    r"\[Errno (?:28|27|122)\]|No space left|File too large|quota exceeded|written only in part"
)
"""What ENOSPC, EFBIG and EDQUOT are called in messages."""


def read_crashes(folder, since):
    """Read the crash files that Nipype wrote for the nodes that failed.

    Parameters
    ----------
    folder : pathlib.Path
        Where crash files lie.
    since : float
        Time of the oldest file to read, s.

    Returns
    -------
    dict of str to str
        Full name of the node to its traceback.
    """
    tracebacks = {}
    for path in sorted(folder.glob("crash-*.txt")):
        try:
            if path.stat().st_mtime < since:
                continue
            head, _, trace = path.read_text(errors="replace").partition("Traceback")
        except OSError:  # another job's, which is just being removed
            continue
        node = re.search(r"^Node: (\S+)", head, re.M)
        tracebacks[node.group(1) if node else path.name] = "Traceback" + trace
    return tracebacks


def reason_of(trace, step=""):
    """Find the error message in a traceback.

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
    errors = re.findall(r"^\s*(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt)): (.*)$", text, re.M)
    ours = [f"{kind}: {message}" for kind, message in errors if kind != "NodeExecutionError"]
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


def reason_of_fault(fault):
    """Describe an error that was raised before any step had begun.

    Parameters
    ----------
    fault : Exception

    Returns
    -------
    str
        On one line, at most 500 characters.
    """
    explained = explain(fault)
    if explained is not None:
        return " ".join(explained.message.split())[:500]
    words = " ".join(str(fault).split())
    return (
        f"ToolError: Found that the steps could not be planned ({type(fault).__name__}: "
        f"{words[:250]}), needed scans and sidecars that fit them. Look at the scans and their "
        "sidecars."
    )


def row_of_failure(row, reason, trace=""):
    """Return the row of ``excluded.tsv`` of a participant-session.

    Parameters
    ----------
    row : dict
        Of the worklist.
    reason, trace : str

    Returns
    -------
    dict
        participant_id, session_id, stage, reason, trace.
    """
    session_key = {key: row[key] for key in ("participant_id", "session_id")}
    return session_key | {"stage": "participant", "reason": reason, "trace": trace}


def tell_failure(out, row, folder, traces, ended):
    """Return the row of ``excluded.tsv`` of an unfinished session, and keep its pictures.

    Parameters
    ----------
    out : pathlib.Path
        Output folder.
    row : dict
        Of the worklist.
    folder : pathlib.Path
        Of the participant-session's workflow.
    traces : dict
        As `read_crashes` returns it.
    ended : set of str
        Full names of the nodes that this run has finished.

    Returns
    -------
    dict
        participant_id, session_id, stage, reason, trace.
    """
    within = f".{folder.name}."
    node, trace = next((entry for entry in traces.items() if within in entry[0]), ("", ""))
    # The pictures help, but the failure must be reported even where the disk is full.
    with suppress(OSError):
        _keep_pictures(out, folder, row, ended)
    return row_of_failure(row, reason_of(trace.splitlines(), node.partition(within)[2]), trace)


def _keep_pictures(out, folder, row, ended):
    """Copy the pictures that were drawn before a step failed to the folder of the page."""
    session_key = (row["participant_id"], row["session_id"])
    for key in THUMBNAILS:  # of an earlier run
        Path(out, session_key[0], "figures", figure_name(*session_key, key, ".png")).unlink(
            missing_ok=True
        )
    for section in FIGURES.values():
        for key in section:
            target = Path(out, session_key[0], "figures", figure_name(*session_key, key))
            target.unlink(missing_ok=True)  # of an earlier run
            source = folder / key / "picture.svg"
            # A picture that this run has neither drawn nor found up to date is of an earlier run.
            drawn = source.exists() and source.stat().st_size
            if f"{folder.parent.name}.{folder.name}.{key}" in ended and drawn:
                with whole(target) as part:
                    shutil.copyfile(source, part)


def report_failure(out, row, worklist, preparation):
    """Write the page of a participant-session that was left out.

    Parameters
    ----------
    out : path-like
    row : dict
        participant_id, session_id, reason and, where a step failed, trace.
    worklist : pandas.DataFrame
    preparation : settings.Preparation
    """
    match = worklist[worklist["participant_id"] == row["participant_id"]].to_dict("records")
    scans = next((r for r in match if r["session_id"] == row["session_id"]), {})
    write_report(
        out,
        row["participant_id"],
        row["session_id"],
        error=row["reason"],
        trace=row.get("trace"),
        stage=row.get("stage"),
        provenance=preparation.provenance(),
        sources=scans_of(scans),
        note=scans.get("note"),
    )


def report_failures(out, rows, worklist, preparation, tell):
    """Write the pages of participant-sessions that were left out; report pages that fail.

    Parameters
    ----------
    out : path-like
    rows : list of dict
        As for `report_failure`.
    worklist : pandas.DataFrame
    preparation : settings.Preparation
    tell : callable
        Called with a sentence for each page that could not be written.
    """
    for row in rows:
        try:
            report_failure(out, row, worklist, preparation)
        except Exception as fault:
            session_name = name_of(row["participant_id"], row["session_id"])
            tell(
                f"warning: the page of {session_name} could not be written: "
                f"{reason_of_fault(fault)}"
            )


def write_excluded(out, excluded, planned, tell=None):
    """Write ``excluded.tsv``; keep the rows of participant-sessions outside this run.

    Parameters
    ----------
    out : pathlib.Path
    excluded : list of dict
        participant_id, session_id, stage, reason.
    planned : plan.Plan
    tell : callable, optional
        Called with a sentence where the table that was there is damaged.
    """
    import pandas as pd

    columns = ["participant_id", "session_id", "stage", "reason"]
    rows = pd.DataFrame(excluded, columns=columns, dtype=object)
    update_table(rows, out, "excluded", planned.worklist, tell)


def update_table(rows, out, name, looked_at, tell=None):
    """Write a job's rows into a table of the output folder; rows of other jobs stay.

    Parameters
    ----------
    rows : pandas.DataFrame
        participant_id, session_id, and more.
    out : pathlib.Path
    name : str
        Of the table: ``NAME.tsv`` in the output folder.
    looked_at : pandas.DataFrame
        participant_id, session_id: the rows that this job answers for.
    tell : callable, optional
        Called with a sentence where the table that was there is damaged.
    """
    import pandas as pd

    path = Path(out, f"{name}.tsv")
    with hold(Path(out, LOCKS, f"{name}.lock"), f"{path.name} is being written"):
        try:
            older = read_table(path, name) if path.exists() else rows.iloc[:0]
        except (ValueError, OSError) as fault:
            older = rows.iloc[:0]
            if tell:
                tell(
                    f"warning: {path} was damaged ({fault}), and is made anew with this run's rows"
                )
        keys = _pairs(looked_at)
        keys |= {(person, None) for person, _ in keys}  # from before there were sessions
        older = older[[pair not in keys for pair in _pairs(older, list)]]
        parts = [part for part in (older, rows) if len(part)]
        combined = pd.concat(parts).astype(object) if parts else rows
        combined = combined.sort_values(["participant_id", "session_id"], na_position="first")
        write_table(combined, path, name)


def _pairs(frame, kind=set):
    """Return participant and session of each row; the session is None where there is none."""
    sessions = (session if isinstance(session, str) else None for session in frame["session_id"])
    return kind(zip(frame["participant_id"], sessions, strict=True))
