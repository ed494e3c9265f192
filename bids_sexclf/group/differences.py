"""Test which regions differ between the sexes, without a model: differences.tsv from the cohort."""

import numpy as np

from bids_sexclf import models
from bids_sexclf.cohort import features
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.cohort.blocks import confound_columns, find_known, gather_people
from bids_sexclf.group._voxelwise import FOLDER, compare_voxels
from bids_sexclf.group.questions import name_atlas
from bids_sexclf.stats.differences import Regions
from bids_sexclf.stats.effects import cohens_d
from bids_sexclf.stats.exchangeable import deal_sexes, find_obstacle
from bids_sexclf.tables import read_table, schema, write_table
from bids_sexclf.volumes import load, open_cohort, release

READS = ("cohort", "resemblance", "morphometry")
WRITES = ("differences.tsv", "voxel_differences.tsv")
ALSO = (f"{FOLDER}/*.nii.gz",)
SETTINGS = ("maps", "voxel_tests", "permutations", "interval_level", "random_seed")
MORPHOMETRY, INTENSITY, FEATURES = "morphometry", "intensity", "features"
"""Stand for the name of a map where a region's measures, or columns of a table, are compared."""
COUNTS = ("n_voxels", "n_vertices")
"""Measures that repeat volume and area in another unit, and are not compared."""
NORM = "norm_"
"""Beginning of FreeSurfer's intensities, of which the mean is compared, apart from the sizes."""
PORTION = 2**26
"""Values that are read at once: as many regions as this holds of everybody."""


def files(desk):
    """Name the cohort arrays and the atlas on the study grid, or the table of features."""
    if not desk.study.maps:
        return _name_table(desk)
    arrays = {
        f"arrays/{name}.npy": array_path(desk.folder, name) for name in desk.study.single_maps
    }
    arrays |= {f"grid/{name}": desk.folder / "grid" / name for name in _GRID}
    return arrays | (_name_table(desk) if _reads_table(desk.study) else {})


def _name_table(desk):
    """Name the table of features and the dictionary beside it."""
    path = features.source(desk.study, desk.folder)
    return {"features": path, "features.json": path.with_suffix(".json")}


_GRID = ("atlas.nii.gz", "atlas.tsv", "mask.nii.gz")


def run(desk, advance):
    """Test every region of every map, every region's measures, and the columns of a table.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
    """
    import pandas as pd

    cohort = desk.read("cohort")
    people = gather_people(cohort, desk.read("resemblance"))
    sources = [*_list_volumes(desk, cohort, people), *_list_measures(desk, cohort, people)]
    sources += _list_features(desk, cohort, people)
    steps, done, tables = sum(len(labels) for _, _, labels, _ in sources), 0, []
    for name, atlas, labels, portions in sources:
        average = _average_voxels if name in desk.study.single_maps else _average_measures
        blocks = [Block(people, desk.study, adjusted) for adjusted in (False, True)]
        blocks = [block for block in blocks if block.differs]
        for values in portions:
            for block in blocks:
                block.add(values, average)
            done += 1
            advance(done, steps)
        tables += [block.table(labels).assign(map=name, atlas=atlas) for block in blocks]
    order = list(schema("differences"))
    table = pd.concat(tables) if tables else pd.DataFrame(columns=order, dtype=object)
    write_table(table.reindex(columns=order), desk.folder / "differences.tsv", "differences")
    _compare_voxels(desk, cohort, people)


def _compare_voxels(desk, cohort, people):
    """Compare the voxels of every map, where the study asks for it, and write the table."""
    import pandas as pd

    order, tables = list(schema("voxel_differences")), []
    there = all((desk.folder / "grid" / name).exists() for name in _GRID)
    for name in desk.study.single_maps if desk.study.voxel_tests and there else []:
        array = open_cohort(array_path(desk.folder, name))
        for adjusted in (False, True):
            block = Block(people, desk.study, adjusted)
            if block.differs:
                table = compare_voxels(desk, name, array, _sessions_of(cohort, people), block)
                tables.append(table.assign(map=name, atlas=name_atlas(desk.study.atlas)))
    table = pd.concat(tables) if tables else pd.DataFrame(columns=order, dtype=object)
    table = table.reindex(columns=order).astype({"n_above": "Int64"})
    write_table(table, desk.folder / "voxel_differences.tsv", "voxel_differences")


class Block:
    """The tests of all regions of one map under one adjustment.

    Parameters
    ----------
    people : pandas.DataFrame
        As ``gather_people`` gives it.
    study : settings.Study
    adjusted : bool
        Whether confounds are taken out.

    Attributes
    ----------
    differs : bool
        False where there is nothing to adjust for.
    """

    def __init__(self, people, study, adjusted):
        names, complete = find_known(people) if adjusted else ([], np.ones(len(people), bool))
        self.differs = bool(names) or not adjusted
        self.rows, self.study = np.flatnonzero(complete), study
        people = people[complete]
        self.sex, self.family = people["sex"].to_numpy(), people["family"].to_numpy()
        self.site = people["site"].to_numpy()
        self.columns = confound_columns(people, names) if names else None
        sites = ["site"] if len(np.unique(self.site)) > 1 else []
        self.adjusted_for = "+".join([*sites, *names]) or "nothing"
        about = (self.sex, self.columns, self.site, self.family)
        self.obstacle = find_obstacle(*about)
        self.tests = None
        if not self.obstacle:
            self.tests = Regions(deal_sexes(*about, n=study.permutations, seed=study.random_seed))
        self.means = []

    def add(self, values, average):
        """Test one region.

        Parameters
        ----------
        values : ndarray of float, shape (people, voxels)
        average : callable
            Of the values of those tested; what Cohen's d is of.
        """
        values = values[self.rows]
        if self.tests is not None:
            self.tests.add(values)
        self.means.append(average(values))

    def table(self, labels):
        """Return the rows of all regions, in the order of `labels`."""
        rows = labels.assign(adjusted_for=self.adjusted_for, n_participants=len(self.sex))
        if self.tests is None:
            return rows.assign(n_participants=0, reason=self.obstacle)
        results = self.tests.finish()
        d, low, high = cohens_d(
            np.column_stack(self.means),
            self.sex,
            self.columns,
            self.site,
            self.family,
            self.study.interval_level,
        )
        tested = np.isfinite(results["statistic"])
        effect = {
            name: np.where(tested, numbers, np.nan)
            for name, numbers in (("d", d), ("ci_low", low), ("ci_high", high))
        }
        return rows.assign(
            n_voxels=results["n_voxels"],
            n_participants=np.where(tested, len(self.sex), 0),
            **effect,
            **{name: results[name] for name in ("statistic", "p", "p_fwe", "reason")},
        )


def _average_voxels(values):
    """Average each person's voxels, where everyone has a value."""
    finite = np.isfinite(values).all(axis=0)
    return values[:, finite].mean(axis=1) if finite.any() else np.full(len(values), np.nan)


def _average_measures(values):
    """Return the one measure of a region; several have no unit in common, and no average."""
    finite = np.isfinite(values).all(axis=0)
    return values[:, finite][:, 0] if finite.sum() == 1 else np.full(len(values), np.nan)


def _list_volumes(desk, cohort, people):
    """List each map with its atlas, the labels of its regions, and what yields their voxels."""
    paths = [desk.folder / "grid" / name for name in _GRID]
    if not all(path.exists() for path in paths):  # brains in their own size have no atlas
        return
    labels = read_table(paths[1], "atlas").rename(columns={"index": "region"})
    parcellation = np.rint(load(paths[0], ndim=3)[0]).astype(int).ravel()
    order = np.argsort(parcellation, kind="stable")
    ends = np.searchsorted(parcellation[order], labels["region"].to_numpy()[:, None] + [0, 1])
    places = [order[start:stop] for start, stop in ends]
    sessions = _sessions_of(cohort, people)
    for name in desk.study.single_maps:
        array = open_cohort(array_path(desk.folder, name))
        yield name, name_atlas(desk.study.atlas), labels, _read_regions(array, places, sessions)


def _sessions_of(cohort, people):
    """List the rows of the cohort of each participant."""
    rows = cohort.groupby("participant_id").indices
    return [rows[name] for name in people.index]


def _read_regions(array, places, sessions):
    """Yield everybody's voxels of one region after another; sessions are averaged."""
    for portion in _portion(places, len(sessions)):
        wanted = np.concatenate([places[k] for k in portion])
        values = np.empty((len(sessions), wanted.size), dtype=np.float32)
        for person, rows in enumerate(sessions):
            parts = [np.asarray(array[row].reshape(-1)[wanted]) for row in rows]
            values[person] = parts[0] if len(parts) == 1 else np.mean(parts, axis=0)
            release(array)
        start = 0
        for k in portion:
            yield values[:, start : start + places[k].size]
            start += places[k].size


def _portion(places, people):
    """Group regions so that a group of everybody's voxels fits into memory."""
    portion, size = [], 0
    for k, voxels in enumerate(places):
        if portion and (size + voxels.size) * people > PORTION:
            yield portion
            portion, size = [], 0
        portion.append(k)
        size += voxels.size
    if portion:
        yield portion


def _list_measures(desk, cohort, people):
    """List each atlas of morphometry.tsv with its regions and what yields their measures."""
    table = desk.read("morphometry")
    keys = ["participant_id", "session_id", "atlas", "region", "name", "hemisphere"]
    measures = [name for name in table if name not in (*keys, *COUNTS)]
    sizes = [name for name in measures if not name.startswith(NORM)]
    for atlas, rows in table.groupby("atlas", sort=False):
        groups = list(rows.groupby(["region", "name", "hemisphere"], dropna=False, sort=False))
        labels = _label([key for key, _ in groups])
        yield MORPHOMETRY, atlas, labels, _read_measures(groups, sizes, people.index)
        bright = f"{NORM}mean"
        if bright in measures and rows[bright].notna().any():
            groups = [(key, own) for key, own in groups if own[bright].notna().any()]
            labels = _label([key for key, _ in groups])
            yield INTENSITY, atlas, labels, _read_measures(groups, [bright], people.index)


def _list_features(desk, cohort, people):
    """List the regions of a table that the study brings and reads, and their columns."""
    study = desk.study
    if not _reads_table(study):
        return
    table, about = features.read_features(study, desk.folder, cohort)
    side = about["hemisphere"].astype(object).where(about["hemisphere"].notna(), None)
    groups = {}
    for column, key in enumerate(zip(about["name"], side, strict=True)):
        groups.setdefault(key, []).append(column)
    labels = _label([(None, *key) for key in groups])
    portions = _read_columns(table.values, _sessions_of(cohort, people), groups.values())
    yield FEATURES, name_atlas(study.features), labels, portions


def _reads_table(study):
    """Return whether a study brings a table of features that a model reads, or has no maps."""
    if study.features in features.OWN:
        return False
    return not study.maps or any(
        models.entry_of(study, name).READS == "features" for name in study.models
    )


def _read_columns(values, sessions, groups):
    """Yield everybody's columns of one region after another; sessions are averaged."""
    averages = np.stack([values[rows].mean(axis=0) for rows in sessions])
    for columns in groups:
        yield averages[:, columns]


def _label(keys):
    import pandas as pd

    labels = pd.DataFrame(keys, columns=["region", "name", "hemisphere"])
    return labels.assign(n_voxels=0).astype({"region": "Int64"})


def _read_measures(groups, measures, people):
    """Yield everybody's measures of one region after another; sessions are averaged."""
    for _, rows in groups:
        averages = rows.groupby("participant_id")[measures].mean().reindex(people)
        yield averages.to_numpy(dtype=np.float64)
