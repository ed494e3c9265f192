"""Read images as arrays and write arrays as images: all images are handled in this package.

``inspection`` finds faults of a file, ``images`` loads and saves whole images, ``series`` volume by
volume or slab by slab; ``grids`` compares grids and resamples volumes, ``orientation`` interprets
headers; ``cohort`` holds the volumes of all participants in one array on disk.
"""

from bids_sexclf.volumes.cohort import Channels, Rows, new_cohort, open_cohort, release
from bids_sexclf.volumes.grids import (
    Grid,
    check_same_grid,
    crop_grid,
    resample,
    rescale_grid,
    same_grid,
    turn_axes,
)
from bids_sexclf.volumes.images import check_written, load, read_grid, save, save_field
from bids_sexclf.volumes.inspection import Inspection, inspect
from bids_sexclf.volumes.orientation import (
    is_clear,
    is_sheared,
    knows_sides,
    measure_shear,
    straighten,
)
from bids_sexclf.volumes.series import (
    load_series,
    make_series,
    open_series,
    open_slabs,
    save_volumes,
    series_gb,
    series_writer,
    volumes,
)

__all__ = [
    "Channels",
    "Grid",
    "Inspection",
    "Rows",
    "check_same_grid",
    "check_written",
    "crop_grid",
    "inspect",
    "is_clear",
    "is_sheared",
    "knows_sides",
    "load",
    "load_series",
    "make_series",
    "measure_shear",
    "new_cohort",
    "open_cohort",
    "open_series",
    "open_slabs",
    "read_grid",
    "release",
    "resample",
    "rescale_grid",
    "same_grid",
    "save",
    "save_field",
    "save_volumes",
    "series_gb",
    "series_writer",
    "straighten",
    "turn_axes",
    "volumes",
]
