"""Choose among the files of other tools, and record which steps are done.

`fill` writes the files found by `offers.find_offers` into the rows of the worklist
(as BIDS URIs, ``bids:NAME:PATH``), and `take_over` converts a row to the record
by which the participant level chooses its workflows. Nothing here reads the
disk.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bids_sexclf.derivatives.offers import about
from bids_sexclf.layout import SCANS, SEVERAL, parse_name, paths
from bids_sexclf.settings import DERIVATIVES


@dataclass(frozen=True)
class Record:
    """The files of one participant-session, and the steps that are already done.

    Attributes
    ----------
    t1w, dwi, bval, bvec : tuple of pathlib.Path
        One for each run.
    t1w_mask, t1w_to_template, template_to_t1w, dwi_mask, dwi_motion : pathlib.Path or None
    maps : dict of str to pathlib.Path
        Diffusion maps by name.
    maps_space : {"template", "T1w"} or None
    aligned : bool
        The diffusion series, or its maps, lie in the T1w's space already.
    done : dict of str to str
        Step to the name of who did it, as ``--derivatives`` spells it.
    """

    t1w: tuple = ()
    dwi: tuple = ()
    bval: tuple = ()
    bvec: tuple = ()
    t1w_mask: Path | None = None
    t1w_to_template: Path | None = None
    template_to_t1w: Path | None = None
    dwi_mask: Path | None = None
    dwi_motion: Path | None = None
    maps: dict = field(default_factory=dict)
    maps_space: str | None = None
    aligned: bool = False
    done: dict = field(default_factory=dict)

    @property
    def bias_done(self):
        """Whether the T1w needs no bias-field correction."""
        return BIAS in self.done

    @property
    def dwi_done(self):
        """Whether the diffusion series is preprocessed."""
        return SERIES in self.done


BIAS, SERIES = "bias field of the T1w", "preprocessing of the diffusion series"


def fill(row, offers):
    """Write the files of other tools into a row of the worklist.

    A T1w, its mask and its transforms come from one tool. A diffusion series, or
    maps, in the space of a T1w are used with that T1w. Otherwise the first tool
    has priority over later ones, and all tools over raw scans.

    Parameters
    ----------
    row : dict
        Of the worklist.
    offers : dict
        As `find_offers` returns it.

    Returns
    -------
    dict
        The row; its ``note`` lists what is taken over.
    """
    tools = {name: _cells_of(offer, row) for name, offer in offers.items()}
    filled, used = dict.fromkeys(SCANS) | dict(row), {}

    def first(kind, names=tuple(tools)):
        return next((name for name in names if tools[name].get(kind)), None)

    def take(name, *kinds):
        for kind in kinds:
            files = tools[name].get(kind, [])
            uris = [f"bids:{name}:{path}" for path in files]
            filled[kind] = SEVERAL.join(uris) or None
        used[name] = tools[name].get("note", [])

    diffusion = first("maps") or first("dwi")
    if first("maps"):
        take(diffusion, "maps")
        filled |= dict.fromkeys(("dwi", "bval", "bvec"))
    elif diffusion:
        take(diffusion, "dwi", "bval", "bvec", "dwi_mask", "dwi_motion")
    frame = about(diffusion)["frame"] if diffusion else None
    near = [name for name in tools if about(name)["frame"] == frame]
    anatomy = first("t1w", near) or first("t1w")
    if anatomy:
        take(anatomy, "t1w", "t1w_mask")
        if tools[anatomy].get("t1w_to_template") and tools[anatomy].get("template_to_t1w"):
            take(anatomy, "t1w_to_template", "template_to_t1w")
    elif filled["t1w"] and first("t1w_mask", [n for n in tools if about(n)["frame"] == "raw"]):
        take("masks", "t1w_mask")
    notes = [
        row.get("note"),
        *(note for tool_notes in used.values() for note in tool_notes),
        describe(filled),
    ]
    filled["note"] = "; ".join(filter(None, notes)) or None
    return filled


def _cells_of(offer, row):
    """Return the files of one tool for a participant-session; one anatomy may serve several."""
    session_cells = offer.get((row["participant_id"], row["session_id"]), {})
    shared = offer.get((row["participant_id"], None), {})
    return {
        kind: names for kind, names in shared.items() if kind not in session_cells
    } | session_cells


def scans_of(row):
    """Return the scans of a row of the worklist: kind to paths, as the worklist writes them."""
    return {kind: row[kind] for kind in SCANS if row.get(kind)}


def source_of(uri):
    """Return the name of the dataset that a path of the worklist belongs to.

    Examples
    --------
    >>> source_of("bids:hcp:100307/T1w/brainmask_fs.nii.gz"), source_of("sub-1/anat/sub-1_T1w.nii")
    ('hcp', 'raw')
    """
    return uri.split(":", 2)[1] if uri.startswith("bids:") else "raw"


def as_uri(path):
    """Convert a path of the worklist to a BIDS URI."""
    return path if path.startswith("bids:") else f"bids:raw:{path}"


def locate(uri, places):
    """Return the absolute path of a file in the worklist.

    Parameters
    ----------
    uri : str
        Relative to the dataset, or ``bids:NAME:PATH``.
    places : dict of str to path-like
        ``raw`` for the dataset, and the names of the derivatives.

    Returns
    -------
    pathlib.Path
    """
    name = source_of(uri)
    inside = uri.split(":", 2)[2] if uri.startswith("bids:") else uri
    return Path(places[name], inside)


def take_over(row, places, template):
    """Convert a row of the worklist to the record of its files and the steps already done.

    Parameters
    ----------
    row : dict
        Of the worklist, as `fill` leaves it.
    places : dict of str to path-like, or None
        ``raw`` for the dataset, and the names of the derivatives. Without them the record tells
        what is done, and its paths are relative.
    template : str
        Name of the template space.

    Returns
    -------
    Record
    """
    cells = {kind: paths(row.get(kind)) for kind in SCANS}
    if places is None:
        places = dict.fromkeys(("raw", *DERIVATIVES), "")
    files = {kind: tuple(locate(uri, places) for uri in uris) for kind, uris in cells.items()}
    single = ("t1w_mask", "t1w_to_template", "template_to_t1w", "dwi_mask", "dwi_motion")
    values = {kind: files[kind] for kind in ("t1w", "dwi", "bval", "bvec")}
    values |= {kind: next(iter(files[kind]), None) for kind in single}
    maps = {parse_name(path)[0]["param"].upper(): path for path in files["maps"]}
    return Record(**values, maps=maps, **_spaces(cells, template), done=_done(cells))


def _spaces(cells, template):
    """Return the space of the diffusion data."""
    space = parse_name(cells["maps"][0])[0]["space"] if cells["maps"] else None
    frames = [
        {about(source_of(uri))["frame"] for uri in uris if source_of(uri) != "raw"}
        for uris in (cells["t1w"], cells["maps"] or cells["dwi"])
    ]
    inside = {None: None, template: "template"}.get(space, "T1w")
    return {"maps_space": inside, "aligned": bool(frames[0] & frames[1])}


def _done(cells):
    """Return the steps already done: step to the tool that did it."""
    steps = {}
    for kind, uris in cells.items():
        for name in {source_of(uri) for uri in uris} - {"raw"}:
            entry = about(name)
            for step in entry.get("done", {}).get(kind, []):
                # Without a mask the T1w takes the whole workflow, as a raw one does.
                if step != BIAS or cells["t1w_mask"]:
                    steps[step] = name
    return steps


def describe(row):
    """Describe which steps are taken over from which tools.

    Parameters
    ----------
    row : dict
        Of the worklist.

    Returns
    -------
    str or None
    """
    tool_of_step = _done({kind: paths(row.get(kind)) for kind in SCANS})
    steps = {}
    for step, name in tool_of_step.items():
        steps.setdefault(about(name)["title"], []).append(step)
    return (
        "; ".join(
            f"taken over from {title}: {', '.join(tool_steps)}"
            for title, tool_steps in steps.items()
        )
        or None
    )
