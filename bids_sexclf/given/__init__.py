"""What is given beside one raw scan of each kind: the work of others, and several runs.

``offers`` finds on disk what others have prepared, ``prepared`` chooses and records which steps
are done, ``foreign`` reads numbers that other tools have written; ``runs`` joins several runs.
"""
