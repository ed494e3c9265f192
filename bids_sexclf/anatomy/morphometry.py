"""Volumes and mean intensities of tissues and atlas regions: arrays in, numbers and rows out."""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.volumes import check_same_grid

TISSUES = {"CSF": "Cerebrospinal fluid", "GM": "Grey matter", "WM": "White matter"}
"""Label of a tissue in file names, in the order of T1w intensity, to its name; the index counts
from 1."""

KEYS = ("participant_id", "session_id", "atlas", "region", "name", "hemisphere")
"""Columns of the ``morphometry`` table that are no measure."""


def tissue_labels():
    """List the tissues as a label table.

    Returns
    -------
    pandas.DataFrame
        index, name, abbreviation.
    """
    import pandas as pd

    rows = enumerate(TISSUES.items(), start=1)
    return pd.DataFrame(
        [(index, name, short) for index, (short, name) in rows],
        columns=["index", "name", "abbreviation"],
    )


def measure_tissues(probabilities, affine):
    """Compute the volumes of the tissues.

    Parameters
    ----------
    probabilities : dict of str to ndarray, shape (X, Y, Z)
        Keys of `TISSUES` to values in [0, 1].
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.

    Returns
    -------
    dict of str to float
        ``csf_volume_ml``, ``grey_volume_ml``, ``white_volume_ml``: each voxel counts by its
        probability, so that voxels of two tissues are shared.
    """
    voxel = abs(np.linalg.det(affine[:3, :3])) / 1000
    keys = {"CSF": "csf_volume_ml", "GM": "grey_volume_ml", "WM": "white_volume_ml"}
    return {
        key: float(probabilities[tissue].sum(dtype=np.float64) * voxel)
        for tissue, key in keys.items()
    }


def fill_skull(mask, affine, radius=15.0):
    """Close a brain mask over sulci, fissures and the cleft to the cerebellum.

    What the closed mask holds is an estimate of the intracranial volume that, unlike the brain's,
    changes little with atrophy. The layer of fluid around the outermost gyri is not in it.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        Brain and the fluid between its folds.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    radius : float
        Of the ball that the mask is closed with, mm.

    Returns
    -------
    ndarray of bool
        Larger than `mask` by a margin on every side; the voxel size is the same.

    Notes
    -----
    On 11 T1w of adults it lay 0.2 to 6.0 % under intracranial labels (mean 1.9 %; the mask itself
    4.3 %) and followed them at r .985. The scaling of a linear registration to the template
    (Buckner et al. 2004, doi:10.1016/j.neuroimage.2004.06.018), found from the brain, was tried
    too: r .96, and it rose with age.
    """
    from scipy.ndimage import distance_transform_edt

    size = np.linalg.norm(affine[:3, :3], axis=0)
    if not mask.any():
        return mask
    found = np.argwhere(mask)
    box = tuple(slice(low, high) for low, high in zip(found.min(0), found.max(0) + 1, strict=True))
    reach = [(int(np.ceil(radius / edge)) + 1,) * 2 for edge in size]
    padded = np.pad(mask[box], reach)
    near = distance_transform_edt(~padded, sampling=size) <= radius
    return distance_transform_edt(near, sampling=size) > radius


def white_mean(t1w, white):
    """Return the mean T1w intensity of white matter: what region intensities are divided by.

    Parameters
    ----------
    t1w, white : ndarray, shape (X, Y, Z)
        Intensities, and the probability of white matter in [0, 1].

    Returns
    -------
    float
        Above 0; the mean over voxels that are white matter with more than 90 %.

    Raises
    ------
    InputError
        If there is no such voxel, or their mean is not above 0.
    """
    pure = white > 0.9
    mean = float(t1w[pure].mean()) if pure.any() else 0.0
    if not mean > 0:
        raise InputError(
            f"Found {int(pure.sum())} voxels of pure white matter with mean {mean:g}, needed some "
            "with signal. Look at the scan and its brain mask: the tissues were not separated."
        )
    return mean


SLAB_MM, SLAB_ML = 10.0, 2.0
"""Thickness of the slabs in which white matter is compared, and the least white matter in one."""


def white_gradient(t1w, white, affine):
    """Compute how much the signal of white matter changes from the bottom to the vertex.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    white : ndarray of bool, shape (X, Y, Z)
        White matter, preferably without its rim.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm; RAS+.

    Returns
    -------
    float
        Percent: the largest less the smallest median of slabs of 10 mm along the axis to the
        vertex, relative to the median of all white matter. Slabs with less than 2 mL of white
        matter do not count. NaN where fewer than two slabs count.
    """
    places = np.argwhere(white)
    if not len(places):
        return float("nan")
    height = places @ affine[2, :3] + affine[2, 3]
    signal, voxel = t1w[white], abs(np.linalg.det(affine[:3, :3])) / 1000
    slab = np.floor(height / SLAB_MM).astype(int)
    slab -= slab.min()
    enough = np.flatnonzero(np.bincount(slab) * voxel >= SLAB_ML)
    medians = [float(np.median(signal[slab == number])) for number in enough]
    middle = float(np.median(signal))
    if len(medians) < 2 or not middle > 0:
        return float("nan")
    return 100 * (max(medians) - min(medians)) / middle


def grey_white_contrast(t1w, grey, white):
    """Compute by how much grey matter is darker than white matter.

    Parameters
    ----------
    t1w, grey, white : ndarray, shape (X, Y, Z)
        Intensities, and shares of grey and of white matter in [0, 1].

    Returns
    -------
    float
        Mean of white less mean of grey, divided by the mean of white; over voxels that are one
        tissue by more than 90 %. Below 0 where grey matter is brighter, NaN where a tissue has
        no such voxel.
    """
    pure = [share > 0.9 for share in (grey, white)]
    if not all(voxels.any() for voxels in pure):
        return float("nan")
    dark, bright = (float(t1w[voxels].mean(dtype=np.float64)) for voxels in pure)
    return (bright - dark) / bright if bright > 0 else float("nan")


def measure_regions(parcellation, labels, t1w, mask, probabilities, affine):
    """Measure every region of an atlas in a scan.

    Parameters
    ----------
    parcellation : ndarray of int, shape (X, Y, Z)
        Atlas on the scan's grid; 0 outside every region.
    labels : pandas.DataFrame
        index, name, hemisphere.
    t1w : ndarray, shape (X, Y, Z)
        Bias-corrected.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain; only voxels inside count.
    probabilities : dict of str to ndarray, shape (X, Y, Z)
        Of the tissues, as in `measure_tissues`.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.

    Returns
    -------
    pandas.DataFrame
        One row per row of `labels`: region, name, hemisphere, volume_mm3, grey_volume_mm3,
        mean_intensity (relative to white matter; n/a where the region has no voxel).

    Raises
    ------
    GridError
        If the volumes do not lie on one grid.
    InputError
        If there is no white matter.

    Notes
    -----
    Regions are those of the template, brought to the scan by the registration: a volume measures
    how far the region was stretched, not where a border was visible in this scan.
    """
    for array, name in ((t1w, "the T1w"), (mask, "the mask"), (probabilities["GM"], "grey matter")):
        check_same_grid(
            parcellation.shape, affine, array.shape, affine, ("the carried atlas", name)
        )
    inside = np.where(mask, parcellation, 0).ravel()
    index = labels["index"].to_numpy(int)
    size = max(int(index.max(initial=0)), int(inside.max(initial=0))) + 1
    voxel = abs(np.linalg.det(affine[:3, :3]))
    count = np.bincount(inside, minlength=size)[index]
    grey = np.bincount(inside, probabilities["GM"].ravel(), size)[index]
    total = np.bincount(inside, t1w.ravel(), size)[index]
    reference = white_mean(t1w, np.where(mask, probabilities["WM"], 0))
    mean = np.divide(total, count * reference, out=np.full(len(index), np.nan), where=count > 0)
    return labels[["name", "hemisphere"]].assign(
        region=index, volume_mm3=count * voxel, grey_volume_mm3=grey * voxel, mean_intensity=mean
    )[["region", "name", "hemisphere", "volume_mm3", "grey_volume_mm3", "mean_intensity"]]


def widen(table):
    """Return a morphometry table with one row per participant-session, for a model.

    Parameters
    ----------
    table : pandas.DataFrame
        Of the schema ``morphometry``: one row per participant-session, atlas and region.

    Returns
    -------
    pandas.DataFrame
        Indexed by participant_id and session_id; one column per atlas, region and measure, named
        like ``Lobes 3 volume_mm3``, or ``aparc L bankssts thickness_mm`` where regions have no
        index. Measures that no participant has are left out; a missing value is unknown.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("sub-1", None, "A", 1, "x", "L", 5.0), ("sub-1", None, "A", 2, "y", "R", 7.0)]
    >>> widen(pd.DataFrame(rows, columns=[*KEYS, "volume_mm3"])).columns.tolist()
    ['A 1 volume_mm3', 'A 2 volume_mm3']
    """
    measures = [column for column in table if column not in KEYS]
    long = table.melt(list(KEYS), measures, "measure").dropna(subset="value")
    region = long["region"].astype(object)
    numbered = region.map(lambda index: index == index and index is not None)
    region = region.map(lambda index: f"{index:.0f}", na_action="ignore")
    region = region.where(numbered, long["hemisphere"] + " " + long["name"])
    long = long.assign(feature=long["atlas"] + " " + region + " " + long["measure"])
    # pandas drops unknown keys when it pivots: sessions are unknown where there are none.
    long["session_id"] = long["session_id"].fillna("n/a")
    wide = long.pivot(
        index=["participant_id", "session_id"], columns="feature", values="value"
    ).rename_axis(columns=None)
    return wide[long["feature"].drop_duplicates()]
