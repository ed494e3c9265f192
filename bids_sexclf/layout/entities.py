"""Parse and format BIDS names: entities, labels, suffix, extension."""

import re
from pathlib import Path

ORDER = (
    "acq",
    "rec",
    "dir",
    "run",
    "from",
    "to",
    "mode",
    "space",
    "atlas",
    "res",
    "model",
    "param",
    "label",
    "desc",
)
"""Entities of derivatives, in the order of a name."""

ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "direction": "dir",
    "description": "desc",
}
"""Names of entities in pybids, if they differ from those in file names."""


def parse_name(path):
    """Split a BIDS name.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    entities : dict of str to str
        In the order of the name.
    suffix, extension : str

    Examples
    --------
    >>> parse_name("sub-1/dwi/sub-1_space-ACPC_desc-preproc_dwi.nii.gz")
    ({'sub': '1', 'space': 'ACPC', 'desc': 'preproc'}, 'dwi', '.nii.gz')
    """
    stem, dot, extension = Path(path).name.partition(".")
    *pairs, suffix = stem.split("_")
    return dict(pair.split("-", 1) for pair in pairs if "-" in pair), suffix, dot + extension


def label(text, entity):
    """Return an entity's label without its prefix: ``sub-01`` and ``01`` both become ``01``."""
    return re.sub(rf"^{entity}-", "", str(text))


def number_label(value):
    """Format a number as a BIDS label: 2.0 is ``2``, 1.25 is ``1p25``."""
    return f"{value:g}".replace(".", "p")


def sidecar(path):
    """Return the path of the JSON sidecar of an image or table."""
    path = Path(path)
    return path.with_name(re.sub(r"\.(nii(\.gz)?|h5|mat|tsv|bval|bvec)$", "", path.name) + ".json")
