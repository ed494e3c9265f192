"""Use derivatives of other tools, and several runs of one scan.

``offers`` finds the files of other tools on disk, ``prepared`` chooses among them and records
which steps are done, ``foreign`` reads numbers of other tools; ``runs`` joins several runs.
"""
