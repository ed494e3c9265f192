"""How the maps of a cohort were prepared and scaled: what a new participant's maps must match."""

import json

from bids_sexclf.bundle import scaling
from bids_sexclf.cohort.maps import ENTRIES
from bids_sexclf.disk import read_object, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.layout import sidecar

FILE = "grid/maps.json"
KEPT = {"preparation": "GeneratedWith", "versions": "Versions", "taken_over": "TakenOver"}
"""What is kept of the sidecars of maps, and its name there."""


def write_provenance(desk, cohort, space, resolution):
    """Write the space of a study's maps, and how they were prepared and scaled.

    Parameters
    ----------
    desk : base.Desk
    cohort : pandas.DataFrame
        With a column of paths for each map.
    space, resolution : str
        Labels of the maps' space.
    """
    maps = {}
    for name in desk.study.single_maps:
        contents = [read_object(sidecar(desk.derivatives / path)) for path in cohort[name]]
        about = {"entry": ENTRIES[name], "scaling": scaling.find(name)}
        maps[name] = about | {
            key: _common([content.get(label) for content in contents])
            for key, label in KEPT.items()
        }
    content = {"space": space, "resolution": resolution, "maps": maps}
    write_json(content, desk.folder / FILE)


def _common(records):
    """Return the entries on which all records agree."""
    records = [record if isinstance(record, dict) else {} for record in records]
    first = records[0] if records else {}
    return {
        key: value
        for key, value in first.items()
        if all(key in record and record[key] == value for record in records)
    }


def read_provenance(folder):
    """Read what `write_provenance` wrote.

    Parameters
    ----------
    folder : pathlib.Path
        Of the study.

    Returns
    -------
    dict
        ``space``, ``resolution`` and ``maps``.

    Raises
    ------
    InputError
        If it is absent, as in the folders of earlier versions, or damaged.
    """
    try:
        content = json.loads((folder / FILE).read_text())
        if not isinstance(content["maps"], dict) or not {"space", "resolution"} <= set(content):
            raise ValueError("it lacks an entry")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise InputError(
            f"Found no usable {folder / FILE} ({fault}), needed what the cohort stage of this "
            "version writes; the folder may be of an earlier version. Run again with "
            "--first cohort."
        ) from fault
    return content
