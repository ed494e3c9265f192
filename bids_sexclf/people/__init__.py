"""Who is studied: participants.tsv, or what other datasets have in its place."""

from bids_sexclf.people.reading import read_column, read_participants, without_years
from bids_sexclf.people.reasons import NO_ROW, group_reasons, lacks_labels, list_people

__all__ = [
    "NO_ROW",
    "group_reasons",
    "lacks_labels",
    "list_people",
    "read_column",
    "read_participants",
    "without_years",
]
