"""The grid of a study: the template's brain, or for brains in their own size nobody's."""

import numpy as np

from bids_sexclf import attribution, layout, resources
from bids_sexclf.errors import InputError
from bids_sexclf.tables import write_table
from bids_sexclf.volumes import Grid, crop_grid, load, resample, rescale_grid, save

ABSENT = ("template.nii.gz", "white.nii.gz", "atlas.nii.gz", "atlas.tsv")
"""What a study of brains in their own size lacks."""


def write_grid(desk, space, resolution):
    """Write the study's grid: template brain, mask, white matter and atlas, cut to the brain.

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
    atlas = resources.find_atlas(
        desk.study.atlas, grid, space, desk.study.atlas_labels, desk.run.atlas_folders()
    )
    inside = inside[box]
    labelled = atlas.parcellation * inside
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


def write_native_grid(desk, path):
    """Write the study's grid for brains in their own size.

    The mask is the whole box: a mask of anybody's brain would cut, or hint at, the size of the
    others. No atlas fits brains of several sizes at once, so there is none.

    Parameters
    ----------
    desk : base.Desk
    path : path-like
        One of the maps.

    Returns
    -------
    volumes.Grid

    Raises
    ------
    InputError
        If the study asks for regions, or for finer voxels than the maps have.
    """
    asked = [name for name in desk.study.attributions if attribution.find(name).YIELDS == "regions"]
    if asked:
        raise InputError(
            f"Found {', '.join(asked)} for maps in native space, needed none: an atlas in the "
            "template's space does not fit brains of several sizes. Set attributions = [] in the "
            "study's file, or study T1w instead of T1wACPC."
        )
    volume, affine = load(path, ndim=3)
    grid = _coarsen(Grid(volume.shape, affine), desk.study.voxel_size)
    folder = desk.folder / "grid"
    for name in ABSENT:  # of an earlier run in the template's space
        (folder / name).unlink(missing_ok=True)
    save(np.ones(grid.shape, bool), grid.affine, folder / "mask.nii.gz")
    return grid


def _coarsen(grid, voxel_size):
    """Give the grid of a study's voxel size; maps are never made finer than they are."""
    if voxel_size < grid.voxel_size.min() - 1e-3:
        raise InputError(
            f"Found voxel_size {voxel_size:g} for maps of {grid.voxel_size.min():g} "
            "mm, needed at least the maps' own. Raise voxel_size, or prepare everyone finer."
        )
    return rescale_grid(grid, voxel_size)
