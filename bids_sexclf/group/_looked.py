"""Note what was looked at in a study folder, so that nothing is tried in silence.

``looked_at.tsv`` belongs to no stage: it grows, and no stage removes it. The same choices on the
same cohort are one look, however often a run was stopped and begun again.
"""

import hashlib

from bids_sexclf.settings import Study
from bids_sexclf.tables import read_table, schema, write_table

NAME = "looked_at"
LOOKS = ("differences", "evaluate", "regions", "audit")
"""Stages whose tables show how brains and target go together."""
APART = ("name", "target", "random_seed", "models", "maps")
"""Choices with a column of their own, or without a meaning for results."""


def note_look(desk, stage):
    """Note that a stage has shown results, unless the same was noted before.

    Parameters
    ----------
    desk : base.Desk
    stage : str
        That has run.
    """
    import pandas as pd

    if stage not in LOOKS:
        return
    past, look = read_looks(desk.folder), _describe(desk, stage)
    same = (past[list(look)] == pd.Series(look)).all(axis=1)
    if not same.any():
        row = pd.DataFrame([{"look": len(past) + 1} | look])
        table = pd.concat([past, row]) if len(past) else row
        write_table(table[list(schema(NAME))], desk.folder / f"{NAME}.tsv", NAME)


def read_looks(folder):
    """Read what was looked at; no row where nothing was noted yet.

    Parameters
    ----------
    folder : pathlib.Path
        Of the study.

    Returns
    -------
    pandas.DataFrame
    """
    import pandas as pd

    path = folder / f"{NAME}.tsv"
    if path.exists():
        return read_table(path, NAME)
    return pd.DataFrame(columns=list(schema(NAME)), dtype=object)


def _describe(desk, stage):
    """Describe a look: the stage, who was studied, and every choice that is not the default."""
    study, default = desk.study.provenance(), Study().provenance()
    changed = {
        name: value for name, value in study.items() if value != default[name] and name not in APART
    }
    cohort = desk.folder / "cohort.tsv"
    return {
        "stage": stage,
        "target": study["target"],
        "random_seed": study["random_seed"],
        "models": " ".join(study["models"]) or "none",
        "maps": " ".join(study["maps"]) or "none",
        "choices": "; ".join(f"{name} = {value}" for name, value in changed.items()) or "default",
        "n_participants": int(desk.read("cohort")["participant_id"].nunique()),
        "cohort": "sha256-" + hashlib.sha256(cohort.read_bytes()).hexdigest()[:8],
    }
