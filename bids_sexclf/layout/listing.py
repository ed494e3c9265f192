"""Ask the index of a dataset once for what everybody has, and not once for each participant."""

import re

from bids_sexclf.layout.entities import label, parse_name


def list_once(dataset, key, query):
    """List everybody's files that answer a query, and keep the list with the dataset.

    The index looks through all files for each question; so one is asked for all participants.

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
        found = lists[key] = {}
        for file in dataset.get(**query, invalid_filters="allow"):
            own = file.entities
            found.setdefault(own.get("subject"), []).append((own.get("session"), file.path))
    return lists[key]


def find_gradients(dataset, path, extension):
    """Find the file of b-values or b-vectors of a series: of its own name, or inherited.

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
    known = list_once(dataset, extension, query).get(person, [])
    return beside if beside in [other for _, other in known] else dataset.get_nearest(path, **query)
