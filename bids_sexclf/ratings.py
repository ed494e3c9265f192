"""Read ratings.tsv: the verdicts of a person on participant-sessions."""

from pathlib import Path

from bids_sexclf.errors import InputError
from bids_sexclf.tables import check_table, read_tsv, schema

RATINGS = "ratings.tsv"
"""Name of the table of verdicts, in the output folder."""


def read_ratings(path):
    """Read the verdicts of a person on participant-sessions.

    Parameters
    ----------
    path : path-like or None
        A TSV: participant_id, session_id, verdict (use, unsure, exclude), comment. People edit
        it: verdicts may be in capitals, and an unknown session may be told in any usual way.

    Returns
    -------
    dict of tuple to (str, str)
        (participant_id, session_id) to verdict and comment; a session of None stands for all
        sessions of the participant. Empty where there is no file.

    Raises
    ------
    InputError
        If the file is not such a table, or has two verdicts on one participant-session.
    """
    if path is None or not Path(path).exists():
        return {}
    table = read_tsv(path, text=schema("ratings"))
    if "verdict" in table:
        table["verdict"] = table["verdict"].str.lower()
    check_table(table, "ratings", path, "Correct it, or save it again from index.html.")
    table = table.astype(object).where(table.notna(), None)
    ratings = {}
    for row in table.to_dict("records"):
        key = (row["participant_id"], row.get("session_id"))
        verdict = (row["verdict"], row.get("comment") or "")
        if ratings.setdefault(key, verdict)[0] != verdict[0]:
            raise InputError(
                f"Found two verdicts on {'_'.join(filter(None, key))} in {path}: "
                f"{ratings[key][0]} and {verdict[0]}; needed one. Remove the row that is wrong."
            )
    return ratings


def find_verdict(ratings, person, session):
    """Find the verdict of a person on a participant-session.

    Parameters
    ----------
    ratings : dict
        As `read_ratings` returns it.
    person : str
    session : str or None

    Returns
    -------
    verdict : str or None
        The verdict on the session; else that on all sessions of the participant.
    comment : str
    """
    return ratings.get((person, session)) or ratings.get((person, None), (None, ""))
