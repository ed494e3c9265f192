"""Find atlases and resample them to a grid: built-in, of $FSLDIR, or of a folder; no download."""

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from bids_sexclf.disk import read_object
from bids_sexclf.errors import InputError, ToolError, suggest
from bids_sexclf.labels import read_labels
from bids_sexclf.volumes import load, resample

LARGEST_INDEX = 2**24
"""Beyond it, whole numbers are no longer exact in single precision, as images are read."""

LEAST_SHARE = 0.5
"""Share of an atlas that must lie in the brain: one that belongs to the space has nearly all."""


@dataclass(frozen=True)
class Atlas:
    """A parcellation on a grid with the names of its regions.

    Attributes
    ----------
    name : str
    parcellation : ndarray of int, shape grid.shape
        0 outside every region.
    labels : pandas.DataFrame
        index, name, hemisphere (L, R or B); one row per index in the image.
    """

    name: str
    parcellation: np.ndarray
    labels: object


@cache
def known_atlases():
    """Load the table of known atlases."""
    import json

    return json.loads((files("bids_sexclf") / "data" / "atlases.json").read_text())


def groups_of(name):
    """Return the groups of regions of a known atlas that are also reported together.

    Parameters
    ----------
    name : str
        A known name, or anything else.

    Returns
    -------
    dict of str to list of int
        Name to the indices of its members; empty where the atlas has none.
    """
    return known_atlases().get(name, {}).get("Groups", {})


def find_atlas(name, grid, template_name, labels=None, folders=(), inside=None):
    """Find an atlas and resample it to a grid by nearest neighbour.

    Parameters
    ----------
    name : str
        A known name (``data/atlases.json``) or the path of an image.
    grid : volumes.Grid
    template_name : str
        Space of the grid.
    labels : path-like, optional
        Label table of an image given by path; beside it with the suffix ``.tsv`` by default.
    folders : iterable of path-like
        Searched before $FSLDIR.
    inside : ndarray of bool, shape grid.shape, optional
        The brain, in which the atlas must lie; all of the grid by default.

    Returns
    -------
    Atlas

    Raises
    ------
    InputError
        If it is unknown, or was made in another space than the template, if image and label table
        have different indices, if the image holds values that are not whole numbers, or if less
        than half of its volume lies in the brain.
    ToolError
        If its files are not at hand.
    """
    entries = known_atlases()
    if name in entries:
        _check_space(name, entries[name]["Space"], template_name)
    if name in entries and entries[name]["Image"] is None:
        parcellation, table = _lobes(grid)
        _check_place(parcellation, grid, inside, name, template_name)
        return Atlas(name, parcellation, table)
    image, table_path = find_atlas_files(name, labels, folders)
    if name not in entries:
        _check_space(image, declared_space(image), template_name)
    array, affine = load(image, ndim=3)
    indices = _check_indices(array, image)
    table = read_labels(table_path)
    if not table.attrs["whole"]:
        table = table[table["index"].isin(np.unique(indices))].reset_index(drop=True)
    _check_labels(indices, table, image, table_path)
    parcellation = resample(indices, affine, grid, order=0)
    volume = np.count_nonzero(indices) * abs(np.linalg.det(affine[:3, :3]))
    _check_place(parcellation, grid, inside, image, template_name, volume)
    table = table.assign(hemisphere=_hemispheres(table, indices, affine))
    return Atlas(name if name in entries else image.name.split(".")[0], parcellation, table)


def declared_space(image):
    """Return the space that an image of an atlas declares.

    Parameters
    ----------
    image : path-like

    Returns
    -------
    list of str
        Of ``Space`` or ``SpatialReference`` in the JSON file beside the image, or of ``space-`` or
        ``tpl-`` in its name; empty where nothing is declared.

    Examples
    --------
    >>> declared_space("tpl-MNI152NLin6Asym_res-01_atlas-HOCPA_dseg.nii.gz")
    ['MNI152NLin6Asym']
    >>> declared_space("regions.nii.gz")
    []
    """
    image = Path(image)
    sidecar = read_object(image.with_name(re.sub(r"\.nii(\.gz)?$", ".json", image.name)))
    for key in ("Space", "SpatialReference"):
        if isinstance(sidecar.get(key), str) and re.fullmatch(r"\w+", sidecar[key]):
            return [sidecar[key]]
    in_name = re.search(r"(?:^|_)space-([A-Za-z0-9]+)_", image.name)
    in_name = in_name or re.search(r"(?:^|_)tpl-([A-Za-z0-9]+)_", image.name)
    return [in_name[1]] if in_name else []


def _check_space(atlas, spaces, template_name):
    """Refuse an atlas that was made in another space than that of the template."""
    if spaces and not any(fnmatchcase(template_name, space) for space in spaces):
        shown = " or ".join(spaces)
        raise InputError(
            f"Found atlas {atlas} in the space {shown} for maps in the space {template_name}, "
            f"needed an atlas in {template_name}: regions of another template do not lie where "
            "they should. Give an atlas in this space with --atlas, or prepare the participants "
            "with the --template that the atlas was made on."
        )


def _lobes(grid):
    """Return the built-in atlas, which needs no file."""
    import pandas as pd

    from bids_sexclf.lobes import make_lobes

    parcellation, rows = make_lobes(tuple(grid.shape), grid.affine)
    return parcellation, pd.DataFrame(rows)[["index", "name", "hemisphere"]]


def find_atlas_files(name, labels=None, folders=()):
    """Find image and label table of an atlas.

    Parameters
    ----------
    name, labels, folders
        As for `find_atlas`.

    Returns
    -------
    sequence of pathlib.Path
        Image and table; empty for an atlas that needs no file.

    Raises
    ------
    InputError
        If it is unknown.
    ToolError
        If its files are not at hand.
    """
    entries = known_atlases()
    if name in entries and entries[name]["Image"] is None:
        return ()
    if name not in entries:
        image = Path(name)
        table = Path(labels) if labels else Path(re.sub(r"\.nii(\.gz)?$", ".tsv", str(image)))
        if not image.is_file() or not table.is_file():
            raise InputError(
                f"Found atlas {name!r} with label table {table}, needed one of "
                f"{', '.join(sorted(entries))}, or an image and its table (TSV: index, name). "
                f"Correct --atlas or --atlas-labels.{suggest([name], entries)}"
            )
        return image, table
    places = [Path(folder) for folder in folders]
    if os.environ.get("FSLDIR"):
        places.append(Path(os.environ["FSLDIR"]) / "data" / "atlases")
    file_paths = []
    for kind in ("Image", "Labels"):
        paths = [place / file for place in places for file in entries[name][kind]]
        file_paths.append(next((path for path in paths if path.is_file()), None))
    if None in file_paths:
        raise ToolError(
            f"Found no files of atlas {name} in {[str(place) for place in places]}, needed "
            f"{entries[name]['Image'][0]} and {entries[name]['Labels'][0]} "
            f"({entries[name]['License']}). Install FSL and set "
            "FSLDIR, or give a folder that holds them with --atlas-dir."
        )
    return file_paths


def _check_indices(array, image):
    """Return an atlas image as whole numbers; raise InputError if it has other values."""
    finite = np.isfinite(array)
    wrong = array[~finite | (array < 0) | (array > LARGEST_INDEX)]
    if not wrong.size:
        wrong = array[np.abs(array - np.rint(array)) > 1e-3]
    if wrong.size:
        raise InputError(
            f"Found atlas {image} with values such as {wrong.flat[0]:g} in {wrong.size} voxels, "
            f"needed whole numbers from 0 to {LARGEST_INDEX}. Choose an image of labels (not of "
            "probabilities), resampled by nearest neighbour."
        )
    return np.rint(array).astype(np.int32)


def _check_place(parcellation, grid, inside, image, template_name, volume=None):
    """Refuse an atlas that does not lie in the brain, since it belongs to another space.

    An atlas that was made on this grid has no volume of its own; it needs at least one voxel.
    """
    labelled = parcellation if inside is None else parcellation[inside]
    covered = np.count_nonzero(labelled) * np.prod(grid.voxel_size)
    share = covered / volume if volume else float(covered > 0)
    if share < LEAST_SHARE:
        place = "on the grid" if inside is None else "in the brain"
        raise InputError(
            f"Found atlas {image} with {100 * share:.0f} % of its volume {place} of "
            f"{template_name}, needed at least {100 * LEAST_SHARE:.0f} %: it lies in another "
            "space, or its affine is wrong. Choose another, or bring it to that space."
        )


def _check_labels(parcellation, table, image, path):
    """Refuse an image and a table with different indices."""
    in_image, in_table = set(np.unique(parcellation).tolist()) - {0}, set(table["index"])
    if in_image != in_table or not in_image:
        raise InputError(
            f"Found {image} with {len(in_image)} regions and {path} with {len(in_table)}: "
            f"without a name {sorted(in_image - in_table)[:10]}, without voxels "
            f"{sorted(in_table - in_image)[:10]}; needed one row per region. Use the "
            "table that belongs to this image."
        )


def _hemispheres(table, parcellation, affine):
    """Return the side of each region, by its voxels: L, R, or B for both."""
    sides = []
    for index in table["index"]:
        voxels = np.argwhere(parcellation == index)
        x = voxels @ affine[0, :3] + affine[0, 3]
        share_left = float((x < 0).mean())
        sides.append("L" if share_left > 0.9 else "R" if share_left < 0.1 else "B")
    return sides
