"""Make a target of which the source is known: whether one region's own mean is high or low."""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.bundle import adjustment
from bids_sexclf.group._inputs import map_rows, part_rows

SMALLEST = 8
"""Voxels in the brain below which a region is no source."""
CENTRED = 0.02
"""Spread over people of the mean of the brain, in spreads over voxels, below which a map counts as
centred in each person."""
ONE_CLASS = "the training or the test part of the fold holds people of one class only"


@dataclass(frozen=True)
class Source:
    """A region whose own mean is to be told from a map.

    Attributes
    ----------
    region : int
        Index in the atlas.
    parts : dict of str to ndarray of int
        Rows of the cohort in each part of the fold.
    volumes : dict
        Of each part, without the confounds that the study takes out.
    target : ndarray of int, shape (rows of the cohort,)
        1 where the region's own mean is above the median of the training part.
    """

    region: int
    parts: dict
    volumes: dict
    target: np.ndarray

    @property
    def fault(self):
        """Why nothing can be learnt of it; None where it can."""
        parts = [self.target[self.parts[part]] for part in ("train", "test")]
        return ONE_CLASS if any(len(np.unique(part)) < 2 for part in parts) else None


def choose_regions(parcellation, mask, count, seed):
    """Choose regions of the atlas as sources: of every size, at random among those of a size.

    Parameters
    ----------
    parcellation : ndarray of int, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z)
    count : int
    seed : int

    Returns
    -------
    list of int
        Ascending; fewer than `count` where the atlas has no more.
    """
    index, sizes = np.unique(parcellation[mask & (parcellation != 0)], return_counts=True)
    order = np.argsort(sizes, kind="stable")
    candidates = index[order][sizes[order] >= SMALLEST]
    rng = np.random.default_rng(seed)
    groups = np.array_split(candidates, min(count, len(candidates))) if len(candidates) else []
    return sorted(int(rng.choice(group)) for group in groups)


def make_source(job, region, parcellation, mask, cohort, splits):
    """Make the target of one region in the fold of a job.

    What brain size, where it is known of everyone, and the mean of the rest of the brain tell of
    the region's mean is taken out of it, the rest only where the map is not centred in each person.
    All people of the fold say what that is: it makes the target, and no model.

    Parameters
    ----------
    job : _jobs.Job
        Its map is read; of maps that are read together the first.
    region : int
    parcellation : ndarray of int, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z)
    cohort, splits : pandas.DataFrame

    Returns
    -------
    Source
    """
    parts = {part: part_rows(job, cohort, splits, part) for part in ("train", "validation", "test")}
    raw = {part: map_rows(job, cohort, rows) for part, rows in parts.items()}
    adjust = adjustment.learn(job.study, raw["train"], cohort.loc[parts["train"]])
    volumes = {part: adjust(rows, cohort.loc[parts[part]]) for part, rows in raw.items()}
    inside = mask & (parcellation == region)
    table = np.full((len(cohort), 4), np.nan)
    for part, rows in parts.items():
        for place, row in enumerate(rows):
            volume = np.asarray(volumes[part][place])
            volume = volume[0] if volume.ndim == 4 else volume
            brain = volume[mask]
            table[row] = (
                volume[inside].mean(),
                volume[mask & ~inside].mean(),
                brain.mean(),
                brain.std(),
            )
    used = np.concatenate(list(parts.values()))
    measure = _take_out(table, cohort["brain_volume_ml"].to_numpy(float), used)
    target = (measure > np.median(measure[parts["train"]])).astype(int)
    return Source(region, parts, volumes, target)


def _take_out(table, size, used):
    """Take the rest of the brain and brain size out of a region's mean.

    Parameters
    ----------
    table : ndarray of float, shape (rows, 4)
        Mean of the region, of the rest of the brain and of the whole brain, and its spread.
    size : ndarray of float, shape (rows,)
    used : ndarray of int
        Rows that are known.

    Returns
    -------
    ndarray of float, shape (rows,)
    """
    inside, rest, whole, spread = table.T
    # Of maps that are centred in each person the rest is known from the region: nothing would stay.
    centred = whole[used].std() < CENTRED * spread[used].mean()
    others = [] if centred else [rest]
    others += [size] if np.isfinite(size[used]).all() else []
    columns = np.column_stack([np.ones(len(table)), *others])
    slopes, *_ = np.linalg.lstsq(columns[used], inside[used], rcond=None)
    return inside - columns @ slopes
