"""Stage ``regions``: reads attributions, cohort, splits; writes regions.tsv and maps/.

The claim is "this model leans on this region". It uses `p_fwe` of regions hidden by a fill that
supports it (the region of donors): both sexes have equal weight, signs are flipped by family, and
each region is compared with the largest statistic of all regions. The published rule has the column
``p_wilcoxon``, and makes no claim. Other units than regions, such as slices, have their own table
units.tsv.
"""

import numpy as np

from bids_sexclf import attribution, fills, targets
from bids_sexclf.cohort.blocks import find_families
from bids_sexclf.cohort.dependence import variance_factor
from bids_sexclf.group._units import compare_units
from bids_sexclf.group.questions import name_question
from bids_sexclf.stats import means, multiplicity, regional
from bids_sexclf.tables import read_table, schema, write_table
from bids_sexclf.volumes import load, open_cohort, save

READS = ("attributions", "cohort", "splits", "resemblance")
WRITES = ("regions.tsv",)
SETTINGS = ("target", "bootstraps", "permutations", "interval_level", "random_seed")
ALSO = ("maps/*_stat-*.nii.gz", "units.tsv", "feature_groups.tsv")
NAMES = ["name", "hemisphere", "n_voxels"]
OUTSIDE = "no voxel of the region lies in the brain on the grid of the study"
ONE_KIND = "people of one {} alone were tested"
FEWEST = 6
"""Families below which no p can be small: six that agree reach 1/64."""
TOO_FEW = f"fewer than {FEWEST} families were tested: no p-value could be small"
KEYS = ["model", "map", "method", "fill", "atlas"]


def files(desk):
    """Return the atlas on the study grid, and its label table."""
    return {f"grid/{name}": desk.folder / "grid" / name for name in ("atlas.nii.gz", "atlas.tsv")}


def run(desk, advance):
    """Test every region, correct over regions, and write maps of mean drops.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    import pandas as pd

    order = list(schema("regions"))
    attributions = desk.read("attributions")
    of_regions = attributions["unit"] == "region"
    people = _read_people(desk)
    of_features = attributions["unit"] == "features"
    write_others(desk, attributions[of_features], "feature_groups", people)
    write_others(desk, attributions[~of_regions & ~of_features], "units", people)
    if not of_regions.any():  # there are no attributions
        empty = pd.DataFrame(columns=order, dtype=object)
        write_table(empty, desk.folder / "regions.tsv", "regions")
        return
    labels = read_table(desk.folder / "grid" / "atlas.tsv", "atlas").set_index("index")
    groups = list(attributions[of_regions].groupby(KEYS, sort=False, dropna=False))
    tables = []
    for step, (values, rows) in enumerate(groups, start=1):
        key = dict(zip(KEYS, values, strict=True))
        tables.append(judge(desk, key, rows, people, labels))
        advance(step, len(groups))
    # Many regions may have the smallest possible p: sort these by their mean drop.
    table = pd.concat(
        [part.sort_values(["p_fwe", "mean"], ascending=[True, False]) for part in tables]
    )
    write_table(table[order], desk.folder / "regions.tsv", "regions")


def _read_people(desk):
    """Read family and kind, 0 or 1, of all participants."""
    cohort = desk.read("cohort").drop_duplicates("participant_id")
    family = find_families(cohort, desk.read("resemblance")).astype(str)
    kind = targets.find(desk.study.target).weighed(cohort)
    return cohort.assign(family=family, kind=kind).set_index("participant_id")[["family", "kind"]]


def write_others(desk, rows, name, people):
    """Write the table of units that are not regions, if there are any.

    Parameters
    ----------
    desk : base.Desk
    rows : pandas.DataFrame
        Attributions of these units.
    name : {"units", "feature_groups"}
    people : pandas.DataFrame
        ``family`` and ``kind``, 0 or 1, by participant.
    """
    path = desk.folder / f"{name}.tsv"
    if not len(rows):
        for old in (path, path.with_suffix(".json")):
            old.unlink(missing_ok=True)
    elif name == "units":
        write_table(compare_units(rows, people, desk.study), path, name)
    else:
        write_table(judge_features(desk, rows, people), path, name)


def judge_features(desk, rows, people):
    """Test the groups of features of every model of a table.

    Parameters
    ----------
    desk : base.Desk
    rows : pandas.DataFrame
        Attributions of groups of features.
    people : pandas.DataFrame
        ``family`` and ``kind``, 0 or 1, by participant.

    Returns
    -------
    pandas.DataFrame
        Rows of the table ``feature_groups``.
    """
    import pandas as pd

    tables = []
    for values, part in rows.groupby(KEYS, sort=False, dropna=False):
        table, _ = judge_units(desk, dict(zip(KEYS, values, strict=True)), part, people)
        names = part.drop_duplicates("index").set_index("index")["name"]
        table = table.assign(group=names.loc[table["region"]].to_numpy())
        order = ["p_fwe", "mean"] if "p_fwe" in table else ["region"]
        tables.append(table.sort_values(order, ascending=[True, False][: len(order)]))
    return pd.concat(tables).reindex(columns=list(schema("feature_groups")))


def judge(desk, key, rows, people, labels):
    """Test the regions of one model, map, method and fill, and write maps of mean drops.

    Parameters
    ----------
    desk : base.Desk
    key : dict
        Values of ``KEYS``.
    rows : pandas.DataFrame
        Attributions.
    people : pandas.DataFrame
        ``family`` and ``kind``, 0 or 1, by participant.
    labels : pandas.DataFrame
        name, hemisphere and n_voxels by the index of every region of the atlas.

    Returns
    -------
    pandas.DataFrame
        Rows of the ``regions`` table, also for regions that could not be tested.
    """
    tested_rows = rows[rows["value"].notna()]
    table, drops = judge_units(desk, key, rows, people)
    if drops is None:
        return add_untested(table, labels)
    if attribution.find(key["method"]).YIELDS == "voxels":
        average_voxels(desk, key, tested_rows, people["kind"])
    else:
        paint(desk, key, drops)
    return add_untested(table, labels)


def judge_units(desk, key, rows, people):
    """Test the regions, or groups of features, of one model, map, method and fill.

    Parameters
    ----------
    desk : base.Desk
    key : dict
        Values of ``KEYS``.
    rows : pandas.DataFrame
        Attributions.
    people : pandas.DataFrame
        ``family`` and ``kind``, 0 or 1, by participant.

    Returns
    -------
    table : pandas.DataFrame
        One row per ``region``, with `key` and the numbers of the ``regions`` table, or with a
        reason why there are none.
    drops : pandas.DataFrame or None
        Participants × regions; None if they could not be tested.
    """
    import pandas as pd

    tested_rows = rows[rows["value"].notna()]
    tested = people.loc[tested_rows["participant_id"].unique()]
    target, reasons = targets.find(desk.study.target), rows["reason"].dropna()
    if tested["kind"].nunique() < 2:
        reason = reasons.iloc[0] if len(reasons) else ONE_KIND.format(target.balanced_by)
        untested = {"region": rows["index"].unique(), "n_participants": 0, "reason": reason}
        return pd.DataFrame(untested).assign(**key), None
    signed = attribution.is_signed(key["method"])
    drops = find_drops(tested_rows, target, attribution.find(key["method"]).UNIT, signed)
    tested = people.loc[drops.index]
    table = run_tests(
        drops,
        tested["kind"].to_numpy(int),
        tested["family"].to_numpy(str),
        desk.study,
        variance_factor(desk.read("splits"), tested_rows),
        carries_claim(key["method"], key["fill"]),
    )
    if not signed:  # values that are never negative cannot be tested against zero
        table = table.assign(p_wilcoxon=np.nan, effect_size=np.nan)
    return table.assign(**key), drops


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
        Regions without a voxel in the brain have a reason, but no participants and no numbers.
    """
    import pandas as pd

    absent = pd.DataFrame({"region": labels.index.difference(table["region"]), "reason": OUTSIDE})
    keys = {name: table[name].iloc[0] for name in KEYS}
    rows = pd.concat([table, absent.assign(n_participants=0, **keys)], ignore_index=True)
    rows = rows.reindex(columns=[name for name in schema("regions") if name not in NAMES])
    return rows.join(labels[NAMES], on="region")


def find_drops(rows, target, unit="evidence", signed=True):
    """Compute the drop of each participant for each region.

    Drops of several donors are averaged by weight. Repeats and sessions of one participant are
    averaged, so that a participant counts once.

    Parameters
    ----------
    rows : pandas.DataFrame
        Attributions of one model, map, method and fill, with a value.
    target : targets.Target
        Says what is tested, in its own unit.
    unit : {"evidence", "none"}
        Of the values. Values without a unit are taken as they are, signed so that positive
        speaks for the truth.
    signed : bool
        Where values are sizes, False: they are taken as they are.

    Returns
    -------
    pandas.DataFrame
        Participants × regions; positive if the region supports the truth.
    """
    evidence, value = (rows[name].to_numpy(float) for name in ("evidence", "value"))
    drop = target.sign(rows["target"]) * value if signed else value
    if unit == "evidence":
        drop = target.effect(rows["target"].to_numpy(float), evidence, evidence - value)
    scan = ["participant_id", "session_id", "repeat", "index"]
    long = rows[scan].assign(drop=drop * rows["weight"])
    drops = long.groupby(scan, dropna=False)["drop"].sum()
    return drops.groupby(level=["participant_id", "index"]).mean().unstack("index")


def carries_claim(method, fill):
    """Return whether a method and a fill support the claim that a model leans on regions.

    Parameters
    ----------
    method : str
    fill : str or None

    Returns
    -------
    bool
    """
    hidden = "fill" in attribution.find(method).NEEDS
    return hidden and isinstance(fill, str) and fills.find(fill).CLAIMS


def run_tests(drops, kind, family, study, factor, claims):
    """Test every region over participants, with equal weight of both classes or sexes.

    Parameters
    ----------
    drops : pandas.DataFrame
        Participants × regions.
    kind : ndarray of int, shape (participants,)
        0 or 1: two kinds of people, with equal weight.
    family : ndarray of str, shape (participants,)
        Families are resampled and flipped as blocks.
    study : settings.Study
    factor : float
        Of the variance, as ``dependence.variance_factor`` gives it.
    claims : bool
        Whether `p_fwe` supports a claim.

    Returns
    -------
    pandas.DataFrame
        The numbers of the ``regions`` table, one row per region; without p-values if there are too
        few families for a small one.
    """
    import pandas as pd

    values, unknown = drops.to_numpy(float), np.full(drops.shape[1], np.nan)
    weight = regional.weigh_alike(kind)
    options = {"seed": study.random_seed, "factor": factor}
    low, high = means.mean_interval(
        values, family, target=kind, n=study.bootstraps, level=study.interval_level, **options
    )
    published = regional.wilcoxon_drop(values)
    table = {
        "region": drops.columns.to_numpy(int),
        "n_participants": len(drops),
        "mean": weight @ values / len(values),
        "ci_low": low,
        "ci_high": high,
        "effect_size": published["effect_size"],
        **dict.fromkeys(("p", "p_fwe", "p_holm", "q_fdr"), unknown),
        "p_wilcoxon": published["p"],
        "variance_factor": factor,
        "reason": None,
    }
    if len(np.unique(family)) < FEWEST:
        table |= {"p_wilcoxon": unknown, "reason": TOO_FEW}
    elif claims:
        p, p_fwe = regional.signflip(values, family, study.permutations, weight=weight, **options)
        corrected = {"p_holm": multiplicity.holm(p), "q_fdr": multiplicity.benjamini_hochberg(p)}
        table |= {"p": p, "p_fwe": p_fwe} | corrected
    return pd.DataFrame(table)


def _name_map(key):
    """Return the start of the file name of a map, with all its keys."""
    question = name_question(key["method"], key["fill"], key["atlas"])
    return f"model-{key['model']}_map-{key['map']}_{question}"


def average_voxels(desk, key, rows, kind):
    """Write mean and standard deviation over each kind of people, and over both with equal weight.

    Parameters
    ----------
    desk : base.Desk
    key : dict
        model, map, method, …
    rows : pandas.DataFrame
        Their attributions, in the order of the arrays of voxels; positive speaks for the second
        class, or for more of the quantity.
    kind : pandas.Series
        0 or 1 by participant: of two classes, or the sexes.
    """
    _, affine = load(desk.folder / "grid" / "atlas.nii.gz", ndim=3)
    label = name_question(key["method"], key["fill"], key["atlas"])
    target = targets.find(desk.study.target)
    maps = {name: [0, 0.0, 0.0] for name in target.alike_kinds}
    for (repeat, fold), part in rows.groupby(["repeat", "fold"]):
        folder = desk.folder / "models" / f"{key['model']}_{key['map']}"
        folder = folder / f"repeat-{repeat}_fold-{fold}"
        array = open_cohort(folder / f"attributions_{label}.npy")
        scans = part.drop_duplicates(["participant_id", "session_id"])
        for volume, person in zip(array, scans["participant_id"], strict=True):
            sums = maps[target.alike_kinds[kind[person]]]
            if np.isfinite(volume).all():
                sums[:] = sums[0] + 1, sums[1] + volume, sums[2] + np.square(volume, dtype=float)
    means = {name: total / count for name, (count, total, _) in maps.items()}
    squares = {name: square / count for name, (count, _, square) in maps.items()}
    means["all"], squares["all"] = (np.mean(list(one.values()), axis=0) for one in (means, squares))
    for name, mean in means.items():
        spread = np.sqrt(np.maximum(squares[name] - mean**2, 0))
        for stat, values in (("mean", mean), ("sd", spread)):
            path = f"{_name_map(key)}_{target.balanced_by}-{name}_stat-{stat}.nii.gz"
            save(values.astype(np.float32), affine, desk.folder / "maps" / path)


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
        name = f"{_name_map(key)}_stat-{stat}drop.nii.gz"
        save(painted[parcellation], affine, desk.folder / "maps" / name)
