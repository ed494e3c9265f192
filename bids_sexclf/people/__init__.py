"""The participants: participants.tsv, or its substitute in other datasets."""

from bids_sexclf.people.reading import (
    list_files,
    read_column,
    read_columns,
    read_participants,
    without_years,
)
from bids_sexclf.people.reasons import NO_ROW, group_reasons, lacks_labels, list_people

__all__ = [
    "NO_ROW",
    "group_reasons",
    "lacks_labels",
    "list_files",
    "list_people",
    "read_column",
    "read_columns",
    "read_participants",
    "without_years",
]
