"""Which of what others have prepared is taken, and which steps are done. Decided here only.

`fill` writes what `offers.find_offers` has found into the rows of the worklist
(as BIDS URIs, ``bids:NAME:PATH``), and `take_over` turns a row into the record
from which the participant level chooses its workflows. Nothing here looks at
the disk.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bids_sexclf.derivatives.offers import about
from bids_sexclf.layout import SCANS, SEVERAL, parse_name, paths
from bids_sexclf.settings import DERIVATIVES


@dataclass(frozen=True)
class Record:
    """Where everything of one participant-session lies, and what is done already.

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
    """Write what others have prepared into a row of the worklist.

    A T1w, its mask and its transforms come from one place. A diffusion series, or
    maps, that lie in a T1w's space bring that T1w with them. Otherwise the first
    named wins over the later ones, and all win over what is raw.

    Parameters
    ----------
    row : dict
        Of the worklist.
    offers : dict
        As `find_offers` returns it.

    Returns
    -------
    dict
        The row, with ``note`` telling what is taken over.
    """
    held = {name: _cells_of(found, row) for name, found in offers.items()}
    filled, used = dict.fromkeys(SCANS) | dict(row), {}

    def first(kind, names=tuple(held)):
        return next((name for name in names if held[name].get(kind)), None)

    def take(name, *kinds):
        for kind in kinds:
            own = held[name].get(kind, [])
            uris = [f"bids:{name}:{path}" for path in own]
            filled[kind] = SEVERAL.join(uris) or None
        used[name] = held[name].get("note", [])

    diffusion = first("maps") or first("dwi")
    if first("maps"):
        take(diffusion, "maps")
        filled |= dict.fromkeys(("dwi", "bval", "bvec"))
    elif diffusion:
        take(diffusion, "dwi", "bval", "bvec", "dwi_mask", "dwi_motion")
    frame = about(diffusion)["frame"] if diffusion else None
    near = [name for name in held if about(name)["frame"] == frame]
    anatomy = first("t1w", near) or first("t1w")
    if anatomy:
        take(anatomy, "t1w", "t1w_mask")
        if held[anatomy].get("t1w_to_template") and held[anatomy].get("template_to_t1w"):
            take(anatomy, "t1w_to_template", "template_to_t1w")
    elif filled["t1w"] and first("t1w_mask", [n for n in held if about(n)["frame"] == "raw"]):
        take("masks", "t1w_mask")
    notes = [row.get("note"), *(note for own in used.values() for note in own), describe(filled)]
    filled["note"] = "; ".join(filter(None, notes)) or None
    return filled


def _cells_of(found, row):
    """Return what one tool offers a participant-session; an anatomy may serve several sessions."""
    own = found.get((row["participant_id"], row["session_id"]), {})
    shared = found.get((row["participant_id"], None), {})
    return {kind: names for kind, names in shared.items() if kind not in own} | own


def scans_of(row):
    """Return the scans of a row of the worklist: kind to paths, as the worklist spells them."""
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
    """Spell a path of the worklist as a BIDS URI."""
    return path if path.startswith("bids:") else f"bids:raw:{path}"


def locate(uri, places):
    """Return the file that a path of the worklist names.

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
    """Turn a row of the worklist into the record of where everything lies and what is done.

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
    found = {kind: tuple(locate(uri, places) for uri in uris) for kind, uris in cells.items()}
    single = ("t1w_mask", "t1w_to_template", "template_to_t1w", "dwi_mask", "dwi_motion")
    values = {kind: found[kind] for kind in ("t1w", "dwi", "bval", "bvec")}
    values |= {kind: next(iter(found[kind]), None) for kind in single}
    maps = {parse_name(path)[0]["param"].upper(): path for path in found["maps"]}
    return Record(**values, maps=maps, **_spaces(cells, template), done=_done(cells))


def _spaces(cells, template):
    """Say in which space the diffusion data lie."""
    space = parse_name(cells["maps"][0])[0]["space"] if cells["maps"] else None
    frames = [
        {about(source_of(uri))["frame"] for uri in uris if source_of(uri) != "raw"}
        for uris in (cells["t1w"], cells["maps"] or cells["dwi"])
    ]
    inside = {None: None, template: "template"}.get(space, "T1w")
    return {"maps_space": inside, "aligned": bool(frames[0] & frames[1])}


def _done(cells):
    """Tell who has done which step."""
    done = {}
    for kind, uris in cells.items():
        for name in {source_of(uri) for uri in uris} - {"raw"}:
            entry = about(name)
            for step in entry.get("done", {}).get(kind, []):
                # Without a mask the T1w takes the whole workflow, as a raw one does.
                if step != BIAS or cells["t1w_mask"]:
                    done[step] = name
    return done


def describe(row):
    """Say in a sentence what is taken over from whom.

    Parameters
    ----------
    row : dict
        Of the worklist.

    Returns
    -------
    str or None
    """
    done = _done({kind: paths(row.get(kind)) for kind in SCANS})
    steps = {}
    for step, name in done.items():
        steps.setdefault(about(name)["title"], []).append(step)
    return (
        "; ".join(f"taken over from {title}: {', '.join(own)}" for title, own in steps.items())
        or None
    )
