"""What the group's stages make a cohort of: grids, maps, quality, features, confounds, parts."""
