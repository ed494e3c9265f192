"""The table of the cohort: participants, quality numbers and the paths of maps."""

from bids_sexclf.errors import InputError
from bids_sexclf.quality import KEYS
from bids_sexclf.texts import count_sexes

NUMBERS = (
    "brain_volume_ml",
    "grey_volume_ml",
    "white_volume_ml",
    "csf_volume_ml",
    "intracranial_volume_ml",
    "motion_mm",
    "registration_agreement",
    "snr",
)
"""Columns of cohort.tsv that are quality numbers."""


def make_table(rows, people, qualities, maps):
    """Join participants, quality numbers and paths.

    Parameters
    ----------
    rows : list of tuple
        As `exclusions.select` returns it.
    people, qualities : pandas.DataFrame
    maps : list of str

    Returns
    -------
    pandas.DataFrame
        Rows of the ``cohort`` table.
    """
    import pandas as pd

    records = []
    for person, session, paths in rows:
        records.append({"participant_id": person, "session_id": session} | paths)
    table = pd.DataFrame(records, columns=[*KEYS, *maps], dtype=object)
    table = table.merge(qualities[[*KEYS, *NUMBERS]], on=KEYS, how="left")
    table = table[[*KEYS, *NUMBERS, *maps]]
    return table.merge(people, on="participant_id", how="left")


def check_cohort(cohort, excluded, study):
    """Refuse a cohort that does not support the study.

    Parameters
    ----------
    cohort : pandas.DataFrame
    excluded : list of tuple
        (participant_id, session_id, stage, reason).
    study : settings.Study

    Raises
    ------
    InputError
        If there are fewer than two women or two men.
    """
    counts = cohort["sex"].value_counts().to_dict()
    if min(counts.get("female", 0), counts.get("male", 0)) >= 2:
        return
    reasons = ": " + "; ".join(f"{row[0]}: {row[3]}" for row in excluded[:5])
    noun = ", ".join(study.single_maps) or f"a row of features ({study.features})"
    advice = "choose other --maps" if study.maps else "correct the ids of the table"
    raise InputError(
        f"Found {count_sexes(cohort['sex'])} with {noun} ({len(excluded)} left out"
        f"{reasons if excluded else ''}), needed at least two of each. Prepare more participants, "
        f"or {advice}."
    )
