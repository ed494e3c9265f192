"""Write the report. Reads every table above; writes report.html, claims.tsv and figures/*.svg."""

from bids_sexclf import figures, targets
from bids_sexclf.citations import write_citations
from bids_sexclf.cohort.quality import limit_quality
from bids_sexclf.disk import whole
from bids_sexclf.group._looked import read_looks
from bids_sexclf.report import page
from bids_sexclf.report.claims import judge_regions
from bids_sexclf.tables import read_table, write_table
from bids_sexclf.volumes import load

READS = (
    "cohort",
    "splits",
    "predictions",
    "scores",
    "comparisons",
    "added",
    "matching",
    "confounds",
    "differences",
    "voxel_differences",
    "regions",
    "agreement",
    "sanity",
    "audit",
    "history",
    "excluded",
    "quality",
    "resemblance",
)
WRITES = ("report.html",)
ALSO = ("figures/*.svg", "claims.tsv")
SETTINGS = ()
GRID = ("template", "atlas")


def files(desk):
    """Name the template and the atlas on the study grid, and what was looked at."""
    images = {f"grid/{name}.nii.gz": desk.folder / "grid" / f"{name}.nii.gz" for name in GRID}
    return images | {"looked_at.tsv": desk.folder / "looked_at.tsv"}


def run(desk, advance=None):
    """Write the report of a study.

    Parameters
    ----------
    desk : object
        With ``folder`` (pathlib.Path of the study, which holds its tables and
        ``grid/``), ``study`` (settings.Study) and ``run`` (settings.Run).
    advance : callable, optional
        Called with (figures done, figures in all, name) after each figure.

    Raises
    ------
    InputError
        If a table is missing or damaged.
    """
    tables = {name: read_table(desk.folder / f"{name}.tsv", name) for name in READS}
    tables["looked_at"] = read_looks(desk.folder)
    tables["quality_limits"] = limit_quality(tables["quality"])
    tables["claims"] = judge_regions(tables["differences"], tables["regions"])
    write_table(tables["claims"], desk.folder / "claims.tsv", "claims")
    tested, target = tables["predictions"], targets.find(desk.study.target)
    by_class = tested if target.is_classes else tested.iloc[:0]
    tables |= page.trace_curves(by_class, desk.study.interval_level)
    for name in GRID:
        path = desk.folder / "grid" / f"{name}.nii.gz"
        tables[name] = load(path, ndim=3) if path.exists() else None
    tables["words"] = target.words
    drawn, entries, faults = {}, figures.ordered(target), {}
    for done, (name, _) in enumerate(entries, start=1):
        try:
            drawn[name] = figures.draw_svg(name, tables)
        except Exception as fault:  # nobody can foresee every odd table
            drawn[name], faults[name] = None, f"{type(fault).__name__}: {str(fault)[:200]}"
        if drawn[name] is not None:
            with whole(desk.folder / "figures" / f"{name}.svg") as part:
                part.write_text(drawn[name], encoding="utf-8")
        if advance:
            advance(done, len(entries), name)
    write_citations(page.describe_methods(desk.study, tables), desk.folder / "logs")
    text = page.make_page(tables, desk.study, drawn, faults)
    with whole(desk.folder / "report.html") as part:
        part.write_text(text, encoding="utf-8")
