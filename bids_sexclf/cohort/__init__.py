"""The parts of a cohort: grids, maps, quality, features, confounds, splits."""
