"""Query the index of a dataset once for all participants, instead of once for each."""

import re

from bids_sexclf.layout.entities import label, parse_name


def list_once(dataset, key, query):
    """List the files of all participants that match a query, and cache the list in the dataset.

    The index searches all files for each query, so one query serves all participants.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    key : str
        Name under which the list is kept.
    query : dict
        Entities to values, as pybids takes them.

    Returns
    -------
    dict of str to list of tuple
        Label of the participant to (label of the session or None, path).
    """
    lists = vars(dataset).setdefault("lists_of_scans", {})
    if key not in lists:
        by_person = lists[key] = {}
        for file in dataset.get(**query, invalid_filters="allow"):
            entities = file.entities
            by_person.setdefault(entities.get("subject"), []).append(
                (entities.get("session"), file.path)
            )
    return lists[key]


def find_gradients(dataset, path, extension):
    """Find the file of b-values or b-vectors of a series: with its name, or inherited.

    Parameters
    ----------
    dataset : bids.BIDSLayout or PlainFolder
    path : str
        Of the series, absolute.
    extension : str
        ``bval`` or ``bvec``.

    Returns
    -------
    str or None
        Absolute path.
    """
    query = {"suffix": "dwi", "extension": f".{extension}"}
    beside = re.sub(r"\.nii(\.gz)?$", f".{extension}", path)
    person = label(parse_name(path)[0].get("sub", ""), "sub")
    listed = list_once(dataset, extension, query).get(person, [])
    return (
        beside
        if beside in [listed_path for _, listed_path in listed]
        else dataset.get_nearest(path, **query)
    )
