"""Gather region measures of the cohort, of the participant level and of FreeSurfer."""

from bids_sexclf import layout
from bids_sexclf.anatomy import freesurfer
from bids_sexclf.errors import REFUSALS, InputError
from bids_sexclf.tables import read_table, schema


def list_folders(run):
    """Return the folders that may hold FreeSurfer's tables, by the name of ``--derivatives``.

    Parameters
    ----------
    run : settings.Run

    Returns
    -------
    dict of str to pathlib.Path
    """
    folders = {name: run.derivatives_of(name) for name in ("freesurfer", "hcp")}
    return {name: folder for name, folder in folders.items() if folder is not None}


def list_people(desk):
    """List everyone of whom FreeSurfer's tables lie on disk.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    list of tuple
        (participant_id, session_id or None), each once.

    Raises
    ------
    InputError
        If a folder cannot be read.
    """
    keys = {}
    for name, folder in list_folders(desk.run).items():
        if not folder.is_dir():
            raise InputError(
                f"Found no folder {folder}, needed FreeSurfer's subjects. Correct --derivatives "
                f"{name}=PATH."
            )
        keys |= dict.fromkeys(freesurfer.list_people(folder))
    return list(keys)


def list_stats(desk, people):
    """List FreeSurfer's tables of all participants.

    Parameters
    ----------
    desk : base.Desk
    people : iterable of dict
        With ``participant_id`` and ``session_id``.

    Returns
    -------
    dict of str to pathlib.Path
        ``freesurfer/…`` or ``hcp/…``, below the folder, to file; empty where neither is given.
    """
    found = {}
    for row in people:
        for name, folder in list_folders(desk.run).items():
            paths = freesurfer.find_stats(folder, row["participant_id"], row["session_id"])
            found |= {f"{name}/{path.relative_to(folder).as_posix()}": path for path in paths}
            if paths:
                break
    return found


def read_measures(desk, keys):
    """Read the region measures of all prepared participants.

    Parameters
    ----------
    desk : base.Desk
    keys : iterable of tuple
        (participant_id, session_id) of those prepared.

    Returns
    -------
    measures : dict of tuple to list of pandas.DataFrame
        (participant_id, session_id) to the tables of the participant level and of FreeSurfer.
    intracranial : dict of tuple to float or None
        FreeSurfer's intracranial volume, mL; None where it has no table.
    faults : dict of tuple to str
        (participant_id, session_id) to the fault of its files.
    """
    paths_of = {}
    for entry in layout.find_derivatives(desk.derivatives, "morphometry"):
        key = (entry["participant_id"], entry["session_id"])
        paths_of.setdefault(key, []).append(desk.derivatives / entry["path"])
    measures, intracranial, faults = {}, {}, {}
    for key in keys:
        try:
            read = _read_stats(desk, key)
            intracranial[key] = _total(read)
            tables = [read_table(path, "morphometry") for path in paths_of.get(key, ())]
            measures[key] = [*tables, *read]
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, *REFUSALS) as fault:
            faults[key] = " ".join(str(fault).split())[:300]
    return measures, intracranial, faults


def _read_stats(desk, key):
    """Read FreeSurfer's tables of one participant-session."""
    row = {"participant_id": key[0], "session_id": key[1]}
    return [freesurfer.read_stats(path).assign(**row) for path in list_stats(desk, [row]).values()]


def _total(read):
    import pandas as pd

    return freesurfer.intracranial_ml(pd.concat(read)) if read else None


def gather(measures, keys):
    """Gather the region measures of the cohort.

    Parameters
    ----------
    measures : dict of tuple to list of pandas.DataFrame
        As `read_measures` returns it.
    keys : iterable of tuple
        (participant_id, session_id) of the cohort.

    Returns
    -------
    pandas.DataFrame
        Of the schema ``morphometry``; columns that nobody has are left out.
    """
    import pandas as pd

    frames = [frame for key in keys for frame in measures[key]]
    order = list(schema("morphometry"))
    table = pd.concat(frames) if frames else pd.DataFrame(columns=order, dtype=object)
    keys = ["participant_id", "session_id", "atlas"]
    table = table.reindex(columns=order).sort_values(keys, kind="stable", ignore_index=True)
    optional = [
        name for name, entry in schema("morphometry").items() if not entry.get("Required", True)
    ]
    table = table.drop(columns=[name for name in optional if table[name].isna().all()])
    return table.astype({"region": "Int64"})
