"""The page of all participants: who is prepared, the quality, and the ratings by a person."""

import json
from importlib.resources import files
from pathlib import Path

from nipype.pipeline.engine import Node

from bids_sexclf import __version__
from bids_sexclf.disk import whole
from bids_sexclf.interfaces.pictures import DrawThumbnails
from bids_sexclf.layout import figure_name, name_of
from bids_sexclf.measures import NUMBERS
from bids_sexclf.quality import (
    flag,
    judge,
    mark,
    numbers,
    read_limits,
    read_quality,
    state_of,
)
from bids_sexclf.ratings import RATINGS, find_verdict
from bids_sexclf.ratings import read_ratings as read_verdicts
from bids_sexclf.tables import read_table, schema

PAGE = "index.html"

THUMBNAILS = {"t1wmaskthumb": "Brain mask", "t1wtemplatethumb": "Registration"}
"""Small pictures of a participant-session: key to what they show."""


def connect_thumbnails(workflow, anat_wf, gather, write, references, place, session_key):
    """Wire the small pictures of mask and registration, after those of the participant's page.

    Parameters
    ----------
    workflow, anat_wf : nipype.pipeline.engine.Workflow
        Of the participant-session; the one that prepares its T1w.
    gather : nipype.pipeline.engine.Node
        The ``Merge`` of all pictures.
    write : nipype.pipeline.engine.Node
        The node that writes them.
    references : dict of str to path-like
    place : int
        Input of `gather` that is free.
    session_key : tuple of str
        (participant_id, session_id).
    """
    thumbnails = Node(DrawThumbnails(template_mask=references["mask"]), "thumbnails", mem_gb=0.5)
    fields = [("t1w", "t1w"), ("mask", "mask"), ("t1w_template", "registered")]
    wires = [(f"outputnode.{field}", name) for field, name in fields]
    workflow.connect([(anat_wf, thumbnails, wires)])
    workflow.connect(thumbnails, "out_files", gather, f"in{place}")
    write.inputs.figure_names += [figure_name(*session_key, key, ".png") for key in THUMBNAILS]


def write_index(out):
    """Write the page of all participants from what lies in the output folder.

    Parameters
    ----------
    out : path-like
        Output folder. Its quality files, ``excluded.tsv`` and ``ratings.tsv`` are read.

    Returns
    -------
    pathlib.Path
        ``OUT/index.html``. The page needs no network and no server.
    """
    import jinja2

    columns = _describe_columns()
    rows, notes = _gather_rows(Path(out), list(columns))
    data = {
        "rows": rows,
        "columns": columns,
        "verdicts": schema("ratings")["verdict"]["Levels"],
        "thumbnails": list(THUMBNAILS.values()),
        "ratings_file": RATINGS,
        "notes": notes,
    }
    source = (files("bids_sexclf") / "data" / PAGE).read_text(encoding="utf-8")
    # "<" could end a script element, and the two separators end lines in old browsers.
    text = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    page = jinja2.Environment(autoescape=True).from_string(source)
    path = Path(out, PAGE)
    with whole(path) as part:
        part.write_text(
            page.render(data=text, rows=rows, version=__version__, notes=notes), encoding="utf-8"
        )
    return path


def _describe_columns():
    """Return the quality numbers that the page shows: name to title, unit and meaning."""
    return {
        name: {
            "title": NUMBERS[name][0] if name in NUMBERS else name.replace("_", " "),
            "unit": entry.get("Units", ""),
            "meaning": entry["Description"],
        }
        for name, entry in numbers().items()
    }


def _gather_rows(out, names):
    """Return one row per participant-session, prepared or left out, and notes on damaged files."""
    table, damaged = read_quality(out)
    limits, notes = read_limits(), list(damaged.values())
    ratings = {}
    try:
        ratings = read_verdicts(out / RATINGS)
    except ValueError as fault:
        notes.append(str(fault))
    verdicts, flags = judge(table, limits, ratings), flag(table)[0]
    rows = {}
    for position, record in enumerate(table.to_dict("records")):
        session_key = (record["participant_id"], record["session_id"])
        state = state_of(verdicts.gate[position], verdicts.flags[position])
        reason = verdicts.reasons[position] or verdicts.flags[position]
        rows[session_key] = _row(out, session_key, state, reason) | {
            "values": [_rounded(record[name]) for name in names],
            "marks": [mark(record[name], limits[name], name in flags[position]) for name in names],
        }
    for record in _excluded(out, notes):
        session_key = (record["participant_id"], record["session_id"])
        rows[session_key] = _row(out, session_key, "left out", record["reason"]) | {
            "values": [None] * len(names),
            "marks": [""] * len(names),
        }
    for session_key, row in rows.items():
        verdict, row["comment"] = find_verdict(ratings, *session_key)
        row["verdict"] = verdict or ""
    return [
        rows[session_key]
        for session_key in sorted(
            rows, key=lambda session_key: (session_key[0], session_key[1] or "")
        )
    ], notes


def _row(out, session_key, state, reason):
    """Return what the page shows of one participant-session, apart from its numbers."""
    stem = name_of(*session_key)
    pictures = [
        f"{session_key[0]}/figures/{figure_name(*session_key, key, '.png')}" for key in THUMBNAILS
    ]
    page = f"{stem}.html"
    return {
        "participant_id": session_key[0],
        "session_id": session_key[1] or "",
        "state": state,
        "reason": reason or "",
        "page": page if (out / page).exists() else "",
        "pictures": [path if (out / path).exists() else "" for path in pictures],
    }


def _rounded(value):
    """Return a number as the page shows it; None where it is unknown."""
    return None if value != value else float(f"{value:.4g}")


def _excluded(out, notes):
    """List who was left out, from excluded.tsv; a damaged table becomes a note."""
    path = out / "excluded.tsv"
    if not path.exists():
        return []
    try:
        table = read_table(path, "excluded")
    except ValueError as fault:
        notes.append(str(fault))
        return []
    return table.astype(object).where(table.notna(), None).to_dict("records")
