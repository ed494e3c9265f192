"""Describe what a run would do, before it does anything: one block per participant."""

import textwrap
from pathlib import Path

import numpy as np

from bids_sexclf.derivatives.prepared import locate, source_of
from bids_sexclf.execute import processors
from bids_sexclf.layout import name_of, paths
from bids_sexclf.motion.align import motion_gb
from bids_sexclf.participant.series import parts_of
from bids_sexclf.people import list_people
from bids_sexclf.volumes import read_grid, series_gb

WIDTH = 100
"""Characters of a line."""

KINDS = {
    "t1w": "T1w",
    "dwi": "diffusion",
    "maps": "maps",
    "t1w_mask": "brain mask",
    "t1w_to_template": "transform",
    "dwi_mask": "diffusion mask",
}
"""Column of the worklist to its name in a block; other columns follow from these."""

T1W_S, T1W_S_PER_MILLION = 100.0, 8.0
"""Processor time of a T1w by the ``accurate`` recipe, s, and what each million voxels adds."""

DWI_S, DWI_S_PER_MILLION = 60.0, 2.0
"""Processor time of a diffusion series, s, and what each million values adds (voxels x volumes)."""

RECIPES = {"accurate": 1.0, "fast": 0.6}
"""Registration to its share of the time of a T1w."""

SLOPPY = 0.2
"""Share of the time that ``--sloppy`` takes."""

T1W_GB = 3.0
"""Memory that the registration of a T1w is planned with, GB."""


def foresee(planned, preparation, nprocs=None):
    """Describe a plan.

    Parameters
    ----------
    planned : plan.Plan
    preparation : settings.Preparation
    nprocs : int, optional
        Processes; all processors by default.

    Yields
    ------
    str
        Lines: a block for each participant-session, then a summary.
    """
    again = {_key(row): row["reason"] for row in planned.again}
    blocks = [(_key(row), _describe_ready, row) for row in planned.ready]
    blocks += [(_key(row), _describe_finished, row) for row in planned.finished]
    blocks += [(_key(row), _describe_excluded, row) for row in planned.excluded]
    for key, describe, row in sorted(blocks, key=lambda block: (block[0][0], block[0][1] or "")):
        yield from describe(row, planned.places, preparation, again.get(key))
        yield ""
    yield from _summarize(planned, preparation, nprocs or processors())


def estimate(row, places, preparation):
    """Estimate roughly the time and memory of a participant-session.

    Parameters
    ----------
    row : dict
        Of the worklist.
    places : dict
        As `finished.find_places` returns it.
    preparation : settings.Preparation

    Returns
    -------
    minutes : float
        Of one processor.
    memory : float
        Of the largest step, GB.
    """
    seconds, memory = 0.0, 1.0
    t1w = [locate(uri, places) for uri in paths(row["t1w"])]
    series = [locate(uri, places) for uri in paths(row["dwi"])]
    if t1w:
        share = RECIPES.get(preparation.registration, 1.0)
        millions = sum(_count_voxels(path) for path in t1w) / 1e6
        seconds += share * T1W_S + T1W_S_PER_MILLION * millions
        memory = T1W_GB
    if series:
        size = sum(map(series_gb, series))
        seconds += DWI_S + DWI_S_PER_MILLION * size * 2**30 / 4 / 1e6
        raw = source_of(paths(row["dwi"])[0]) == "raw"
        copies = {"none": 0, "patch2self": 4}.get(preparation.denoise, 2) if raw else 0
        moved = sum(map(motion_gb, series)) if raw else 0.0
        memory = max(memory, 0.5 + moved, 0.5 + copies * size)
    seconds *= SLOPPY if preparation.sloppy else 1
    return seconds / 60, memory


def _count_voxels(path):
    """Count the voxels of an image; return those of a common scan where it is unreadable."""
    try:
        return float(np.prod(read_grid(path).shape))
    except ValueError:
        return 1e7


def _key(row):
    return row["participant_id"], row["session_id"]


def _describe_ready(row, places, preparation, again):
    """Describe a participant-session that will be prepared."""
    minutes, memory = estimate(row, places, preparation)
    yield (
        f"{name_of(*_key(row))}: to prepare, about {_say_minutes(minutes)} of one processor, "
        f"{memory:.0f} GB"
    )
    if again:
        yield from _line("again", again)
    yield from _describe_scans(row)
    for index, note in enumerate(split_notes(row["note"] or "")):
        yield from _line("" if index else "notes", note)


def split_notes(text):
    """Split the note of a worklist at its semicolons, except within brackets.

    Examples
    --------
    >>> split_notes("one scan (of two; the first); no T1w")
    ['one scan (of two; the first)', 'no T1w']
    """
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == ";" and depth <= 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def _describe_finished(row, places, preparation, again):
    """Describe a participant-session that an earlier run has prepared."""
    yield f"{name_of(*_key(row))}: finished before"


def _describe_excluded(row, places, preparation, again):
    """Describe a participant-session that is left out."""
    yield f"{name_of(*_key(row))}: left out"
    yield from _line("reason", row["reason"])


def _describe_scans(row):
    """List the scans that will be used."""
    for kind, title in KINDS.items():
        for path in paths(row.get(kind)):
            yield from _line(title, path)
    for part in parts_of(row):
        correction = part.distortion
        if correction is not None and correction.method != "none":
            # The reason stands in the notes.
            inputs = correction.inputs or {}
            with_what = Path(inputs["name"]).name if inputs.get("name") else "the T1w"
            yield from _line("corrected", f"distortion, by {correction.method} with {with_what}")


def _line(title, text):
    """Write one entry of a block, wrapped to several lines where needed."""
    start = f"    {title:<15} "
    return textwrap.wrap(
        " ".join(str(text).split()),
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summarize(planned, preparation, nprocs):
    """Summarize the plan."""
    needs = [estimate(row, planned.places, preparation) for row in planned.ready]
    minutes, memory = sum(need[0] for need in needs), max((need[1] for need in needs), default=0)
    yield (
        f"{len(planned.ready)} to prepare, {len(planned.finished)} finished before, "
        f"{len(planned.excluded)} left out."
    )
    if planned.empty:
        yield tell_empty(planned.empty)
    if needs:
        side = min(nprocs, len(needs))
        yield (
            f"Roughly {_say_minutes(minutes)} of processor time, {_say_minutes(minutes / side)} "
            f"with {side} side by side; the largest step takes {memory:.0f} GB."
        )
    if planned.excluded:
        yield f"Left out: {list_people(planned.excluded)}; the reasons stand above."


def tell_empty(names):
    """Return one line that lists the sessions with nothing to prepare.

    Parameters
    ----------
    names : list of str

    Returns
    -------
    str
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    plural = "s hold" if len(names) > 1 else " holds"
    return (
        f"{len(names)} session{plural} neither T1w nor diffusion series and count as nothing: "
        f"{', '.join(names[:3])}{more}."
    )


def _say_minutes(minutes):
    """Return a duration in minutes or hours, as text."""
    if minutes >= 120:
        return f"{minutes / 60:.0f} h"
    return f"{max(minutes, 1):.0f} min"
