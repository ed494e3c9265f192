"""Sessions in which there is nothing to prepare, and datasets in which nobody can be prepared."""

from bids_sexclf.errors import InputError
from bids_sexclf.layout import name_of
from bids_sexclf.people import group_reasons, lacks_labels

MOST_REASONS = 5
"""Number of reasons listed where nobody can be prepared."""


def refuse_all(excluded, run):
    """Return the error for a dataset in which nobody can be prepared.

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
    summary = "; ".join(f"{affected}: {reason}" for reason, affected in reasons[:MOST_REASONS])
    more = len(reasons) - MOST_REASONS
    summary += f"; and {more} other reasons, which --dry-run lists" if more > 0 else ""
    unlabelled = not run.allow_unlabelled and any(lacks_labels(row["reason"]) for row in excluded)
    way = " --allow-unlabelled prepares those of unknown sex or age." if unlabelled else ""
    people = len({row["participant_id"] for row in excluded})
    return InputError(
        f"Found no usable participant among {people} ({summary}), needed at least one. "
        f"Mend the scans or the tables named.{way}"
    )


def drop_empty(worklist):
    """Remove from a worklist the sessions with nothing to prepare.

    A participant without a scan in any session keeps one row, which gives the reason once.
    Sessions whose scans were left out for a reason stay; their note gives the reason.

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
    remaining, empty = [], []
    for row, full in zip(rows, filled, strict=True):
        person = row["participant_id"]
        if full:
            remaining.append(row)
        elif person in busy:
            empty.append(name_of(person, row["session_id"]))
        else:
            busy.add(person)
            remaining.append(row | {"session_id": None})
    return worklist.__class__(remaining, columns=worklist.columns, dtype=object), empty
