"""The grid of a study: that of the template's brain, or a box for brains in their own size."""

from collections import Counter

import numpy as np

from bids_sexclf import atlases, layout
from bids_sexclf.errors import REFUSALS, GridError, InputError
from bids_sexclf.tables import write_table
from bids_sexclf.volumes import Grid, crop_grid, load, read_grid, resample, rescale_grid, save

ABSENT = ("template.nii.gz", "white.nii.gz", "atlas.nii.gz", "atlas.tsv")
"""What a study of brains in their own size lacks."""


def find_atlas_files(desk):
    """Find the files of the study's atlas.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    dict of str to pathlib.Path
        ``image`` and ``labels``; empty if the atlas needs no file, or is not found, which raises
        an error when it is read.
    """
    try:
        study = desk.study
        files = atlases.find_atlas_files(study.atlas, study.atlas_labels, desk.run.atlas_folders())
        return dict(zip(("image", "labels"), files, strict=False))
    except REFUSALS:
        return {}


def find_common_grids(derivatives, maps_of, maps):
    """Find the most frequent grid of each map, and the participants with another grid.

    Parameters
    ----------
    derivatives : pathlib.Path
    maps_of : dict
        (participant_id, session_id) to map name to path.
    maps : list of str

    Returns
    -------
    grids : dict of str to volumes.Grid
        Map name to grid; without maps that cannot be read for anyone.
    odd : dict of tuple to str
        (participant_id, session_id) to the fault.

    Raises
    ------
    GridError
        If no grid is shared by most maps.
    """
    grids, odd = {}, {}
    for name in maps:
        grid_of, counts, examples = {}, Counter(), {}
        for key, paths in maps_of.items():
            if name not in paths:
                continue
            try:
                grid = read_grid(derivatives / paths[name])
            except InputError as fault:
                odd[key] = " ".join(str(fault).split())[:300]
                continue
            grid_of[key] = (grid.shape, tuple(np.asarray(grid.affine).round(2).ravel() + 0.0))
            counts[grid_of[key]] += 1
            examples.setdefault(grid_of[key], grid)
        if not counts:
            continue
        common, highest = counts.most_common(1)[0]
        if 2 * highest <= sum(counts.values()) and len(counts) > 1:
            shapes = sorted({str(place[0]) for place in counts})
            raise GridError(
                f"Found {name} maps on {len(counts)} grids (shapes {', '.join(shapes)}), none of "
                "them that of most; needed one. Prepare everybody alike, or keep the outputs in "
                "separate folders."
            )
        grids[name] = examples[common]
        for key, place in grid_of.items():
            if place != common:
                odd[key] = (
                    f"{maps_of[key][name]} (shape {place[0]}) lies on another grid, by shape or by "
                    f"affine, than the {name} maps of most (shape {common[0]}); needed one grid"
                )
    return grids, odd


def write_grid(desk, space, resolution):
    """Write the study's grid: template brain, mask, white matter and atlas, cropped to the brain.

    Parameters
    ----------
    desk : base.Desk
    space, resolution : str
        Labels of the maps' space.

    Returns
    -------
    volumes.Grid
    """
    folder = desk.folder / "grid"
    (brain, affine), (mask, _), (white, _) = (
        load(desk.derivatives / layout.reference(kind, space, resolution), ndim=3)
        for kind in ("brain", "mask", "white")
    )
    coarse = _coarsen(Grid(brain.shape, affine), desk.study.voxel_size)
    inside = resample(mask, affine, coarse) > 0.5
    grid, box = crop_grid(coarse, inside)
    study = desk.study
    atlas = atlases.find_atlas(
        study.atlas, coarse, space, study.atlas_labels, desk.run.atlas_folders(), inside
    )
    inside = inside[box]
    labelled = atlas.parcellation[box] * inside
    for name, array in (
        ("template", resample(brain, affine, grid) * inside),
        ("mask", inside),
        ("white", (resample(white, affine, grid) > 0.5) & inside),
        ("atlas", labelled),
    ):
        save(array, grid.affine, folder / f"{name}.nii.gz")
    counts = np.bincount(labelled[labelled > 0], minlength=int(atlas.labels["index"].max()) + 1)
    table = atlas.labels.assign(n_voxels=counts[atlas.labels["index"].to_numpy()])
    write_table(table, folder / "atlas.tsv", "atlas")
    return grid


def write_native_grid(desk, grid):
    """Write the study's grid for brains in their own size.

    The mask is the whole box: a brain mask would cut other brains, or reveal a brain size. No
    atlas fits brains of different sizes, so there is none.

    Parameters
    ----------
    desk : base.Desk
    grid : volumes.Grid
        Of the maps.

    Returns
    -------
    volumes.Grid

    Raises
    ------
    InputError
        If the study has attributions, or finer voxels than the maps.
    """
    if desk.study.attributions:
        raise InputError(
            f"Found {', '.join(desk.study.attributions)} for maps in native space, needed none: an "
            "atlas in the template's space does not fit brains of several sizes. Set "
            "attributions = [] in the study's file, or study T1w instead of T1wACPC."
        )
    grid = _coarsen(grid, desk.study.voxel_size)
    folder = desk.folder / "grid"
    for name in ABSENT:  # of an earlier run in the template's space
        (folder / name).unlink(missing_ok=True)
    save(np.ones(grid.shape, bool), grid.affine, folder / "mask.nii.gz")
    return grid


def _coarsen(grid, voxel_size):
    """Return the grid with the voxel size of a study, which is never finer than the maps."""
    if voxel_size < grid.voxel_size.min() - 1e-3:
        raise InputError(
            f"Found voxel_size {voxel_size:g} for maps of {grid.voxel_size.min():g} "
            "mm, needed at least the maps' own. Raise voxel_size, or prepare everyone finer."
        )
    return rescale_grid(grid, voxel_size)
