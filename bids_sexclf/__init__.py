"""Estimate where, and how surely, female and male brains differ in MRI.

``participant`` computes maps on a common grid from the scans of one
participant. ``group`` trains models on the maps of a cohort and tests claims.
The two levels exchange files only, and each table has a data dictionary.
``docs/design.md`` describes the packages and their dependencies.
"""

__version__ = "0.1.0"
