"""Turn attributions into claims: regions.tsv and maps/ from attributions, cohort, splits."""

import numpy as np

from bids_sexclf import targets
from bids_sexclf.cohort.dependence import variance_factor
from bids_sexclf.stats import multiplicity, regional, resampling
from bids_sexclf.tables import read_table, schema, write_table
from bids_sexclf.volumes import load, save

READS = ("attributions", "cohort", "splits")
WRITES = ("regions.tsv",)
SETTINGS = ("target", "bootstraps", "permutations", "interval_level", "random_seed")
ALSO = ("maps/*drop.nii.gz",)
OUTSIDE = "no voxel of the region lies in the brain on the grid of the study"
KEYS = ["model", "map", "method", "fill", "atlas"]


def files(desk):
    """Name the atlas on the study grid, and its names."""
    return {f"grid/{name}": desk.folder / "grid" / name for name in ("atlas.nii.gz", "atlas.tsv")}


def run(desk, advance):
    """Test every region, correct over regions, and paint the mean drops.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    import pandas as pd

    order = list(schema("regions"))
    if desk.read("attributions").empty:  # none were asked for
        empty = pd.DataFrame(columns=order, dtype=object)
        write_table(empty, desk.folder / "regions.tsv", "regions")
        return
    cohort = desk.read("cohort").drop_duplicates("participant_id")
    family = cohort["family_id"].fillna(cohort["participant_id"]).astype(str)
    family.index = cohort["participant_id"]
    labels = read_table(desk.folder / "grid" / "atlas.tsv", "atlas").set_index("index")
    splits = desk.read("splits")
    groups = list(desk.read("attributions").groupby(KEYS, sort=False))
    tables = []
    for step, (key, rows) in enumerate(groups, start=1):
        drops = find_drops(rows, targets.find(desk.study.target))
        table = regions_table(
            drops, family[drops.index].to_numpy(str), desk.study, variance_factor(splits, rows)
        )
        table = table.assign(**dict(zip(KEYS, key, strict=True)))
        table = add_untested(table, labels)
        paint(desk, dict(zip(KEYS, key, strict=True)), drops)
        tables.append(table)
        advance(step, len(groups))
    # Signed ranks reach their smallest p as soon as all participants agree in sign, however small
    # the drops: among regions with one p, the largest mean drop comes first.
    table = pd.concat(
        [part.sort_values(["p_holm", "mean"], ascending=[True, False]) for part in tables]
    )
    write_table(table[order], desk.folder / "regions.tsv", "regions")


def add_untested(table, labels):
    """Add names to the tested regions, and a row for each region that could not be tested.

    Parameters
    ----------
    table : pandas.DataFrame
        Tested regions of one model on one map.
    labels : pandas.DataFrame
        name, hemisphere and n_voxels by the index of every region of the atlas.

    Returns
    -------
    pandas.DataFrame
        Regions without a voxel in the brain have no participants and no numbers, but a reason.
    """
    import pandas as pd

    absent = pd.DataFrame({"region": labels.index.difference(table["region"]), "reason": OUTSIDE})
    same = {name: table[name].iloc[0] for name in KEYS}
    rows = pd.concat([table, absent.assign(n_participants=0, **same)], ignore_index=True)
    rows = rows.reindex(columns=[*table.columns, "reason"])
    return rows.join(labels[["name", "hemisphere", "n_voxels"]], on="region")


def find_drops(rows, target):
    """Compute how much worse each participant's answer becomes, per region.

    Repeats and sessions of one participant are averaged: a participant counts once.

    Parameters
    ----------
    rows : pandas.DataFrame
        Attributions of one model on one map.
    target : targets.Target
        Says what is tested, in its own unit.

    Returns
    -------
    pandas.DataFrame
        Participants × regions; positive where the region spoke for the truth.
    """
    columns = (rows[name].to_numpy(float) for name in ("target", "evidence", "evidence_occluded"))
    long = rows[["participant_id", "region"]].assign(drop=target.effect(*columns))
    return long.groupby(["participant_id", "region"])["drop"].mean().unstack("region")


def regions_table(drops, family, study, factor):
    """Test every region over participants, and correct for having asked so many.

    Parameters
    ----------
    drops : pandas.DataFrame
        Participants × regions.
    family : ndarray of str
        One per participant; families are resampled and flipped as blocks.
    study : settings.Study
    factor : float
        Of the variance, as ``dependence.variance_factor`` gives it.

    Returns
    -------
    pandas.DataFrame
        The numbers of the ``regions`` table, one row per region.
    """
    import pandas as pd

    values = drops.to_numpy(float)
    tested = regional.wilcoxon_drop(values, factor)
    options = {"seed": study.random_seed, "factor": factor}
    low, high = resampling.mean_interval(
        values, family, n=study.bootstraps, level=study.interval_level, **options
    )
    return pd.DataFrame(
        {
            "region": drops.columns.to_numpy(int),
            "n_participants": len(drops),
            "mean": tested["mean"],
            "ci_low": low,
            "ci_high": high,
            "effect_size": tested["effect_size"],
            "p": tested["p"],
            "p_holm": multiplicity.holm(tested["p"]),
            "q_fdr": multiplicity.benjamini_hochberg(tested["p"]),
            "p_fwe": regional.signflip_max(values, family, n=study.permutations, **options),
            "variance_factor": factor,
        }
    )


def paint(desk, key, drops):
    """Write mean and standard deviation of the drops as maps on the study grid.

    Parameters
    ----------
    desk : base.Desk
    key : dict
        model, map, method, …
    drops : pandas.DataFrame
        Participants × regions.
    """
    parcellation, affine = load(desk.folder / "grid" / "atlas.nii.gz", ndim=3)
    parcellation = np.rint(parcellation).astype(int)
    for stat, values in (("mean", drops.mean()), ("sd", drops.std(ddof=1))):
        painted = np.zeros(int(parcellation.max()) + 1, dtype=np.float32)
        painted[values.index.to_numpy(int)] = values.to_numpy()
        name = (
            f"model-{key['model']}_map-{key['map']}_method-{key['method']}_stat-{stat}drop.nii.gz"
        )
        save(painted[parcellation], affine, desk.folder / "maps" / name)
