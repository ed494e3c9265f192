"""The table of region means: maps averaged over the atlas, on the grid of the prepared maps."""

import numpy as np

from bids_sexclf import atlases, layout
from bids_sexclf.cohort.coverage import LEAST_OF_REGION, share_of_regions
from bids_sexclf.stats.region_means import pool, region_means
from bids_sexclf.tables import write_table
from bids_sexclf.volumes import Grid, load

TABLE = "region_means.tsv"


class Averager:
    """Averages maps over the regions of one atlas, and collects the rows.

    Parameters
    ----------
    desk : base.Desk
    space, resolution : str
        Labels of the maps' space.
    """

    def __init__(self, desk, space, resolution):
        mask, affine = load(desk.derivatives / layout.reference("mask", space, resolution), ndim=3)
        study = desk.study
        grid = Grid(mask.shape, affine)
        atlas = atlases.find_atlas(
            study.atlas, grid, space, study.atlas_labels, desk.run.atlas_folders(), mask > 0.5
        )
        self.name, self.labels = atlas.name, atlas.labels
        self.parcellation = atlas.parcellation * (mask > 0.5)
        self.groups = atlases.groups_of(study.atlas)
        self.rows = []

    def add(self, participant_id, session_id, name, volume, covered=None):
        """Average one map of one participant-session.

        Regions with too little coverage (mask `covered`) are unknown.
        """
        indices = self.labels["index"].to_numpy()
        means, counts = region_means(volume, self.parcellation, indices)
        inside, whole = share_of_regions(covered, self.parcellation, indices)
        place = {index: position for position, index in enumerate(indices)}
        members = [[place[index] for index in group] for group in self.groups.values()]
        pooled, sizes = pool(means, counts, members)
        _hide(means, counts, inside, whole)
        sums = [
            np.array([part[region_members].sum() for region_members in members])
            for part in (inside, whole)
        ]
        _hide(pooled, sizes, *sums)
        names = [*self.labels["name"], *self.groups]
        regions = [*map(str, indices), *("+".join(map(str, g)) for g in self.groups.values())]
        key = (participant_id, session_id, name, self.name)
        entries = zip(regions, names, [*means, *pooled], [*counts, *sizes], strict=True)
        self.rows += [(*key, *entry) for entry in entries]

    def write(self, folder):
        """Write the table of all added rows, with its data dictionary."""
        import pandas as pd

        columns = ["participant_id", "session_id", "map", "atlas"]
        columns += ["region", "name", "mean", "n_voxels"]
        table = pd.DataFrame(self.rows, columns=columns)
        table["mean"] = table["mean"].astype(np.float64).round(8)
        write_table(table, folder / TABLE, "region_means")


def _hide(means, counts, inside, whole):
    """Set the means of regions with too little coverage to unknown."""
    partial = inside < LEAST_OF_REGION * whole
    means[partial], counts[partial] = np.nan, 0
