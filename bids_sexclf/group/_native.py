"""The study grid of brains in their own size: a box that is nobody's brain."""

import numpy as np

from bids_sexclf import attribution
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import Grid, load, rescale_grid, save

ABSENT = ("template.nii.gz", "white.nii.gz", "atlas.nii.gz", "atlas.tsv")


def write_grid(desk, path):
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
    whole = Grid(volume.shape, affine)
    if desk.study.voxel_size < whole.voxel_size.min() - 1e-3:
        raise InputError(
            f"Found voxel_size {desk.study.voxel_size:g} for maps of {whole.voxel_size.min():g} "
            "mm, needed at least the maps' own. Raise voxel_size, or prepare everyone finer."
        )
    grid = rescale_grid(whole, desk.study.voxel_size)
    folder = desk.folder / "grid"
    for name in ABSENT:  # of an earlier run in the template's space
        (folder / name).unlink(missing_ok=True)
    save(np.ones(grid.shape, bool), grid.affine, folder / "mask.nii.gz")
    return grid
