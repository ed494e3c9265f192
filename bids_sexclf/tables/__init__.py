"""Read and write TSV tables; the schema of a table is its BIDS data dictionary.

`read_tsv` reads every table, also those of users and of other tools: first text, then names,
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
