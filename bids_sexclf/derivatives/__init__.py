"""Derivatives of other tools that are taken over, and several runs of one scan.

``offers`` finds on disk what others have prepared, ``prepared`` chooses and records which steps
are done, ``foreign`` reads numbers that other tools have written; ``runs`` joins several runs.
"""
