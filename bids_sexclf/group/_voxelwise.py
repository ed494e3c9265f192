"""Compare the sexes voxel by voxel with threshold-free cluster enhancement, as nilearn does it.

nilearn permutes people freely, without blocks. So one person of each family is compared, and sites
are columns of the linear model: what differs between sites is taken out, but sexes are exchanged
across sites too.
"""

import numpy as np

from bids_sexclf.stats.design import dummy_columns
from bids_sexclf.tables import read_table
from bids_sexclf.volumes import load, save
from bids_sexclf.words import CHANCE_P

FOLDER = "voxels"
"""Of the study: where the maps lie."""
FEWEST = 6
"""People below which no p-value could be small."""
TOO_FEW = "fewer than {} people of different families, or people of one sex only, are left"
FREELY = "people, freely"
ACROSS_SITES = "people, freely; site is a column of the model, and sexes are exchanged across sites"
ONE_EACH = "; one person of each family"


def choose_unrelated(family):
    """Choose the first person of each family.

    Parameters
    ----------
    family : array_like, shape (people,)

    Returns
    -------
    numpy.ndarray of int
        Rows, ascending.
    """
    return np.sort(np.unique(np.asarray(family), return_index=True)[1])


def say_exchange(block, rows):
    """Describe among whom the sexes were exchanged.

    Parameters
    ----------
    block : differences.Block
    rows : numpy.ndarray of int
        Of the people who are compared.

    Returns
    -------
    str
    """
    several = len(np.unique(block.site[rows])) > 1
    return (ACROSS_SITES if several else FREELY) + (ONE_EACH if len(rows) < block.sex.size else "")


def compare_voxels(desk, name, array, sessions, block):
    """Test every voxel of the brain, correct over all of them, and write the maps.

    Parameters
    ----------
    desk : base.Desk
    name : str
        Of the map.
    array : numpy.ndarray, shape (rows of the cohort, X, Y, Z)
    sessions : list of numpy.ndarray of int
        Rows of the cohort of each participant.
    block : differences.Block
        Who is compared, and what is taken out.

    Returns
    -------
    pandas.DataFrame
        Rows of the table ``voxel_differences``, without map and atlas.
    """
    labels = read_table(desk.folder / "grid" / "atlas.tsv", "atlas")
    labels = labels.rename(columns={"index": "region"})
    rows = choose_unrelated(block.family)
    about = {"adjusted_for": block.adjusted_for, "exchanged": say_exchange(block, rows)}
    counts = np.bincount(block.sex[rows], minlength=2)
    if len(rows) < FEWEST or counts.min() < 2:
        reason = TOO_FEW.format(FEWEST)
        return labels.assign(**about, n_participants=0, reason=reason, n_voxels=0)
    parcellation, affine = load(desk.folder / "grid" / "atlas.nii.gz", ndim=3)
    mask = load(desk.folder / "grid" / "mask.nii.gz", ndim=3)[0] > 0
    session_rows = [sessions[block.rows[row]] for row in rows]
    volumes = np.stack([np.mean(array[rows_of_one], axis=0) for rows_of_one in session_rows])
    known = mask & np.isfinite(volumes).all(axis=0) & (np.ptp(volumes, axis=0) > 0)
    maps = _infer(volumes, affine, known, _lay_out(block, rows), desk.study)
    label = "none" if block.adjusted_for == "nothing" else block.adjusted_for.replace("_", "")
    for stat, values in maps.items():
        path = f"map-{name}_adjusted-{label}_stat-{stat}.nii.gz"
        save(values.astype(np.float32), affine, desk.folder / FOLDER / path)
    regions = np.rint(parcellation).astype(int)
    table = [_summarise(maps, known & (regions == region)) for region in labels["region"]]
    return labels.assign(**about, n_participants=len(rows), **_columns(table))


def _lay_out(block, rows):
    """Lay out the linear model: sex, confounds, and sites or an intercept."""
    import pandas as pd

    others = [dummy_columns(block.site[rows])]
    others += [] if block.columns is None else [block.columns[rows]]
    others = np.column_stack(others)
    columns = {"sex": block.sex[rows].astype(float)}
    return pd.DataFrame(columns | {f"other_{i}": one for i, one in enumerate(others.T)})


def _infer(volumes, affine, known, design, study):
    """Return t, the enhanced statistic and -log10 of the corrected p, computed by nilearn."""
    import warnings

    import nibabel as nib
    from nilearn.glm.second_level import non_parametric_inference

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nilearn warns of what is meant, such as one process
        images = non_parametric_inference(
            [nib.Nifti1Image(volume.astype(np.float32), affine) for volume in volumes],
            design_matrix=design,
            second_level_contrast="sex",
            mask=nib.Nifti1Image(known.astype(np.uint8), affine),
            n_perm=study.permutations,
            two_sided_test=True,
            random_state=study.random_seed % 2**31,
            tfce=True,
        )
    names = {"t": "t", "tfce": "tfce", "logp": "logp_max_tfce"}
    return {stat: np.asarray(images[name].dataobj) for stat, name in names.items()}


def _summarise(maps, inside):
    """Summarise the voxels of a region."""
    if not inside.any():
        return {"n_voxels": 0, "reason": "no voxel of the region varies in the brain"}
    t, p = maps["t"][inside], 10.0 ** -maps["logp"][inside]
    best = int(np.argmax(np.abs(t)))
    return {
        "n_voxels": int(inside.sum()),
        "n_above": int((p <= CHANCE_P).sum()),
        "t": float(t[best]),
        "p_fwe": float(min(1, p.min())),
    }


def _columns(rows):
    names = ("n_voxels", "n_above", "t", "p_fwe", "reason")
    return {name: [row.get(name) for row in rows] for name in names}
