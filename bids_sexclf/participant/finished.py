"""Check whether a participant-session is finished: inputs and outputs are as recorded.

The quality file, which is written last, records every file that was written (name, size) and every
file that was read (name, size, digest). When a file was read, and the digests of what was written,
are kept in ``logs/fingerprints``, so that a file is read again only where its times have changed.
Digests of what was written do not stand in the quality file, because some formats hold the time at
which they were written; without them the sizes decide.
"""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bids_sexclf import layout
from bids_sexclf.derivatives.prepared import locate, scans_of
from bids_sexclf.disk import lies_in, read_object, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.fingerprints import renew
from bids_sexclf.settings import People, Preparation

CHANGING = tuple(
    name for name in Preparation.model_fields if name not in ("templates_dir", *People.model_fields)
)
"""Choices that must agree between the runs that share an output folder."""

INSTALLED = (Path(__file__).parents[1], Path(sys.prefix))
"""Folders of programs; their files are identified by the version of the program."""

THREADS = 8
"""Files whose digests are taken at the same time."""


@dataclass(frozen=True)
class Verdict:
    """Whether a participant-session is finished.

    Attributes
    ----------
    finished : bool
    reason : str or None
        Why it is prepared again; None where it is finished, or was never begun.
    stale : bool
        Whether what lies in the output folder was made from other inputs.
    """

    finished: bool
    reason: str | None = None
    stale: bool = False


FINISHED, NEVER_BEGUN = Verdict(True), Verdict(False)


def judge(row, preparation, places, remember=False):
    """Return whether a participant-session is finished, with the same inputs and choices.

    Parameters
    ----------
    row : dict
        Of the worklist, with what is planned for its series.
    preparation : settings.Preparation
    places : dict
        As `find_places` returns it.
    remember : bool
        Whether to record that results are complete, so that they are not read again.

    Returns
    -------
    Verdict

    Raises
    ------
    InputError
        If it was prepared with other choices: one output folder holds one set of choices.
    OSError
        If the participant's folder cannot be read.
    """
    out = places["out"]
    path = Path(out, quality_name(row))
    try:
        quality = json.loads(path.read_text())
        choices = dict(quality["GeneratedWith"])
    except (FileNotFoundError, NotADirectoryError):
        return NEVER_BEGUN
    except (ValueError, TypeError, KeyError, RecursionError):
        return Verdict(False, f"{path.name} is damaged", stale=True)
    _check_choices(choices, preparation, path)
    outputs, inputs = quality.get("Outputs"), quality.get("Inputs")
    if not isinstance(outputs, dict) or not isinstance(inputs, dict):
        reason = "an earlier version made it, and did not record what it read and wrote"
        return Verdict(False, reason, stale=True)
    if quality.get("Scans") != scans_of(row):
        return Verdict(False, "its scans have changed", stale=True)
    if quality.get("Plan") != digest_plan(row, places):
        return Verdict(False, "its sidecars or field maps have changed", stale=True)
    changed = _find_changed(row, inputs, places)
    if changed:
        return Verdict(False, f"{_list(changed, 'has', 'have')} changed since", stale=True)
    missing = [name for name, size in outputs.items() if not _is_whole(Path(out, name), size)]
    if missing:
        return Verdict(False, f"{_list(missing, 'is', 'are')} missing or not whole")
    altered = _find_altered(row, outputs, places, remember)
    if altered:
        return Verdict(False, f"{_list(altered, 'has', 'have')} another content than was written")
    return FINISHED


def quality_name(row):
    """Name the quality file of a row of the worklist, relative to the output folder."""
    return layout.derivative("quality", row["participant_id"], row["session_id"])


def _list(names, one, several):
    """List names, the first three of many, with the verb for one or for several."""
    names = [Path(name).name for name in names]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more + f" {one if len(names) == 1 else several}"


def _check_choices(before, preparation, path):
    """Refuse results that were made with other choices."""
    requested = preparation.provenance()
    differing = [key for key in CHANGING if before.get(key) != requested[key]]
    if differing:
        pairs = [f"{key} {before.get(key)}, this run asks {requested[key]}" for key in differing]
        raise InputError(
            f"Found {path} made with {'; '.join(pairs)}; needed one set of choices per "
            "output folder. Choose another output folder, or remove the participant's."
        )


def _is_whole(path, size):
    """Return whether a file is there with its recorded size; a page may have any size."""
    try:
        return size in (None, path.stat().st_size)
    except (FileNotFoundError, NotADirectoryError):
        return False


def digest_plan(row, places):
    """Return a digest of what is planned for a series: its sidecar, its correction of distortion.

    Parameters
    ----------
    row : dict
        Of the worklist, with what `series.plan_series` adds.
    places : dict
        The dataset's own path does not count, so that it may be moved.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    cells = ("participant_id", "session_id", "note", *layout.SCANS)
    added = {key: value for key, value in row.items() if key not in cells}
    text = json.dumps(added, sort_keys=True, default=_plain)
    text = text.replace(str(places["raw"]), "")
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value):
    """Return a value as a type that JSON can store."""
    return dict(vars(value)) if hasattr(value, "__dict__") else str(value)


# -- where inputs lie ------------------------------------------------------------------------------


def find_places(bids_dir, out, template, folders, shared):
    """Return the folders of all inputs, so that records hold no absolute path.

    Parameters
    ----------
    bids_dir, out : path-like
    template : resources.Template
    folders : dict of str to path-like
        What others have prepared.
    shared : dict of str to path-like
        Files that all results depend on: name to path, as `references.find_sources` returns
        them.

    Returns
    -------
    dict
        ``raw``, ``out``, ``template`` and the names of `folders` to their paths; ``shared``.
    """
    places = {"raw": bids_dir, "out": out, "template": template.folder} | dict(folders)
    places = {name: Path(path).resolve() for name, path in places.items()}
    return places | {"shared": {name: Path(path) for name, path in shared.items()}}


def name_input(path, places):
    """Name a file that a step reads, or return None for files that are not inputs of the run.

    Parameters
    ----------
    path : path-like
        Absolute.
    places : dict
        As `find_places` returns it.

    Returns
    -------
    str or None
        ``bids:NAME:PATH`` within the dataset and what others have prepared, ``template:PATH``, or
        the path itself. None for what lies in the output folder, which is made from inputs that
        are recorded, and for what is installed with programs, whose versions are recorded.
    """
    path = Path(path)
    homes = {name: home for name, home in places.items() if name != "shared"}
    homes |= {home: home for home in INSTALLED}
    within = [name for name, home in homes.items() if path.is_relative_to(home)]
    if not within:
        return str(path)
    # One place may hold another, as a folder for everything holds a dataset and these results.
    nearest = max(within, key=lambda name: len(homes[name].parts))
    if nearest == "out" or nearest in INSTALLED:
        return None
    inside = path.relative_to(homes[nearest]).as_posix()
    return f"template:{inside}" if nearest == "template" else f"bids:{nearest}:{inside}"


def find_input(name, places):
    """Return the path that `name_input` has named; None where its place is not given any more."""
    kind, _, inside = name.partition(":")
    if name in places["shared"]:
        return places["shared"][name]
    if kind == "template":
        return places["template"] / inside
    if kind == "bids":
        return locate(name, places) if inside.split(":")[0] in places else None
    return Path(name) if Path(name).is_absolute() else None


# -- fingerprints ----------------------------------------------------------------------------------


def _find_changed(row, inputs, places):
    """List the recorded inputs whose content has changed, and shared inputs that are new."""
    recorded = read_known(_cache(row, places))
    paths = {name: find_input(name, places) for name in inputs}
    current = take_fingerprints([path for path in paths.values() if path], recorded)
    changed = [name for name in places["shared"] if name not in inputs]
    for name, path in paths.items():
        content = _content(current.get(str(path)))
        if content is None or content != inputs[name]:
            changed.append(name)
    return changed


def _content(fingerprint):
    """Return the part of a fingerprint that does not depend on the time of writing."""
    return fingerprint and {key: fingerprint.get(key) for key in ("size", "sha256")}


def _cache(row, places):
    name = layout.name_of(row["participant_id"], row["session_id"])
    return Path(places["out"], "logs", "fingerprints", f"{name}.json")


def read_known(path):
    """Read the recorded fingerprints by path; leave out missing or damaged ones."""
    return {name: entry for name, entry in read_object(path).items() if isinstance(entry, dict)}


def take_fingerprints(paths, recorded):
    """Compute the fingerprints of files; reuse those of files whose times have not changed.

    Parameters
    ----------
    paths : iterable of path-like
    recorded : dict
        Path to an earlier fingerprint.

    Returns
    -------
    dict of str to dict
        Path to fingerprint; files that cannot be read are left out.
    """

    def take(path):
        try:
            return renew(path, recorded.get(path))
        except OSError:
            return None

    paths = sorted({str(path) for path in paths})
    with ThreadPoolExecutor(THREADS) as pool:
        fingerprints = zip(paths, pool.map(take, paths), strict=True)
        return {path: fingerprint for path, fingerprint in fingerprints if fingerprint}


def record_inputs(row, paths, places):
    """Compute and record the fingerprints of the inputs of a participant-session.

    Parameters
    ----------
    row : dict
        Of the worklist.
    paths : iterable of path-like
        Files that its steps read.
    places : dict

    Returns
    -------
    dict of str to dict
        Name of each input to its size and sha256, for the quality file.
    """
    named = {name_input(path, places): path for path in paths} | places["shared"]
    named.pop(None, None)
    cache = _cache(row, places)
    current = take_fingerprints(named.values(), read_known(cache))
    write_json(current, cache)
    inputs = {name: _content(current.get(str(path))) for name, path in named.items()}
    return {name: inputs[name] for name in sorted(inputs) if inputs[name]}


# -- outputs ---------------------------------------------------------------------------------------


def record_outputs(participant_id, session_id, names, out):
    """Record the fingerprints of the outputs of a participant-session.

    Parameters
    ----------
    participant_id, session_id : str
        The session is None where there is none.
    names : iterable of str
        Relative to the output folder.
    out : path-like
    """
    prints = take_fingerprints([Path(out, name) for name in names], {})
    prints = {
        Path(path).relative_to(out).as_posix(): fingerprint for path, fingerprint in prints.items()
    }
    write_json(prints, _outputs_cache(participant_id, session_id, out))


def _outputs_cache(participant_id, session_id, out):
    name = layout.name_of(participant_id, session_id)
    return Path(out, "logs", "fingerprints", f"{name}_outputs.json")


def _find_altered(row, outputs, places, remember):
    """List the recorded outputs whose content has changed since they were written."""
    out = places["out"]
    cache = _outputs_cache(row["participant_id"], row["session_id"], out)
    recorded = {name: entry for name, entry in read_known(cache).items() if "sha256" in entry}
    written = {str(out / name): recorded[name] for name in outputs if name in recorded}
    current = take_fingerprints(written, written)
    altered = [name for name in recorded if _differs(written, current, str(out / name))]
    if remember and not altered and current != written:
        named = {name: current.get(str(out / name), entry) for name, entry in recorded.items()}
        with suppress(OSError):  # they are read again the next time
            write_json(named, cache)
    return altered


def _differs(written, current, path):
    return path in written and _content(current.get(path)) != _content(written[path])


def withdraw(row, out):
    """Remove the recorded results of a participant-session, the quality file last.

    Parameters
    ----------
    row : dict
        Of the worklist.
    out : path-like
        Output folder. Only files of the participant in it are removed.
    """
    path = Path(out, quality_name(row))
    remove_outputs(out, row["participant_id"], read_object(path).get("Outputs"))
    path.unlink(missing_ok=True)


def remove_outputs(out, participant_id, names):
    """Remove the recorded files of a participant, and no other file."""
    home = Path(out, participant_id)
    for name in names if isinstance(names, dict) else ():
        path = Path(out, name)
        if ".." not in path.parts and lies_in(path.parent, home) and path.is_file():
            path.unlink()
