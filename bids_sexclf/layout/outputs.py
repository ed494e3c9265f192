"""Name derivatives, and find them by the same names (``data/names.json``)."""

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from bids_sexclf.errors import InputError
from bids_sexclf.layout.entities import ORDER


@cache
def names():
    """Load the table of the names of all derivatives.

    Returns
    -------
    dict
        Entry to its folder, entities (``*`` stands for any label), suffix and extension.
    """
    return json.loads((files("bids_sexclf") / "data" / "names.json").read_text())


def name_of(participant_id, session_id=None):
    """Return the stem of a participant-session's files."""
    return "_".join(filter(None, (participant_id, session_id)))


def figure_name(participant_id, session_id, key, extension=".svg"):
    """Return the name of a picture of the page, relative to the participant's ``figures``.

    Parameters
    ----------
    participant_id, session_id : str
    key : str
        What it shows; also the name of the node that draws it.
    extension : str

    Returns
    -------
    str
    """
    return f"{name_of(participant_id, session_id)}_desc-{key}{extension}"


def derivative(entry, participant_id, session_id=None, **entities):
    """Return the path of a derivative, relative to the output folder.

    Parameters
    ----------
    entry : str
        Key of ``data/names.json``.
    participant_id, session_id : str
        ``sub-01``; ``ses-1`` or None.
    **entities
        Values for the entry's open entities. ``from`` is given as ``from_``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If the value of an open entity is missing, or an entity is unknown.

    Examples
    --------
    >>> derivative("tensor_template", "sub-01", space="MNI152NLin6Asym", res="2",
    ...            param="fa").name
    'sub-01_space-MNI152NLin6Asym_res-2_model-tensor_param-fa_dwimap.nii.gz'
    """
    spec = names()[entry]
    values = {key.rstrip("_"): str(value) for key, value in entities.items()}
    filled = {
        key: values.get(key, value) if value == "*" else value
        for key, value in spec["entities"].items()
    }
    unknown, open_ = set(values) - set(filled), [key for key, v in filled.items() if v == "*"]
    if unknown or open_:
        raise InputError(
            f"Found entities {sorted(values)} for {entry!r}, needed "
            f"{[key for key, v in spec['entities'].items() if v == '*']}. Correct the call."
        )
    parts = [name_of(participant_id, session_id)]
    parts += [f"{key}-{filled[key]}" for key in ORDER if key in filled]
    folder = Path(participant_id, session_id or "", spec["folder"])
    return folder / ("_".join([*parts, spec["suffix"]]) + spec["extension"])


def find_derivatives(out, entry, **entities):
    """Find all files of an entry of the name table.

    Parameters
    ----------
    out : path-like
        Folder of derivatives.
    entry : str
        Key of ``data/names.json``.
    **entities
        Values for open entities; those left open match anything.

    Returns
    -------
    list of dict
        ``participant_id``, ``session_id`` (None without sessions), the open entities, and
        ``path`` relative to `out`, sorted by path. An open entity does not match a fixed label of
        another entry: ``space-ACPC`` is not a template.
    """
    spec, values = names()[entry], {key.rstrip("_"): value for key, value in entities.items()}
    pattern = r"(?P<participant_id>sub-[a-zA-Z0-9]+)(?:_(?P<session_id>ses-[a-zA-Z0-9]+))?"
    for key in (key for key in ORDER if key in spec["entities"]):
        value = spec["entities"][key]
        value = values.get(key, value) if value == "*" else value
        group = key + "_" if key == "from" else key
        free = rf"(?P<{group}>{_but(entry, key)}[a-zA-Z0-9]+)"
        pattern += rf"_{key}-" + (free if value == "*" else re.escape(value))
    pattern = re.compile(pattern + re.escape(f"_{spec['suffix']}{spec['extension']}"))
    matches = []
    for path in sorted(Path(out).glob(f"sub-*/**/*_{spec['suffix']}{spec['extension']}")):
        match = pattern.fullmatch(path.name)
        if match and spec["folder"] in ("", path.parent.name):
            matches.append(match.groupdict() | {"path": path.relative_to(out).as_posix()})
    return matches


def _but(entry, key):
    """Return a pattern that excludes labels which other entries fix for an open entity."""
    spec = names()[entry]
    alike = [
        another_spec["entities"][key]
        for another_spec in names().values()
        if all(another_spec[part] == spec[part] for part in ("folder", "suffix", "extension"))
        and list(another_spec["entities"]) == list(spec["entities"])
    ]
    return "".join(rf"(?!{re.escape(label)}(?![a-zA-Z0-9]))" for label in alike if label != "*")
