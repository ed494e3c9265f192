"""Find an entry of a catalogue by its file name."""

import importlib
import pkgutil
from types import ModuleType

from bids_sexclf.errors import InputError, suggest


def names(package: str) -> list[str]:
    """List the public entries of a catalogue.

    Parameters
    ----------
    package : str
        Dotted name of the folder, e.g. ``"bids_sexclf.models"``.

    Returns
    -------
    list of str
        Sorted file names without suffix; names starting with ``_`` are private.

    Examples
    --------
    >>> "cnn3" in names("bids_sexclf.models")
    True
    """
    folder = importlib.import_module(package)
    modules = pkgutil.iter_modules(folder.__path__)
    return sorted(entry.name for entry in modules if not entry.name.startswith("_"))


def find(package: str, name: str) -> ModuleType:
    """Import the entry that a user named.

    Parameters
    ----------
    package : str
        Dotted name of the folder.
    name : str
        What the user typed: the file's name without suffix.

    Returns
    -------
    module
        The entry.

    Raises
    ------
    InputError
        If there is no such entry; the message lists those that exist.
    """
    existing = names(package)
    if name not in existing:
        kind = package.rsplit(".", 1)[-1]
        raise InputError(
            f"Found {name!r}, needed one of the {kind} that exist: {', '.join(existing)}."
            f"{suggest([name], existing)}"
        )
    return importlib.import_module(f"{package}.{name}")
