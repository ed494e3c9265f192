"""All choices of the user, in frozen, validated records.

``Run`` holds choices of execution, which never change a number; ``Preparation`` and ``Study`` hold
all others. Each field defines a flag of the command line, a key of the TOML file, its help text
and its entry in the provenance.
"""

from bids_sexclf.settings.people import People, spread_people
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
    "spread_people",
]
