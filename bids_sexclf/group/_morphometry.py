"""Gather region measures of the cohort: the participant level's, and FreeSurfer's."""

from bids_sexclf import layout
from bids_sexclf.anatomy import freesurfer
from bids_sexclf.tables import read_table, schema


def list_stats(desk, people):
    """List FreeSurfer's tables of everyone.

    Parameters
    ----------
    desk : base.Desk
    people : iterable of dict
        With ``participant_id`` and ``session_id``.

    Returns
    -------
    list of pathlib.Path
        Empty where ``--derivatives freesurfer=PATH`` is not given.
    """
    folder = desk.run.derivatives_of("freesurfer")
    if folder is None:
        return []
    return [
        path
        for row in people
        for path in freesurfer.find_stats(folder, row["participant_id"], row["session_id"])
    ]


def gather(desk, cohort):
    """Gather the region measures of everyone in the cohort.

    Parameters
    ----------
    desk : base.Desk
    cohort : pandas.DataFrame

    Returns
    -------
    table : pandas.DataFrame
        Of the schema ``morphometry``; columns that nobody has are left out.
    intracranial : list of float or None
        FreeSurfer's intracranial volume of each row of the cohort, mL, None where it has no
        table; None in all where FreeSurfer is not given, so that a cohort has one definition.

    Raises
    ------
    InputError
        If a table cannot be read.
    """
    import pandas as pd

    people = cohort[["participant_id", "session_id"]].astype(object)
    people = people.where(people.notna(), None).to_dict("records")
    wanted = {(row["participant_id"], row["session_id"]) for row in people}
    frames = [
        read_table(desk.derivatives / entry["path"], "morphometry")
        for entry in layout.find_derivatives(desk.derivatives, "morphometry")
        if (entry["participant_id"], entry["session_id"]) in wanted
    ]
    intracranial = []
    for row in people:
        read = [freesurfer.read_stats(path) for path in list_stats(desk, [row])]
        read = [frame.assign(**row) for frame in read]
        frames += read
        intracranial.append(freesurfer.intracranial_ml(pd.concat(read)) if read else None)
    order = list(schema("morphometry"))
    table = pd.concat(frames) if frames else pd.DataFrame(columns=order, dtype=object)
    keys = ["participant_id", "session_id", "atlas"]
    table = table.reindex(columns=order).sort_values(keys, kind="stable", ignore_index=True)
    optional = [
        name for name, entry in schema("morphometry").items() if not entry.get("Required", True)
    ]
    table = table.drop(columns=[name for name in optional if table[name].isna().all()])
    given = desk.run.derivatives_of("freesurfer") is not None
    return table.astype({"region": "Int64"}), intracranial if given else None
