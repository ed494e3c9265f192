"""Compare maps with each other: agreement.tsv from attributions and the voxels of each fold.

Folds, repeats, fills, methods, models and maps are compared in pairs, by region and, for methods of
voxels, by voxel of the brain. What is compared is where a model looks: values are averaged within
each of the two kinds of people, and then the magnitudes of both.
"""

from itertools import combinations

import numpy as np

from bids_sexclf import attribution, targets
from bids_sexclf.group._asking import PLACES
from bids_sexclf.group.questions import name_question
from bids_sexclf.stats.localisation import average_magnitude
from bids_sexclf.stats.similarity import correlate_ranks, overlap_tops
from bids_sexclf.tables import read_table, schema, write_table
from bids_sexclf.volumes import load, open_cohort

READS = ("attributions", "cohort", "splits")
WRITES = ("agreement.tsv",)
SETTINGS = ("target",)
KEYS = ("model", "map", "method", "fill", "atlas")
PAIRED = {"fills": "fill", "methods": "method", "models": "model", "maps": "map"}
"""What is compared between attributions of the study, and the key in which the two differ."""
TOP = {"region": 0.25, "voxel": 0.05}
"""Share of the regions, and of the voxels of the brain, that are called top."""


def files(desk):
    """Name atlas and brain on the study grid."""
    return {f"grid/{name}": desk.folder / "grid" / name for name in ("mask.nii.gz", "atlas.tsv")}


def run(desk, advance):
    """Compare every two maps that differ in one thing.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    import pandas as pd

    profiles = _read_profiles(desk, advance)
    rows = []
    for level in TOP:
        known = {key: one[level] for key, one in profiles.items() if level in one}
        total = _count_units(desk, level) if known else None
        rows += [row for key, one in known.items() for row in _within(key, one, level, total)]
        rows += _between({key: one["all"] for key, one in known.items()}, level, total)
    rows += _against_size(desk, profiles)
    table = pd.DataFrame(rows, columns=list(schema("agreement")))
    write_table(table, desk.folder / "agreement.tsv", "agreement")


def _count_units(desk, level):
    """Count the units of the published formula: voxels of the whole image; None for regions."""
    if level == "region":
        return None
    return load(desk.folder / "grid" / "mask.nii.gz", ndim=3)[0].size


def _read_places(desk):
    """Read the attributions of places in the brain."""
    attributions = desk.read("attributions")
    places = [attribution.find(name).YIELDS in PLACES for name in attributions["method"]]
    return attributions[np.array(places, dtype=bool)]


def _read_profiles(desk, advance):
    """Average each attribution over all tested, over each repeat and over each fold.

    Returns
    -------
    dict
        Key of an attribution to level to ``"all"``, repeats (int) and folds (pair of int) to an
        array of one magnitude per unit.
    """
    attributions = _read_places(desk)
    cohort = desk.read("cohort").drop_duplicates("participant_id")
    kind = dict(
        zip(
            cohort["participant_id"],
            targets.find(desk.study.target).weighed(cohort),
            strict=True,
        )
    )
    groups = list(attributions.groupby(list(KEYS), sort=False, dropna=False))
    profiles = {}
    for step, (values, rows) in enumerate(groups, start=1):
        key = tuple(value if isinstance(value, str) else None for value in values)
        profiles[key] = {"region": _average_regions(rows, kind)}
        if attribution.find(key[2]).YIELDS == "voxels":
            profiles[key]["voxel"] = _average_voxels(desk, key, rows, kind)
        advance(step, len(groups))
    return profiles


def _average_regions(rows, kind):
    """Average values of regions, by the index of the region."""
    scan = ["participant_id", "session_id", "repeat", "fold", "index"]
    values = rows["value"] * rows["weight"]
    known = rows[scan].assign(value=values)[values.notna()]
    scans = known.groupby(scan, dropna=False)["value"].sum().reset_index()
    regions = np.sort(rows["index"].unique())

    def average(part):
        table = part.pivot_table(index="participant_id", columns="index", values="value")
        table = table.reindex(columns=regions)
        return average_magnitude(table.to_numpy(), [kind[name] for name in table.index])

    return _at_each(scans, average)


def _at_each(rows, average):
    """Average all rows, those of each repeat, and those of each fold."""
    parts = {"all": rows} | dict(iter(rows.groupby("repeat")))
    parts |= dict(iter(rows.groupby(["repeat", "fold"])))
    return {name: average(part) for name, part in parts.items()}


def _average_voxels(desk, key, rows, kind):
    """Average values of the voxels of the brain."""
    mask = load(desk.folder / "grid" / "mask.nii.gz", ndim=3)[0] > 0
    name = f"attributions_{name_question(*key[2:])}.npy"
    sums = {}
    for (repeat, fold), part in rows.groupby(["repeat", "fold"]):
        folder = desk.folder / "models" / f"{key[0]}_{key[1]}" / f"repeat-{repeat}_fold-{fold}"
        scans = part.drop_duplicates(["participant_id", "session_id"])["participant_id"]
        for volume, person in zip(open_cohort(folder / name), scans, strict=True):
            voxels = np.asarray(volume[mask], np.float64)
            if np.isfinite(voxels).all():
                for place in ("all", repeat, (repeat, fold)):
                    total = sums.setdefault((place, kind[person]), [0.0, 0])
                    total[0], total[1] = total[0] + voxels, total[1] + 1
    places = dict.fromkeys(place for place, _ in sums)
    means = {at: total / count for at, (total, count) in sums.items()}
    return {
        place: np.mean([np.abs(means[place, one]) for one in (0, 1) if (place, one) in means], 0)
        for place in places
    } or {"all": np.full(int(mask.sum()), np.nan)}


def _within(key, profiles, level, total):
    """Compare the folds of each repeat, and the repeats, of one attribution."""
    folds = [name for name in profiles if isinstance(name, tuple)]
    repeats = [name for name in profiles if name != "all" and not isinstance(name, tuple)]
    pairs = {
        "folds": [(a, b) for a, b in combinations(folds, 2) if a[0] == b[0]],
        "repeats": list(combinations(repeats, 2)),
    }
    for what, chosen in pairs.items():
        if chosen:
            both = [(profiles[a], profiles[b]) for a, b in chosen]
            yield _row(key, what, what, level, both, total)


def _between(profiles, level, total):
    """Compare attributions that differ in one thing; methods also where one has no fill."""
    rows = []
    for what, name in PAIRED.items():
        place = KEYS.index(name)
        for one, other in combinations(profiles, 2):
            differ = {i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b}
            if what == "methods" and None in (one[3], other[3]):
                differ -= {KEYS.index("fill")}
            if differ == {place} and profiles[one].shape == profiles[other].shape:
                both = [(profiles[one], profiles[other])]
                rows.append(_row(one, what, other[place], level, both, total))
    return rows


def _row(key, what, other, level, pairs, total):
    """Average the agreement of pairs."""
    share = TOP[level]
    rho = [correlate_ranks(one, another) for one, another in pairs]
    tops = [overlap_tops(one, another, share, total) for one, another in pairs]
    known = np.isfinite(rho)
    numbers = {"rho": np.mean(np.array(rho)[known]) if known.any() else np.nan}
    for name in tops[0]:
        values = np.array([one[name] for one in tops])
        numbers[name] = values[np.isfinite(values)].mean() if np.isfinite(values).any() else np.nan
    about = {"compared": what, "other": other, "level": level, "top_share": share}
    counts = {"n_units": pairs[0][0].size, "n_pairs": int(known.sum())}
    return dict(zip(KEYS, key, strict=True)) | about | counts | numbers


def _against_size(desk, profiles):
    """Compare weights of regions with the number of their voxels."""
    if not profiles:
        return []
    sizes = read_table(desk.folder / "grid" / "atlas.tsv", "atlas").set_index("index")["n_voxels"]
    attributions = _read_places(desk)
    regions = np.sort(attributions["index"].unique())
    voxels = sizes.reindex(regions).to_numpy(float)
    rows = []
    for key, levels in profiles.items():
        weights = levels["region"]["all"]
        if weights.shape == voxels.shape:
            about = {"compared": "size", "other": "n_voxels", "level": "region"}
            counts = {"n_units": voxels.size, "n_pairs": 1, "rho": correlate_ranks(weights, voxels)}
            rows.append(dict(zip(KEYS, key, strict=True)) | about | counts)
    return rows
