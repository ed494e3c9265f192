"""Whether a stage is finished, and whether what it rests on belongs together.

The rules are told in ``base``.
"""

import importlib
from contextlib import contextmanager
from pathlib import Path

from bids_sexclf.disk import remove_folder, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.group import _notes
from bids_sexclf.layout import versions

STAGES = (
    "cohort",
    "differences",
    "splits",
    "fit",
    "evaluate",
    "attribute",
    "regions",
    "agreement",
    "sanity",
    "audit",
    "report",
)


def module(stage):
    """Import a stage."""
    return importlib.import_module(f"bids_sexclf.group.{stage}")


def state(desk, stage):
    """Say what a stage would do.

    Parameters
    ----------
    desk : base.Desk
    stage : str

    Returns
    -------
    {"run", "finished", "inputs changed", "asked for"}

    Raises
    ------
    InputError
        If it has run with other choices and is not asked for by ``--first``.
    """
    if desk.run.first == stage:
        return "asked for"
    note = _notes.read_note(note_of(desk, stage))
    if note is None or _changed_outputs(desk, stage, note):
        return "run"
    differing = _other_choices(desk, stage, note)
    if differing and not _asked_before(desk, stage):
        raise InputError(
            f"Found {module(stage).WRITES[0]} made with {differing}; needed one set of choices per "
            f"study. Run again with --first {stage}, or give the study another name."
        )
    recorded = _notes.read_fingerprints(note, "reads")
    changed = differing or _notes.list_changed(list_reads(desk, stage), recorded)
    return "inputs changed" if changed else "finished"


def _asked_before(desk, stage):
    return desk.run.first is not None and STAGES.index(desk.run.first) < STAGES.index(stage)


def note_of(desk, stage):
    """Name the note of a stage."""
    return desk.folder / "logs" / f"{stage}.json"


def _choices(desk, stage):
    """Return what a stage is run with: choices of the study, and of the run where it names any."""
    run = {name: getattr(desk.run, name) for name in getattr(module(stage), "OF_RUN", ())}
    return desk.study.provenance(module(stage).SETTINGS) | run


def _other_choices(desk, stage, note):
    """Say which choices differ from those that a stage was run with."""
    choices, settings = _choices(desk, stage), note.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    return "; ".join(
        f"{key} {settings.get(key)}, this run asks {choices[key]}"
        for key in choices
        if settings.get(key) != choices[key]
    )


def list_reads(desk, stage):
    """Name every file that a stage reads: tables of the study, and what else it says."""
    tables = {f"{name}.tsv": desk.folder / f"{name}.tsv" for name in module(stage).READS}
    others = getattr(module(stage), "files", None)
    return tables | (others(desk) if others else {})


def _writes(desk, stage):
    """Name every file that a stage has written."""
    paths = [desk.folder / name for name in module(stage).WRITES]
    for pattern in getattr(module(stage), "ALSO", ()):
        matches = sorted(desk.folder.glob(pattern))
        paths += [path for path in matches if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(desk.folder).as_posix(): path for path in paths}


def _changed_outputs(desk, stage, note):
    """List what a stage has written, and what no longer lies there as it was written."""
    recorded = _notes.read_fingerprints(note, "writes")
    written = {name: desk.folder / name for name in (*recorded, *module(stage).WRITES)}
    return _notes.list_changed(written, recorded)


def _makers(stage):
    """List the stages that a stage rests on, all the way up, in their order."""
    tables = {f"{name}.tsv" for name in module(stage).READS}
    earlier = STAGES[: STAGES.index(stage)]
    direct = [name for name in earlier if tables & set(module(name).WRITES)]
    every = {maker for name in direct for maker in (*_makers(name), name)}
    return [name for name in earlier if name in every]


def check_upstream(desk, stage):
    """Refuse a stage that rests on tables which do not belong together.

    Parameters
    ----------
    desk : base.Desk
    stage : str

    Raises
    ------
    InputError
        If a stage before it has not run, was run with other choices, or if files that it has read
        or written have changed since. Files that have come since do no harm.
    """
    for maker in _makers(stage):
        fault = _find_fault(desk, maker)
        if fault:
            note = _notes.read_note(note_of(desk, maker))
            # Other choices are refused without --first.
            differing = note is not None and _other_choices(desk, maker, note)
            way = "or give the study another name" if differing else "or without --first"
            raise InputError(
                f"Found {fault} in {desk.folder}, needed by stage {stage}: tables that were made "
                f"from each other. Run again with --first {maker}, {way}."
            )


def _find_fault(desk, stage):
    """Say why a stage cannot be rested on; None where it can."""
    missing = [name for name in module(stage).WRITES if not (desk.folder / name).exists()]
    if missing:
        return f"no {', '.join(missing)}"
    note = _notes.read_note(note_of(desk, stage))
    if note is None:
        return f"no readable logs/{stage}.json, which says what {stage} was made from,"
    altered = _changed_outputs(desk, stage, note)
    if altered:
        return f"{_notes.name_some(altered)} with another content than stage {stage} wrote"
    differing = _other_choices(desk, stage, note)
    if differing:
        return f"{module(stage).WRITES[0]} made with {differing},"
    recorded = _notes.read_fingerprints(note, "reads")
    passing = getattr(module(stage), "PASSING", ())
    changed = [
        label
        for label in _notes.list_changed(_locate(desk, stage, recorded), recorded)
        if label not in passing
    ]
    if changed:
        return f"{module(stage).WRITES[0]} made from {_notes.name_some(changed)} before a change"
    return None


def _locate(desk, stage, labels):
    """Name the files that a stage has read, which need not be all that it would read today."""
    locate = getattr(module(stage), "locate", None)
    if locate is None:
        reads = list_reads(desk, stage)
        return {label: reads.get(label, "") for label in labels}
    tables = {f"{name}.tsv" for name in module(stage).READS}
    return {
        label: desk.folder / label if label in tables else locate(desk, label) for label in labels
    }


def discard(desk, stage):
    """Remove the note of a stage and all that the stage has written; nothing else.

    Parameters
    ----------
    desk : base.Desk
    stage : str
    """
    for name in _list_own(desk, stage):
        (desk.folder / name).unlink(missing_ok=True)


def _list_own(desk, stage):
    """Name what belongs to a stage, relative to the study: its note first, then what it wrote."""
    note = note_of(desk, stage)
    written = _notes.read_fingerprints(_notes.read_note(note), "writes")
    names = [Path(name) for name in dict.fromkeys((*module(stage).WRITES, *written))]
    # A note that was tampered with might name files elsewhere.
    names = [name for name in names if not name.is_absolute() and ".." not in name.parts]
    tables = [name.with_suffix(".json") for name in names if name.suffix == ".tsv"]
    return list(dict.fromkeys([note.relative_to(desk.folder), *names, *tables]))


@contextmanager
def put_aside(desk, stage):
    """Put aside what a stage has written while it is run again; put it back if the stage fails.

    Parameters
    ----------
    desk : base.Desk
    stage : str
    """
    place = desk.folder / "logs" / f"before-{stage}"
    remove_folder(place, desk.folder)  # of a run that was killed
    moved = [name for name in _list_own(desk, stage) if (desk.folder / name).is_file()]
    try:
        for name in moved:
            _move(desk.folder / name, place / name)
        yield
    except BaseException:
        for name in reversed(moved):  # the note comes last
            if (place / name).exists():
                _move(place / name, desk.folder / name)
        raise
    finally:
        remove_folder(place, desk.folder)


def _move(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)


def discard_stale(desk, stage):
    """Remove what later stages have made from other tables than those that now lie there.

    Parameters
    ----------
    desk : base.Desk
    stage : str
        The stage that has run. Its own tables stay.
    """
    for later in STAGES[STAGES.index(stage) + 1 :]:
        note = _notes.read_note(note_of(desk, later))
        recorded = _notes.read_fingerprints(note, "reads")
        reads = _reads_within(desk, later)
        recorded = {label: recorded.get(label) for label in reads}
        if note is None or _notes.list_changed(reads, recorded):
            discard(desk, later)


def _reads_within(desk, stage):
    """Name the files of the study itself that a stage reads."""
    reads = list_reads(desk, stage)
    return {label: path for label, path in reads.items() if desk.folder in Path(path).parents}


def write_note(desk, stage, reads):
    """Write the note of a stage, if all its tables are there.

    Parameters
    ----------
    desk : base.Desk
    stage : str
    reads : dict
        Fingerprints of what the stage has read, taken before it ran.
    """
    if all((desk.folder / name).exists() for name in module(stage).WRITES):
        note = {
            "settings": _choices(desk, stage),
            "reads": reads,
            "writes": _notes.take(_writes(desk, stage)),
            "versions": versions(),
        }
        write_json(note, note_of(desk, stage))
