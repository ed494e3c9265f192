"""From files and flags to records, and back to a text that tells choices apart."""

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from bids_sexclf.errors import InputError, suggest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

STUDIES = Path(__file__).parents[1] / "studies"


def build(record, values, source):
    """Make a record, or say everything that is wrong with the values.

    Parameters
    ----------
    record : type
        ``Run``, ``Preparation`` or ``Study``.
    values : dict
        Field names to values.
    source : str
        Where the values come from, for the message.

    Returns
    -------
    Record

    Raises
    ------
    InputError
        With every fault; unknown names list those that exist.
    """
    try:
        return record(**values)
    except ValidationError as fault:
        lines = [
            f"{'.'.join(str(part) for part in entry['loc'])}: "
            f"{entry['msg'].removeprefix('Value error, ')}"
            + (f" (found {entry['input']!r})" if entry["type"] != "extra_forbidden" else "")
            for entry in fault.errors()
        ]
        unknown = [
            entry["loc"][-1] for entry in fault.errors() if entry["type"] == "extra_forbidden"
        ]
        names = f"Needed values for: {', '.join(record.model_fields)}. " if unknown else ""
        raise InputError(
            f"Found settings in {source} that cannot be used: {'; '.join(lines)}. "
            f"{names}Correct them and run again; docs/settings.md lists what each may be."
            f"{suggest(unknown, record.model_fields)}"
        ) from fault


def read_toml(path):
    """Read a TOML file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it is absent or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed a TOML file. Correct its path "
            "or its syntax."
        ) from fault


def find_study(name):
    """Find a study by the name of a preset or the path of a file.

    Parameters
    ----------
    name : str
        A preset, e.g. ``"default"``, or a path that ends in ``.toml``.

    Returns
    -------
    dict
        Its values, with ``name`` set from the file where it is not given.

    Raises
    ------
    InputError
        If there is none; the message lists the presets.
    """
    presets = sorted(path.stem for path in STUDIES.glob("*.toml"))
    if not str(name).endswith(".toml") and name not in presets:
        raise InputError(
            f"Found study {name!r}, needed one of {', '.join(presets)}, or the path of a TOML "
            f"file. Correct --study.{suggest([name], presets)}"
        )
    path = STUDIES / f"{name}.toml" if name in presets else Path(name)
    fallback = "".join(letter for letter in path.stem if letter.isalnum())
    return {"name": fallback} | read_toml(path)


def fingerprint(values):
    """Shorten choices to a text that differs when they differ.

    Parameters
    ----------
    values : dict
        JSON-able values.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
