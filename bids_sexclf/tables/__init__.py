"""TSV tables; a schema is the BIDS data dictionary.

Every table is read by `read_tsv`, also those of users and of other tools: text first, then names,
unknown values, and types.
"""

from bids_sexclf.tables.reading import IDENTIFIERS, NAMELESS, read_text, read_tsv
from bids_sexclf.tables.schemas import (
    REMEDY,
    check_table,
    read_table,
    schema,
    schemas,
    write_table,
    write_tsv,
)

__all__ = [
    "IDENTIFIERS",
    "NAMELESS",
    "REMEDY",
    "check_table",
    "read_table",
    "read_text",
    "read_tsv",
    "schema",
    "schemas",
    "write_table",
    "write_tsv",
]
