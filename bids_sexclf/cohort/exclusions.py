"""List participants who are left out, at both levels, or never prepared, with the reasons."""

import os
from pathlib import Path

from bids_sexclf.people import NO_ROW
from bids_sexclf.tables import read_table, write_table

STAGE = "cohort"
COLUMNS = ["participant_id", "session_id", "stage", "reason"]


def list_unprepared(people, faults, prepared, derivatives):
    """List the people of participants.tsv without any prepared data.

    Parameters
    ----------
    people : pandas.DataFrame
        As `people.read_participants` returns it.
    faults : dict of str to list of str
        Participant to what is wrong with its row.
    prepared : iterable of tuple
        (participant_id, session_id) of those prepared.
    derivatives : pathlib.Path

    Returns
    -------
    list of tuple
        (participant_id, None, stage, reason). People left out at the participant level are not
        listed: their reason is already in the table.
    """
    accounted = {person for person, _ in prepared} | set(
        _read_before(derivatives)["participant_id"]
    )
    rows = []
    for person in sorted(set(people["participant_id"]) - accounted):
        reasons = [_say_why(derivatives / person), *faults.get(person, [])]
        rows.append((person, None, STAGE, "; ".join(reasons)))
    return rows


def select(people, faults, found, maps, broken=(), derivatives=None):
    """Decide who can be studied.

    Parameters
    ----------
    people : pandas.DataFrame
        As `people.read_participants` returns it.
    faults : dict
        Participant to what is wrong with its row.
    found : dict
        (participant_id, session_id) to map name to path.
    maps : list of str
        Those that everyone needs.
    broken : iterable of dict
        (participant_id, session_id) to what is wrong with its files.
    derivatives : pathlib.Path, optional
        Where the files lie; a folder that may not be read is then named.

    Returns
    -------
    rows : list of tuple
        (participant_id, session_id, paths by map).
    excluded : list of tuple
        (participant_id, session_id, stage, reason).
    """
    known, rows, excluded = set(people["participant_id"]), [], []
    for (person, session), paths in sorted(
        found.items(), key=lambda item: tuple(map(str, item[0]))
    ):
        reasons = list(faults.get(person, []))
        if person not in known:
            reasons.append(NO_ROW)
        missing = [name for name in maps if name not in paths]
        if missing:
            reasons.append(f"found no {', '.join(missing)} map, needed {', '.join(maps)}")
            locked = derivatives and find_locked(derivatives / person)
            reasons += [f"{locked} cannot be read"] if locked else []
        reasons += [faulty[person, session] for faulty in broken if (person, session) in faulty]
        if reasons:
            excluded.append((person, session, STAGE, "; ".join(reasons)))
        else:
            rows.append((person, session, paths))
    return rows, excluded


def _say_why(folder):
    """Return the reason why no data of a participant are found."""
    locked = find_locked(folder)
    if locked:
        return f"{locked} cannot be read, needed permission to read it"
    return f"not prepared: no finished file in {folder.name}, needed the participant level first"


def find_locked(folder):
    """Find a folder of a participant without read permission.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    str or None
        Its path below the derivatives.
    """
    folder = Path(folder)
    for place in (folder, *(Path(entry) for entry in _folders(folder))):
        if place.is_dir() and not os.access(place, os.R_OK | os.X_OK):
            return place.relative_to(folder.parent).as_posix()
    return None


def _folders(folder):
    for place, names, _ in os.walk(folder):
        yield from (os.path.join(place, name) for name in names)


def write_excluded(desk, excluded):
    """Write ``excluded.tsv`` with the exclusions of both levels.

    Parameters
    ----------
    desk : base.Desk
    excluded : list of tuple
        (participant_id, session_id, stage, reason).
    """
    import pandas as pd

    table = pd.DataFrame(excluded, columns=COLUMNS, dtype=object)
    table = pd.concat([_read_before(desk.derivatives), table])
    table = table.sort_values(["participant_id", "stage"], kind="stable").drop_duplicates()
    write_table(table, desk.folder / "excluded.tsv", "excluded")


def list_left_out(derivatives):
    """List people left out at the participant level: (participant_id, session_id or None)."""
    table = _read_before(derivatives)
    sessions = table["session_id"].astype(object).where(table["session_id"].notna(), None)
    return list(zip(table["participant_id"], sessions, strict=True))


def _read_before(derivatives):
    """Read the exclusions of the participant level."""
    import pandas as pd

    path = Path(derivatives, "excluded.tsv")
    return read_table(path, "excluded") if path.exists() else pd.DataFrame(columns=COLUMNS)
