"""Tell what went wrong for whom: from crash files to a reason, a page and ``excluded.tsv``."""

import re
import shutil
from pathlib import Path

from bids_sexclf.disk import whole
from bids_sexclf.errors import REFUSALS
from bids_sexclf.given.prepared import scans_of
from bids_sexclf.layout import figure_name
from bids_sexclf.locks import hold
from bids_sexclf.participant.report import FIGURES, write_report
from bids_sexclf.tables import read_table, write_table

NAMED = tuple(kind.__name__ for kind in REFUSALS)
"""Errors that say themselves what to do."""

NO_SPACE = (
    r"\[Errno (?:28|27|122)\]|No space left|File too large|quota exceeded|written only in part"
)
"""What ENOSPC, EFBIG and EDQUOT are called in messages."""


def read_crashes(folder, since):
    """Read what Nipype wrote of the nodes that failed.

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
    found = {}
    for path in sorted(folder.glob("crash-*.txt")):
        if path.stat().st_mtime >= since:
            head, _, trace = path.read_text().partition("Traceback")
            node = re.search(r"^Node: (\S+)", head, re.M)
            found[node.group(1) if node else path.name] = "Traceback" + trace
    return found


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


def tell_failure(out, row, folder, traces, ended):
    """Give the row of ``excluded.tsv`` of who was not finished, and keep the pictures drawn.

    Parameters
    ----------
    out : pathlib.Path
        Output folder.
    row : dict
        Of the worklist.
    folder : pathlib.Path
        Of the participant-session's workflow.
    traces : dict
        As `read_crashes` gives it.
    ended : set of str
        Full names of the nodes that this run has finished.

    Returns
    -------
    dict
        participant_id, session_id, stage, reason, trace.
    """
    within = f".{folder.name}."
    node, trace = next((each for each in traces.items() if within in each[0]), ("", ""))
    _keep_pictures(out, folder, row, ended)
    return {
        "participant_id": row["participant_id"],
        "session_id": row["session_id"],
        "stage": "participant",
        "reason": reason_of(trace.splitlines(), node.partition(within)[2]),
        "trace": trace,
    }


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
        provenance=preparation.provenance(),
        sources=scans_of(scans),
        note=scans.get("note"),
    )


def write_excluded(out, excluded, planned):
    """Write ``excluded.tsv``; rows of participants that this run did not look at stay.

    Parameters
    ----------
    out : pathlib.Path
    excluded : list of dict
        participant_id, session_id, stage, reason.
    planned : plan.Plan
    """
    import pandas as pd

    columns = ["participant_id", "session_id", "stage", "reason"]
    path = out / "excluded.tsv"
    with hold(out / "logs" / "locks" / "excluded.lock", "excluded.tsv is being written"):
        kept = read_table(path, "excluded") if path.exists() else pd.DataFrame(columns=columns)
        seen = set(planned.worklist["participant_id"])
        kept = kept[~kept["participant_id"].isin(seen)]
        rows = pd.DataFrame(excluded, columns=columns, dtype=object)
        both = rows if kept.empty else pd.concat([kept, rows]) if len(rows) else kept
        write_table(both.sort_values("participant_id"), path, "excluded")
