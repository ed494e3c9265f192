"""Sessions in which there is nothing to prepare, and datasets in which nobody can be prepared."""

from bids_sexclf.errors import InputError
from bids_sexclf.layout import name_of
from bids_sexclf.people import group_reasons, lacks_labels

MOST_REASONS = 5
"""Reasons told where nobody can be prepared."""


def refuse_all(excluded, run):
    """Word the refusal of a dataset in which nobody can be prepared.

    Parameters
    ----------
    excluded : list of dict
        Everybody, with the reasons.
    run : settings.Run

    Returns
    -------
    InputError
        With the reasons that concern most participants, each once.
    """
    reasons = group_reasons(excluded)
    told = "; ".join(f"{who}: {reason}" for reason, who in reasons[:MOST_REASONS])
    more = len(reasons) - MOST_REASONS
    told += f"; and {more} other reasons, which --dry-run lists" if more > 0 else ""
    unlabelled = not run.allow_unlabelled and any(lacks_labels(row["reason"]) for row in excluded)
    way = " --allow-unlabelled prepares those of unknown sex or age." if unlabelled else ""
    people = len({row["participant_id"] for row in excluded})
    return InputError(
        f"Found no usable participant among {people} ({told}), needed at least one. "
        f"Mend the scans or the tables named.{way}"
    )


def drop_empty(worklist):
    """Take out of a worklist the sessions in which there is nothing to prepare.

    A participant without a scan in any session keeps one row, so that the reason is told once.
    Sessions whose scans are left out for a reason, which their note tells, stay.

    Parameters
    ----------
    worklist : pandas.DataFrame

    Returns
    -------
    worklist : pandas.DataFrame
    empty : list of str
        Names of the sessions that were taken out.
    """
    rows = worklist.to_dict("records")
    filled = [any(row[kind] for kind in ("t1w", "dwi", "maps")) or row["note"] for row in rows]
    busy = {row["participant_id"] for row, full in zip(rows, filled, strict=True) if full}
    kept, empty = [], []
    for row, full in zip(rows, filled, strict=True):
        person = row["participant_id"]
        if full:
            kept.append(row)
        elif person in busy:
            empty.append(name_of(person, row["session_id"]))
        else:
            busy.add(person)
            kept.append(row | {"session_id": None})
    return worklist.__class__(kept, columns=worklist.columns, dtype=object), empty
