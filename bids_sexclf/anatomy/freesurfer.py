"""Read FreeSurfer's tables of one participant: ``aseg.stats`` and ``?h.aparc.stats``."""

import re
from pathlib import Path

from bids_sexclf.cells import strip, to_numbers
from bids_sexclf.errors import InputError
from bids_sexclf.tables import read_text
from bids_sexclf.texts import count_noun

FILES = {"aseg.stats": "aseg", "lh.aparc.stats": "aparc", "rh.aparc.stats": "aparc"}
"""File in the folder ``stats`` to the name that its regions get as an atlas."""

COLUMNS = {
    "SegId": "region",
    "StructName": "name",
    "Volume_mm3": "volume_mm3",
    "GrayVol": "volume_mm3",
    "SurfArea": "area_mm2",
    "ThickAvg": "thickness_mm",
    "ThickStd": "thickness_sd_mm",
    "MeanCurv": "mean_curvature",
    "GausCurv": "gaussian_curvature",
    "FoldInd": "folding_index",
    "CurvInd": "curvature_index",
    "NVoxels": "n_voxels",
    "NumVert": "n_vertices",
    "normMean": "norm_mean",
    "normStdDev": "norm_sd",
    "normMin": "norm_min",
    "normMax": "norm_max",
    "normRange": "norm_range",
}
"""FreeSurfer's column to that of the ``morphometry`` table."""

WHOLE = {"mm^3": "volume_mm3", "mm^2": "area_mm2", "mm": "thickness_mm"}
"""Unit of a measure of the whole brain or hemisphere to its column."""

SUBJECT = re.compile(r"(?:sub-)?([a-zA-Z0-9]+)(?:_ses-([a-zA-Z0-9]+)|_(V\d+)_MR)?")
"""Name of a subject's folder, with its session; the lifespan projects of the HCP tell the visit."""

TOTAL = "eTIV"
"""Name of the estimated total intracranial volume among the measures."""


def find_stats(folder, participant_id, session_id=None):
    """Find the tables of a participant-session in a folder of FreeSurfer's subjects.

    Parameters
    ----------
    folder : path-like
        SUBJECTS_DIR, or the folder of the HCP pipelines' results (``ID/T1w/ID/stats``).
    participant_id, session_id : str
        ``sub-01``; ``ses-1`` or None.

    Returns
    -------
    list of pathlib.Path
        Tables of ``sub-01_ses-1`` where the session has its own reconstruction, else those of
        ``sub-01``; empty where there is neither.
    """
    names = [participant_id, participant_id.removeprefix("sub-")]
    if session_id:
        visit = f"{names[1]}_{session_id.removeprefix('ses-')}_MR"
        names = [*(f"{name}_{session_id}" for name in names), visit, *names]
    for name in names:
        tables = _list_tables(Path(folder, name))
        if tables:
            return tables
    return []


def list_people(folder):
    """List the participants with tables in a folder of FreeSurfer's subjects.

    Parameters
    ----------
    folder : path-like
        As for `find_stats`.

    Returns
    -------
    list of tuple
        (participant_id, session_id or None); without session only if there is no session.
    """
    sessions_of = {}
    for place in sorted(Path(folder).iterdir()):
        match = SUBJECT.fullmatch(place.name)
        if match and not match[1].startswith("fsaverage") and _list_tables(place):
            session = match[2] or match[3]
            sessions = sessions_of.setdefault(f"sub-{match[1]}", [])
            sessions += [f"ses-{session}"] if session else []
    return [
        (person, session)
        for person, sessions_of_person in sessions_of.items()
        for session in sessions_of_person or [None]
    ]


def _list_tables(subject):
    """List the tables of a subject's folder, of FreeSurfer or of the HCP pipelines."""
    for place in (subject, subject / "T1w" / subject.name):
        candidates = [place / "stats" / file for file in FILES]
        if any(path.is_file() for path in candidates):
            return [path for path in candidates if path.is_file()]
    return []


def read_stats(path):
    """Read one of FreeSurfer's tables.

    Parameters
    ----------
    path : path-like
        ``aseg.stats``, ``lh.aparc.stats`` or ``rh.aparc.stats``.

    Returns
    -------
    pandas.DataFrame
        Columns of the ``morphometry`` table without the participant: atlas, region, name,
        hemisphere and measures. Global measures (``# Measure`` lines) come first; they have no
        region. Regions of ``aparc`` have a name and a hemisphere: the file has no index.

    Raises
    ------
    InputError
        If it is not such a table.
    """
    import pandas as pd

    path = Path(path)
    side = {"lh": "L", "rh": "R"}.get(path.name[:2])
    lines = [strip(line) for line in read_text(path).split("\n")]
    heads = [line.split()[2:] for line in lines if line.startswith("# ColHeaders")]
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    if (
        len(heads) != 1
        or "StructName" not in heads[0]
        or {len(row) for row in rows} - {len(heads[0])}
    ):
        raise InputError(
            f"Found {path} with {count_noun(len(heads), 'line')} '# ColHeaders' and {len(rows)} "
            "rows that do "
            "not fit it; needed a table as recon-all writes it. Copy it again, or leave it out."
        )
    table = pd.DataFrame(rows, columns=heads[0])
    table = table[[column for column in COLUMNS if column in table]].rename(columns=COLUMNS)
    try:
        for column in table.columns.drop("name"):
            table[column] = to_numbers(table[column].tolist())
        whole = _whole(lines, side)
    except ValueError as fault:
        raise InputError(
            f"Found {path} with text where numbers are needed ({fault}); needed a table as "
            "recon-all writes it. Copy it again, or leave it out."
        ) from fault
    table["hemisphere"] = side or table["name"].map(_side)
    table = pd.concat([whole, table]).assign(atlas=FILES.get(path.name, path.stem))
    return table.reindex(columns=_order())


def _order():
    """List the columns in the order of the table."""
    first = ["atlas", "region", "name", "hemisphere"]
    return [*first, *dict.fromkeys(c for c in COLUMNS.values() if c not in first)]


def _whole(lines, side):
    """Read the global measures: of a hemisphere in its tables, else of the brain."""
    import pandas as pd

    rows = []
    for line in lines:
        measure = re.fullmatch(r"# Measure (\w+), (\S+), .*, (\S+), (\S+)", line)
        column = WHOLE.get(measure[4], COLUMNS.get(measure[2])) if measure else None
        if column is None:
            continue
        # Tables of a hemisphere repeat measures of the brain; only 'Cortex' is of the hemisphere.
        if side and measure[1] != "Cortex":
            continue
        fields = {"name": measure[2], "hemisphere": side or _side(measure[2])}
        rows.append(fields | {column: to_numbers([measure[3]])[0]})
    columns = [*WHOLE.values(), COLUMNS["NumVert"]]
    return pd.DataFrame(rows, columns=["name", "hemisphere", *columns])


def _side(name):
    """Return the side of a structure, from its name."""
    if re.match(r"(Left-|lh|ctx-lh|wm-lh)", name):
        return "L"
    return "R" if re.match(r"(Right-|rh|ctx-rh|wm-rh)", name) else "B"


def intracranial_ml(table):
    """Return the estimated total intracranial volume (eTIV), mL, or None where it is missing.

    Parameters
    ----------
    table : pandas.DataFrame
        As `read_stats` returns it, of one participant-session.

    Returns
    -------
    float or None

    References
    ----------
    Buckner et al. 2004, doi:10.1016/j.neuroimage.2004.06.018.
    """
    values = table.loc[(table["atlas"] == "aseg") & (table["name"] == TOTAL), "volume_mm3"]
    return float(values.iloc[0]) / 1000 if len(values) else None
