"""Studies of tables only: features measured by other tools, without images.

The participants are those of the table of features, or of FreeSurfer's tables; brain size is one of
their columns. A study without maps (``maps = []``) is such a study.
"""

import numpy as np

from bids_sexclf import attribution, layout, models
from bids_sexclf.cohort import exclusions, features, morphometry
from bids_sexclf.cohort.brain_size import read_sizes
from bids_sexclf.cohort.members import NUMBERS, check_cohort, make_table
from bids_sexclf.cohort.people import read_people
from bids_sexclf.cohort.quality import gather_quality, judge_quality
from bids_sexclf.errors import InputError
from bids_sexclf.quality import KEYS, numbers, read_quality

CONTROL = "shuffled"
"""The baseline that learns as the study's first model does, whatever that reads."""


def settle(study, run, derivatives):
    """Remove the maps from a study that reads tables only.

    Parameters
    ----------
    study : settings.Study
    run : settings.Run
    derivatives : path-like
        Output of the participant level, which need not exist.

    Returns
    -------
    settings.Study
        Without maps, and without attributions of volumes, where no model reads volumes, nobody is
        prepared, and a table of features or FreeSurfer's tables are there; the same study
        otherwise.

    Raises
    ------
    InputError
        If a study with ``maps = []`` has a model of volumes.
    """
    named = [name for name in (*study.models, *study.baselines) if name != CONTROL]
    reading = [name for name in named if models.entry_of(study, name).READS == "volumes"]
    if study.maps and (reading or not _has_tables(study, run)):
        return study
    if study.maps and layout.find_derivatives(derivatives, "quality"):
        return study
    if reading or study.features == "region_means":
        noun = ", ".join(reading) or "features 'region_means'"
        raise InputError(
            f"Found maps = [] with {noun}, which reads maps; needed models that read features "
            "(logistic, ridge, knn, xgboost), and features = 'morphometry' or a table. Name maps, "
            "or choose such models."
        )
    asked = [name for name in study.attributions if "features" in attribution.find(name).NEEDS]
    return study.model_copy(update={"maps": [], "attributions": asked, "region_means": False})


def _has_tables(study, run):
    """Return whether a study has features that need no prepared scan."""
    if study.features in features.OWN:
        return study.features == "morphometry" and bool(morphometry.list_folders(run))
    return True


def gather(desk):
    """Gather the participants, and the other tables of the cohort stage.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    tables : dict of str to pandas.DataFrame
        ``cohort``, ``quality``, ``morphometry`` and ``resemblance``.
    excluded : list of tuple
        (participant_id, session_id, stage, reason).

    Raises
    ------
    InputError
        If fewer than two people of either sex remain, or a table cannot be read.
    """
    import pandas as pd

    people, faults = read_people(desk)
    wide = features.read_given(desk.study) if desk.study.features not in features.OWN else None
    keys = _list_measured(desk, wide, people)
    measures, intracranial, unread = morphometry.read_measures(desk, keys)
    qualities, broken = _read_qualities(desk, keys)
    verdicts, refused = judge_quality(desk, qualities, keys, people["participant_id"])
    sizes, lacking = read_sizes(desk, wide, keys, intracranial)
    strange = [broken, unread, lacking, *([] if wide is None else [_find_odd(wide, keys)])]
    good = {key: {} for key in keys if key not in refused}
    rows, excluded = exclusions.select(people, faults, good, [], strange)
    excluded += [(*key, "quality", reason) for key, reason in refused.items()]
    excluded += _list_unmeasured(people, faults, keys, desk.study)
    cohort = make_table(rows, people, qualities, [])
    check_cohort(cohort, excluded, desk.study)
    studied = [(person, session) for person, session, _ in rows]
    if any(sizes.values()):
        cohort["brain_volume_ml"] = [sizes.get(key) for key in studied]
    if any(intracranial.values()):
        cohort["intracranial_volume_ml"] = [intracranial.get(key) for key in studied]
    numeric = dict.fromkeys(NUMBERS, float)
    tables = {
        "cohort": cohort.astype(numeric),
        "quality": gather_quality(qualities, verdicts, set(studied)),
        "morphometry": morphometry.gather(measures, studied),
        "resemblance": pd.DataFrame(columns=_PAIRS, dtype=object),
    }
    return tables, excluded


_PAIRS = ["map", "participant_id", "other_id", "correlation", "limit"]


def _list_measured(desk, wide, people):
    """List the participants of a table: (participant_id, session_id or None)."""
    if wide is None:
        keys = morphometry.list_people(desk)
        listed = set(people["participant_id"])
        return sorted(keys, key=lambda key: (key[0] not in listed, *map(str, key)))
    if "session_id" not in wide.index.names:
        return [(person, None) for person in wide.index]
    return [(person, None if session == "n/a" else session) for person, session in wide.index]


def _read_qualities(desk, keys):
    """Read the quality numbers of measured participants; unknown if they are not prepared."""
    import pandas as pd

    table, broken = read_quality(desk.derivatives, dict.fromkeys((*numbers(), *NUMBERS)))
    everyone = pd.DataFrame(keys, columns=KEYS, dtype=object)
    everyone = everyone.merge(table, on=KEYS, how="left")
    everyone[KEYS] = everyone[KEYS].where(everyone[KEYS].notna(), None)
    return everyone, broken


def _find_odd(wide, keys):
    """Find participants without numbers in the table, or with the numbers of somebody else."""
    values = wide.to_numpy(dtype=np.float64)
    empty = ~np.isfinite(values).any(axis=1)
    odd, alike = {}, {}
    for key, row, none in zip(keys, values, empty, strict=True):
        if none:
            odd[key] = "found no number in its row of features, needed some"
        elif len(row) > 1:
            alike.setdefault(row.tobytes(), []).append(key)
    for group in alike.values():
        names = sorted({person for person, _ in group})
        for key in group if len(names) > 1 else ():
            sharing = ", ".join(name for name in names if name != key[0])
            odd[key] = (
                f"its features are the same, to the last digit, as those of {sharing}; needed one "
                "row per participant"
            )
    return odd


def _list_unmeasured(people, faults, keys, study):
    """List the people of participants.tsv who are in no table."""
    measured = {person for person, _ in keys}
    table_name = "FreeSurfer's tables" if study.features in features.OWN else str(study.features)
    return [
        (
            person,
            None,
            exclusions.STAGE,
            "; ".join([f"no row in {table_name}", *faults.get(person, [])]),
        )
        for person in sorted(set(people["participant_id"]) - measured)
    ]
