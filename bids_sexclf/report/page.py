"""Write the page of a study's report: findings, figures, tables and methods."""

from importlib import resources

from bids_sexclf import figures, targets
from bids_sexclf.citations import to_html
from bids_sexclf.report import gathering, methods
from bids_sexclf.tables import schema
from bids_sexclf.texts import clean, shown
from bids_sexclf.words import say_number, say_p

TABLES = {
    "Participants": ("folds", "quality", "excluded"),
    "How surely {what} can be told": ("scores", "comparisons"),
    "What else could explain it": ("added", "matching", "confounds"),
    "Where {differ}": ("claims", "differences", "voxel_differences", "regions"),
    "Whether maps explain the models": ("sanity", "audit", "agreement"),
    "What was looked at": ("looked_at",),
}
"""Section of the report to the tables printed in it; words of the target stand in braces."""

TITLES = {
    "folds": "Participants in each part of each fold",
    "excluded": "Participants left out, and why",
    "quality": "Participants whose quality stands out (quality.tsv holds everyone)",
    "scores": "Scores",
    "comparisons": "Networks against baselines",
    "added": "Whether evidence adds to what brain size, age, motion and site tell",
    "matching": "Accuracy among people of each {what} paired ever more closely by brain volume",
    "claims": "Region by region: does it differ, and does a model use it",
    "differences": "Every region compared between the sexes, without a model",
    "confounds": "Association of the {alike_error} with other things, among {alike}",
    "regions": "Every region that was hidden from a model",
    "looked_at": "Every set of choices whose results were looked at in this study folder",
    "audit": "Known sources, and where each method found them",
    "agreement": "How far maps agree, where one thing differs",
    "voxel_differences": "Voxels compared between the sexes, counted by region",
    "sanity": "Maps held against those of models that know nothing, and against edges and size",
}
SORTED = {
    "regions": ["p_fwe", "p_wilcoxon"],
    "differences": ["p_fwe", "p"],
    "claims": ["p_fwe", "p_fwe_adjusted"],
}
"""Tables that stand in another order than their file, and the columns that say which."""
MOST_ROWS = 1500
"""Rows of one table the report prints; the file holds them all."""
MOST_TEXT = 600
"""Characters of a cell that the report prints."""


def describe_methods(study, tables):
    """Return the methods paragraph, or the reason why it cannot be written."""
    try:
        return methods.write_methods(study, tables["predictions"]["model"])
    except Exception as fault:  # a study may be wrong in any way
        return f"The methods could not be put into words ({type(fault).__name__})."


def trace_curves(predictions, level):
    """Compute ROC and calibration curves of the test participants.

    Parameters
    ----------
    predictions : pandas.DataFrame
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    dict of pandas.DataFrame
        ``roc``: model, map, fpr, tpr. ``calibration``: model, map, predicted,
        observed, low, high, n. A model tested on one sex only has no ROC curve.
    """
    import pandas as pd

    from bids_sexclf.stats.scores import calibration_curve, roc_curve

    parts = {"roc": [], "calibration": []}
    tested = predictions[predictions["part"] == "test"]
    for (model, map_name), rows in tested.groupby(["model", "map"], sort=False):
        fold = rows.groupby(["repeat", "fold"]).ngroup().to_numpy()
        # A repeat tests everyone again: use one repeat, so that n counts people.
        once = rows[rows["repeat"] == rows["repeat"].min()]
        target, logit = once["target"].to_numpy(), once["evidence"].to_numpy(float)
        bins = max(2, min(10, len(once) // 10))
        try:
            fpr, tpr = roc_curve(rows["target"].to_numpy(), rows["evidence"].to_numpy(float), fold)
            calibration = calibration_curve(target, logit, bins, level)
        except (ValueError, ArithmeticError):  # a model without a curve must not prevent the others
            continue
        for name, columns in (("roc", {"fpr": fpr, "tpr": tpr}), ("calibration", calibration)):
            parts[name].append(pd.DataFrame({"model": model, "map": map_name} | columns))
    columns = {
        "roc": ["model", "map", "fpr", "tpr"],
        "calibration": ["model", "map", "predicted", "observed", "low", "high", "n"],
    }
    return {
        name: pd.concat(frames).dropna() if frames else pd.DataFrame(columns=columns[name])
        for name, frames in parts.items()
    }


def make_page(tables, study, drawn, faults=None):
    """Return the HTML page, which needs no other file.

    Parameters
    ----------
    tables : dict
        Table name to ``pandas.DataFrame``.
    study : bids_sexclf.settings.Study
    drawn : dict
        Name of a figure to its SVG text, or to None where there was nothing to
        draw.
    faults : dict, optional
        Name of a figure that could not be drawn to the reason.

    Returns
    -------
    str
    """
    import jinja2
    from markupsafe import Markup

    methods_text = describe_methods(study, tables)
    template = (resources.files("bids_sexclf") / "data" / "report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=shown
    )
    return environment.from_string(template).render(
        study=study.name,
        target=targets.find(study.target),
        regions=len(tables["regions"]) > 0,
        findings=gathering.gather(tables, study),
        sections=_lay_out(tables, drawn, targets.find(study.target), faults or {}),
        methods=Markup(to_html(methods_text)),  # noqa: S704
        settings=methods.list_settings(study),
        versions=methods.list_versions(),
    )


def _lay_out(tables, drawn, target, faults=None):
    """Sort figures and tables under their headings."""
    from markupsafe import Markup

    sections, words = {}, target.words
    for name, entry in figures.ordered(target):
        heading = entry.SECTION.format(**words)
        section = sections.setdefault(heading, {"figures": [], "tables": []})
        svg, caption = drawn[name], entry.CAPTION.format(**words)
        inline = Markup(figures.inline_svg(svg, name, caption)) if svg else None  # noqa: S704
        fault = clean((faults or {}).get(name, ""), 300)
        shown = {"name": name, "svg": inline, "caption": caption, "fault": fault}
        section["figures"].append(shown)
    for heading, names in TABLES.items():
        section = sections.setdefault(heading.format(**words), {"figures": [], "tables": []})
        shown = [name for name in names if target.has(name)]
        section["tables"] = [_make_table(name, tables, target) for name in shown]
    return sections


def _make_table(name, tables, target):
    """Return the content of a table for its HTML."""
    frame = count_folds(tables) if name == "folds" else tables[name]
    if name == "quality":
        frame = frame[frame["outlier"] == "yes"]
    columns = {} if name == "folds" else schema(name)
    optional = [key for key, entry in columns.items() if not entry.get("Required", True)]
    unknown = [key for key in optional if key in frame and frame[key].isna().all()]
    frame = frame.drop(columns=unknown)
    if name in SORTED:
        frame = frame.sort_values(SORTED[name], kind="stable")
    header = [(column, columns.get(column, {})) for column in frame.columns]
    # Text that is equal in all rows is shown once, which saves width.
    constant = {
        column: format_cell(frame[column].iloc[0], column, entry)
        for column, entry in header[:-1]
        if len(frame) > 1 and not _is_number(entry) and frame[column].nunique(dropna=False) == 1
    }
    header = [(column, entry) for column, entry in header if column not in constant]
    cells = frame[[column for column, _ in header]].head(MOST_ROWS).itertuples(index=False)
    rows = [
        [
            format_cell(value, column, entry)
            for value, (column, entry) in zip(row, header, strict=True)
        ]
        for row in cells
    ]
    return {
        "name": name,
        "title": TITLES[name].format(**target.words),
        "header": header,
        "rows": rows,
        "total": len(frame),
        "same": constant,
        "meanings": columns,
        "numeric": [_is_number(entry) for _, entry in header],
    }


def _is_number(entry):
    return entry.get("Format", "integer") in ("number", "integer")


def format_cell(value, column, entry):
    """Format one value of a table.

    Parameters
    ----------
    value : object
    column : str
        Its column; p-values and q-values are known by their name.
    entry : dict
        The column's entry of the data dictionary.

    Returns
    -------
    str
        ``n/a`` where it is unknown.

    Examples
    --------
    >>> format_cell(0.0004, "p_holm", {"Format": "number"})
    '< 0.001'
    >>> format_cell(12.0, "n", {"Format": "integer"})
    '12'
    """
    if value is None or value != value:
        return "n/a"
    if not _is_number(entry):
        return clean(str(value), MOST_TEXT)
    if entry.get("Format", "integer") == "integer":
        return f"{int(value)}"
    return say_p(value) if column[:2] in ("p", "p_", "q_") else say_number(value, 3)


def count_folds(tables):
    """Count women and men in each part of each fold.

    Parameters
    ----------
    tables : dict
        Reads ``splits`` and ``cohort``.

    Returns
    -------
    pandas.DataFrame
        One row per repeat and fold; a female and a male count per part.
    """
    import pandas as pd

    sex = tables["cohort"].drop_duplicates("participant_id").set_index("participant_id")["sex"]
    splits = tables["splits"].assign(sex=tables["splits"]["participant_id"].map(sex))
    keys, counts = ["repeat", "fold"], {}
    for part in ("train", "validation", "test"):
        for kind in ("female", "male"):
            rows = splits[(splits["part"] == part) & (splits["sex"] == kind)]
            counts[f"{part}, {kind}"] = rows.groupby(keys)["participant_id"].nunique()
    frame = pd.DataFrame(counts).fillna(0).astype(int)
    frame.index = frame.index.set_names(keys) if len(frame) else frame.index
    return frame.reset_index() if len(frame) else pd.DataFrame(columns=[*keys, *counts])
