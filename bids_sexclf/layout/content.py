"""Rank scans of one kind by their content, from headers and sidecars only.

A phase image does not show the brain, a slab covers only a part of it, and thick slices have a low
resolution along one axis. The name of the file does not show this.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_sexclf.layout.entities import ENTITIES, parse_name

LEAST_EXTENT_MM = 120.0
"""Least field of view along each axis for the brain of an adult, mm."""

LIKE_SIZES = 1.25
"""Scans have equal resolution if their largest voxel edges differ by at most this factor."""

PARTS = {"phase": "phase", "real": "real", "imag": "imaginary"}
"""Label of the entity ``part`` to the part of a complex image that is no magnitude."""

IMAGE_TYPES = {
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "R": "real",
    "REAL": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
}
"""Entry of the sidecar's ImageType to the part of a complex image; magnitudes have ``M``."""


@dataclass(frozen=True)
class Content:
    """Properties of a T1w from its header.

    Attributes
    ----------
    usable : bool
        One volume with one real number for each voxel.
    whole : bool
        The field of view can hold a brain.
    edge : float
        Largest voxel edge, mm.
    words : str
        What is measured, in a few words.
    """

    usable: bool
    whole: bool
    edge: float
    words: str


def read_content(path):
    """Read the properties of a T1w from its header.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Content or None
        None where the header cannot be read; other checks report why.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        shape, dtype = tuple(image.shape), image.get_data_dtype()
        zooms = np.asarray(image.header.get_zooms()[:3], float)
    except Exception:  # nibabel raises many kinds on a damaged header
        return None
    if dtype.names or dtype.kind == "c":
        words = "colours" if dtype.names else "complex numbers"
        return Content(False, False, float("inf"), words)
    if len(shape) < 3 or int(np.prod(shape[3:])) != 1:
        return Content(False, False, float("inf"), f"shape {shape}")
    extent, edge = shape[:3] * zooms, float(zooms.max())
    whole = bool(extent.min() >= LEAST_EXTENT_MM)
    words = f"voxels of {' x '.join(f'{zoom:.3g}' for zoom in zooms)} mm"
    if not whole:
        words = f"{extent.min():.0f} mm in all along one axis, {words}"
    return Content(True, whole, edge, words)


def find_part(path, metadata):
    """Return which part of a complex image a scan is.

    Parameters
    ----------
    path : path-like
    metadata : dict
        Its sidecar.

    Returns
    -------
    str or None
        ``phase``, ``real`` or ``imaginary``; None for a magnitude.

    Examples
    --------
    >>> find_part("sub-1_part-phase_dwi.nii.gz", {}), find_part("sub-1_part-mag_dwi.nii.gz", {})
    ('phase', None)
    >>> find_part("sub-1_T1w.nii.gz", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]})
    'phase'
    """
    part = parse_name(path)[0].get("part")
    if part is not None:
        return PARTS.get(part.lower())
    types = metadata.get("ImageType")
    entries = types if isinstance(types, list) else [types]
    entries = [entry.upper() for entry in entries if isinstance(entry, str)]
    if {"M", "MAGNITUDE"} & set(entries):
        return None
    return next((IMAGE_TYPES[entry] for entry in entries if entry in IMAGE_TYPES), None)


def keep_magnitudes(dataset, scans):
    """Leave out phase, real and imaginary images.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    scans : iterable of path-like

    Returns
    -------
    list
        The others.
    list of str
        Texts about the scans that were left out.
    """
    magnitudes, notes = [], []
    for path in scans:
        part = find_part(path, dataset.get_metadata(str(path)))
        if part is None:
            magnitudes.append(path)
        else:
            notes.append(f"without {Path(path).name} ({part}, not magnitude)")
    return magnitudes, notes


def find_partial(groups, contents):
    """Find runs without the whole head, where another run of the same name has it.

    Parameters
    ----------
    groups : list of list of path-like
        The runs of each name.
    contents : dict of path-like to Content or None

    Returns
    -------
    list of path-like
        Runs whose headers cannot be read are not among them: other checks refuse them.
    """
    partial = []
    for runs in groups:
        measured = [(path, contents.get(path)) for path in runs]
        if any(content and content.whole for _, content in measured):
            partial += [path for path, content in measured if content and not content.whole]
    return partial


def choose_content(groups, contents):
    """Choose the group of scans with the best content.

    The criteria, in order: a single volume of real numbers, a field of view that holds the brain,
    small voxels along every axis, the order of the groups. The first scan of a group counts for
    all. A scan with an unreadable header counts as good: other checks report its fault.

    Parameters
    ----------
    groups : list of list of path-like
        Scans of one name, in order; the plainest name first.
    contents : dict of path-like to Content or None

    Returns
    -------
    int
        Position of the group.
    """
    measured = [contents.get(runs[0]) for runs in groups]
    ranks = [(c.usable, c.whole) if c else (True, True) for c in measured]
    best = [index for index, rank in enumerate(ranks) if rank == max(ranks)]
    smallest = min((measured[index].edge for index in best if measured[index]), default=0.0)
    return next(
        index
        for index in best
        if not measured[index] or measured[index].edge <= LIKE_SIZES * smallest
    )


def tell_way(kind, path, chosen):
    """Return the filter that selects a scan instead of the chosen ones, as text.

    Parameters
    ----------
    kind : {"t1w", "dwi"}
    path : path-like
        Of a scan that was not chosen.
    chosen : list of path-like

    Returns
    -------
    str
        Empty where no entity of its name differs from all others.

    Examples
    --------
    >>> tell_way("t1w", "sub-1_acq-2D_T1w.nii.gz", ["sub-1_T1w.nii.gz"])
    'to take it: --bids-filter-file with {"t1w": {"acquisition": "2D"}}'
    >>> tell_way("t1w", "sub-1_T1w.nii.gz", ["sub-1_acq-2D_T1w.nii.gz"])
    'to take it: --bids-filter-file with {"t1w": {"acquisition": null}}'
    """
    long = {short: name for name, short in ENTITIES.items()}
    entities, chosen_entities = parse_name(path)[0], [parse_name(scan)[0] for scan in chosen]
    for entity in dict.fromkeys([*entities, *(chosen_entities[0] if chosen_entities else ())]):
        value = entities.get(entity)
        if entity not in ("sub", "ses", "part") and all(
            o.get(entity) != value for o in chosen_entities
        ):
            value = int(value) if entity == "run" and (value or "").isdigit() else value
            wanted = json.dumps({kind: {long.get(entity, entity): value}})
            return f"to take it: --bids-filter-file with {wanted}"
    return ""
