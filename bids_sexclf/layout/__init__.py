"""Read and write BIDS names: all names are handled in this package.

``dataset`` indexes a folder; ``inputs`` finds scans, by the choice that ``filters`` reads,
``pooling`` chooses the diffusion series that are joined, and ``fieldmaps`` finds the scans that
correct their distortion; ``sidecars`` checks the values that are used;
``outputs`` names and finds derivatives, ``references`` the template's images beside them;
``description`` writes the dataset description. ``entities`` parses and formats names for all.
"""

from bids_sexclf.layout.dataset import PlainFolder, open_dataset, read_metadata
from bids_sexclf.layout.description import versions, write_description, write_ignored
from bids_sexclf.layout.entities import ENTITIES, label, number_label, parse_name, sidecar
from bids_sexclf.layout.fieldmaps import find_fieldmaps
from bids_sexclf.layout.filters import read_filters
from bids_sexclf.layout.inputs import (
    SCANS,
    SEVERAL,
    choose_scans,
    find_scans,
    paths,
)
from bids_sexclf.layout.outputs import derivative, figure_name, find_derivatives, name_of, names
from bids_sexclf.layout.pooling import group_by_encoding
from bids_sexclf.layout.references import (
    REFERENCES,
    atlas_description,
    atlas_label,
    atlas_of,
    atlas_reference,
    reference,
)

__all__ = [
    "ENTITIES",
    "REFERENCES",
    "SCANS",
    "SEVERAL",
    "PlainFolder",
    "atlas_description",
    "atlas_label",
    "atlas_of",
    "atlas_reference",
    "choose_scans",
    "derivative",
    "figure_name",
    "find_derivatives",
    "find_fieldmaps",
    "find_scans",
    "group_by_encoding",
    "label",
    "name_of",
    "names",
    "number_label",
    "open_dataset",
    "parse_name",
    "paths",
    "read_filters",
    "read_metadata",
    "reference",
    "sidecar",
    "versions",
    "write_description",
    "write_ignored",
]
