"""Every choice, in frozen, validated records.

``Run`` says how to run and never changes a number; ``Preparation`` and ``Study`` hold every choice
that may. A flag of the command line, a key of a TOML file, its help and its entry in the provenance
are all made from one field here.
"""

from bids_sexclf.settings.people import People
from bids_sexclf.settings.preparation import Preparation
from bids_sexclf.settings.reading import (
    STUDIES,
    build,
    build_all,
    find_study,
    fingerprint,
    read_toml,
)
from bids_sexclf.settings.recipe import Recipe
from bids_sexclf.settings.records import plain_type, read_word
from bids_sexclf.settings.run import DERIVATIVES, Run
from bids_sexclf.settings.study import RECIPE, Study

__all__ = [
    "DERIVATIVES",
    "RECIPE",
    "STUDIES",
    "People",
    "Preparation",
    "Recipe",
    "Run",
    "Study",
    "build",
    "build_all",
    "find_study",
    "fingerprint",
    "plain_type",
    "read_toml",
    "read_word",
]
