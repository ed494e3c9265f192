"""Read records from files and flags, and compute a fingerprint of choices."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bids_sexclf.errors import InputError, suggest
from bids_sexclf.settings.people import spread_people
from bids_sexclf.settings.records import say_allowed

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

STUDIES = Path(__file__).parents[1] / "studies"

LARGEST = 1_000_000
"""Largest size of a settings file, bytes."""

LONGEST = 60
"""Characters of a value that a message shows."""


def build(record, values, source):
    """Make a record from values; raise one error with all faults.

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
    return build_all({record: values}, source)[record]


def build_all(values, source):
    """Make several records from values; raise one error with the faults of all.

    Parameters
    ----------
    values : dict of type to dict
        Records to the values of their fields.
    source : str
        Where the values come from, for the message.

    Returns
    -------
    dict of type to Record

    Raises
    ------
    InputError
        With every fault; unknown names list those that exist.
    """
    records, lines, hints, unknown = {}, [], [], []
    for record, record_values in values.items():
        records[record], faults = find_faults(record, record_values)
        for fault in faults:
            lines.append(fault.line)
            if fault.unknown:
                unknown.append(fault.typed)
            elif fault.known:
                hints.append(suggest([fault.typed], fault.known))
    if lines:
        known_names = list(dict.fromkeys(name for record in values for name in record.model_fields))
        names = f"Needed values for: {', '.join(known_names)}. " if unknown else ""
        hints = "".join(dict.fromkeys([*hints, suggest(unknown, known_names)]))
        raise InputError(
            f"Found settings in {source} that cannot be used: {'; '.join(dict.fromkeys(lines))}. "
            f"{names}Correct them and run again; docs/settings.md lists what each may be.{hints}"
        )
    return records


@dataclass(frozen=True)
class Fault:
    """The fault of one value: its description, the typed text and the valid ones."""

    line: str
    typed: str = ""
    known: tuple = ()
    unknown: bool = False


def find_faults(record, values):
    """Make a record from values, or list all faults of the values.

    Parameters
    ----------
    record : type
    values : dict

    Returns
    -------
    made : Record or None
    faults : list of Fault
    """
    try:
        return record(**values), []
    except ValidationError as error:
        schemas = record.model_json_schema()["properties"]
        return None, [_name_fault(entry, schemas) for entry in error.errors()]


def _name_fault(entry, schemas):
    """Describe the fault of one value: its key, what was found, what was needed."""
    if not entry["loc"]:  # choices that contradict each other
        return Fault(entry["msg"].removeprefix("Value error, "))
    name, *places = entry["loc"]
    if entry["type"] == "extra_forbidden":
        return Fault(f"{name}: there is no such setting", str(name), unknown=True)
    key = f"{name}{''.join(f'[{place}]' for place in places)}"
    if entry["type"] == "value_error":
        message = entry["msg"].removeprefix("Value error, ")
        shown = "" if isinstance(entry["input"], dict) else f"found {_show(entry['input'])}, "
        return Fault(f"{key}: {shown}{message}")
    allowed = say_allowed(schemas[name], bool(places))
    options = entry.get("ctx", {}).get("expected", "") if entry["type"] == "literal_error" else ""
    options_known = tuple(option.strip("'") for option in options.replace(" or ", ", ").split(", "))
    line = f"{key}: found {_show(entry['input'])}, needed {allowed}"
    return Fault(line, str(entry["input"]), options_known) if options else Fault(line)


def _show(value):
    """Return a value as TOML text, shortened if it is long."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


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
        If it is absent, not a file, unreadable, not TOML, or too large for settings.
    """
    path = Path(path)
    try:
        problem = _what_is(path)
        if not problem:
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
            if len(content) <= LARGEST:
                return tomllib.loads(content.decode("utf-8-sig"))
            problem = f"which holds more than {LARGEST // 1000} kB"
    except UnicodeDecodeError as fault:
        problem = f"which is not text in UTF-8 (byte {fault.start})"
    except RecursionError:
        problem = "whose lists or tables lie too deep in each other"
    except (OSError, ValueError) as fault:  # also invalid TOML
        problem = f"which cannot be read ({str(fault)[:200]})"
    raise InputError(
        f"Found {path}, {problem}; needed a TOML file of settings. Correct its path or its syntax."
    )


def _what_is(path):
    """Describe a path that is not a file; return an empty text for a file."""
    if path.is_dir():
        return "which is a folder"
    if not path.exists():
        return "which does not exist"
    return "" if path.is_file() else "which is no ordinary file"


def find_study(name):
    """Find a study by the name of a preset or the path of a file.

    Parameters
    ----------
    name : str
        A preset, e.g. ``"default"``, or a path that ends in ``.toml``.

    Returns
    -------
    dict
        Its values; ``name`` is that of the file by default.

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
    return {"name": fallback} | spread_people(read_toml(path))


def fingerprint(values):
    """Compute a short digest of choices.

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
