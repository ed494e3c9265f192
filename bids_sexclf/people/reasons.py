"""Summarize the reasons why people are left out."""

from bids_sexclf.cells import shorten
from bids_sexclf.layout import name_of

ALLOW = "at the participant level --allow-unlabelled prepares everyone without it"
NO_ROW = "no row in participants.tsv, needed one with sex and age"


def lacks_labels(reason):
    """Return whether a reason is only an unknown sex or age.

    Examples
    --------
    >>> lacks_labels("sex is unknown, needed female or male; age is unknown, needed years (0-120)")
    True
    >>> lacks_labels("sub-1_T1w.nii.gz is truncated")
    False
    """
    return all(part.startswith(("sex is", "age is", NO_ROW)) for part in reason.split("; "))


def group_reasons(rows, longest=400):
    """Group people by reason, the most frequent reason first.

    Parameters
    ----------
    rows : list of dict
        participant_id, session_id, reason.
    longest : int
        Characters of a reason; longer ones are cut.

    Returns
    -------
    list of (str, str)
        Reason, and the first few participant-sessions with the count of the others.

    Examples
    --------
    >>> row = {"session_id": None, "reason": "no T1w"}
    >>> group_reasons([row | {"participant_id": f"sub-{n}"} for n in range(5)])
    [('no T1w', 'sub-0, sub-1, sub-2 and 2 more')]
    """
    groups = {}
    for row in rows:
        reason = " ".join(str(row["reason"]).split())
        reason = reason if len(reason) <= longest else reason[:longest] + " …"
        groups.setdefault(reason, []).append(row)
    ordered = sorted(groups.items(), key=lambda entry: -len(entry[1]))
    return [(reason, list_people(rows_of_reason)) for reason, rows_of_reason in ordered]


def list_people(rows, limit=3):
    """Return the names of the first few participant-sessions, and the number of others."""
    names = [name_of(row["participant_id"], row["session_id"]) for row in rows]
    further = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + further


def show_cell(text):
    """Return a cell in quotation marks for a reason, or the word for unknown."""
    return "unknown" if text is None else shorten(text)
