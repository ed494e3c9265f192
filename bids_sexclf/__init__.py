"""Tell where, and how surely, female and male brains differ in MRI.

A scan becomes maps; maps become evidence; evidence becomes a claim with an
interval. ``participant`` turns the scans of one participant into maps on a
common grid, ``group`` turns the maps of a cohort into claims, and the disk is
the only thing between them. Every noun is a file on disk with a data
dictionary; ``docs/design.md`` shows the rooms and the arrows between them.
"""

__version__ = "0.1.0"
