"""Read brain size from a column of a user's table or of another tool."""

from pathlib import Path

import numpy as np

from bids_sexclf.cells import plain_name, to_numbers
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.people import read_columns

KNOWN = (
    "estimatedtotalintracranialvol",
    "etiv",
    "fs_intracranial_vol",
    "fs_intercranial_vol",
    "tiv_cubicmm",
    "tiv",
    "icv",
    "intracranial_volume",
    "total_intracranial_volume",
)
"""Names of intracranial volume in tables of FreeSurfer, the HCP, Cam-CAN and others."""

LEAST, MOST = 500.0, 3000.0
"""Range of the median of brain sizes of people, mL."""


def read_asked(desk, keys):
    """Read the brain size of all participants from the column that the study names, if any.

    Parameters
    ----------
    desk : base.Desk
    keys : iterable of tuple
        (participant_id, session_id).

    Returns
    -------
    sizes : dict of tuple to float or None
    lacking : dict of tuple to str
        As `read_sizes` returns it; both are empty if no column is named.
    """
    if desk.study.brain_size_column is None:
        return {}, {}
    return read_sizes(desk, None, list(keys), {})


def read_sizes(desk, wide, keys, intracranial):
    """Read the brain size of all participants in a table.

    Parameters
    ----------
    desk : base.Desk
        ``brain_size_column`` of its study is read. Without it FreeSurfer's intracranial volume is
        taken, or a column with a well-known name.
    wide : pandas.DataFrame or None
        Features, by participant_id, or by participant_id and session_id.
    keys : list of tuple
        (participant_id, session_id), in the order of `wide`.
    intracranial : dict of tuple to float or None
        FreeSurfer's, mL.

    Returns
    -------
    sizes : dict of tuple to float or None
        mL; empty if there is no such column.
    lacking : dict of tuple to str
        Participants without a size, if others have one, to the reason.

    Raises
    ------
    InputError
        If the named column is missing, or does not hold brain volumes.
    """
    requested = desk.study.brain_size_column
    cells, name = _find_column(desk, wide, keys, requested)
    if name is None or (requested is None and any(intracranial.values())):
        sizes = dict(intracranial) if any(intracranial.values()) else {}
        name = "FreeSurfer's tables"
    else:
        sizes = dict(zip(keys, _in_ml(cells, name), strict=True))
    sizes = {key: size if size and size == size else None for key, size in sizes.items()}
    if not any(sizes.values()):
        return {}, {}
    reason = f"brain size is unknown, needed a number in {name}"
    return sizes, {key: reason for key, size in sizes.items() if size is None}


def _find_column(desk, wide, keys, requested):
    """Find the column of brain sizes among the features, or in participants.tsv."""
    wanted = (plain_name(requested),) if requested else KNOWN
    features = {} if wide is None else {plain_name(column): column for column in wide}
    for name in wanted:
        if name in features:
            return wide[features[name]].to_numpy(float), features[name]
    table = read_columns(desk.bids_dir)
    columns = {plain_name(column): column for column in table}
    for name in wanted:
        if name in columns:
            cells = table[columns[name]].to_dict()
            return _numbers([cells.get(person) for person, _ in keys], name), columns[name]
    if requested:
        raise InputError(
            f"Found no column {requested} in {Path(desk.study.features).name} or participants.tsv, "
            "which brain_size_column names; needed one. Correct the name."
            f"{suggest([requested], [*features.values(), *columns.values()])}"
        )
    return None, None


def _numbers(cells, name):
    """Convert the cells of a column to numbers; NaN where unknown."""
    texts = ["nan" if cell is None or cell != cell else str(cell) for cell in cells]
    try:
        return to_numbers(texts)
    except ValueError as fault:
        raise InputError(
            f"Found column {name} of participants.tsv with text ({fault}); needed volumes of "
            "brains or skulls, mL or mm³. Correct it, or name another brain_size_column."
        ) from fault


def _in_ml(values, name):
    """Convert volumes in mL, mm³ or litres to mL.

    Examples
    --------
    >>> _in_ml(np.array([1.5e6, np.nan, 1.3e6]), "eTIV").tolist()
    [1500.0, nan, 1300.0]
    """
    values = np.asarray(values, float)
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    middle = np.nanmedian(values) if np.isfinite(values).any() else np.nan
    for per_ml in (1.0, 1000.0, 0.001):
        if LEAST <= middle / per_ml <= MOST:
            return values / per_ml
    raise InputError(
        f"Found column {name} with median {middle:g}, needed volumes of brains or skulls: 500 to "
        "3000 mL, or as many mm³ or litres. Name another brain_size_column."
    )
