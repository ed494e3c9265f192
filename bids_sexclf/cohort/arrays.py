"""The arrays of a cohort: one per map, participants × X × Y × Z, on the grid of the study."""

import numpy as np

from bids_sexclf.bundle import scaling
from bids_sexclf.cohort.coverage import fill_gaps, find_coverage
from bids_sexclf.cohort.maps import ENTRIES, read_map
from bids_sexclf.cohort.resemblance import find_copies
from bids_sexclf.errors import InputError
from bids_sexclf.volumes import load, new_cohort, release, save


def array_path(folder, name):
    """Name the cohort array of a map in a study's folder."""
    return folder / "arrays" / f"{name}.npy"


def mean_path(folder, name):
    """Name the image of the mean of a map over the cohort in a study's folder."""
    return folder / "grid" / f"mean_{name}.nii.gz"


def write_arrays(desk, cohort, grid, advance, averager=None):
    """Write one memory-mapped array per map: participants × X × Y × Z, and its mean as an image.

    Voxels that a scan has not measured are filled with the mean of the scans that measured them.
    Values are scaled as `bundle.scaling` says. Outside the template's brain everything is 0.

    Parameters
    ----------
    desk : base.Desk
    cohort : pandas.DataFrame
    grid : volumes.Grid
    advance : callable
    averager : Averager, optional
        Receives every map on the grid it was prepared on.

    Returns
    -------
    dict of int to str
        Row to what is wrong with its map.
    """
    inside = load(desk.folder / "grid" / "mask.nii.gz", ndim=3)[0] > 0
    bad, done, total = {}, 0, len(cohort) * len(desk.study.single_maps)
    for name in desk.study.single_maps:
        masks, gaps = find_coverage(desk.derivatives, ENTRIES[name]), {}
        with new_cohort(array_path(desk.folder, name), (len(cohort), *grid.shape)) as array:
            for row, path in enumerate(cohort[name]):
                person, session = cohort.loc[row, ["participant_id", "session_id"]]
                who = (person, session if isinstance(session, str) else None)
                try:
                    whole, affine, covered = read_map(desk.derivatives, path, masks.get(who))
                    whole, array[row], gaps[row] = _carry(
                        path, whole, affine, covered, grid, inside, scaling.find(name)
                    )
                except InputError as fault:
                    bad[row] = " ".join(str(fault).split())[:300]
                release(array)
                if averager and row not in bad:
                    averager.add(person, session, name, whole, covered)
                done += 1
                advance(done, total)
            bad = find_copies(array, cohort, name) | bad
            mean = fill_gaps(array, gaps, bad)
        save(mean.astype(np.float32), grid.affine, mean_path(desk.folder, name))
    return bad


def _carry(path, *about):
    """Carry a map to the grid and scale it; name the file where that fails."""
    try:
        return scaling.carry(*about)
    except InputError as fault:
        raise InputError(f"{path} is {fault}") from fault
