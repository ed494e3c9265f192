"""Read what a study wrote."""


def score(desk, model, name="auc"):
    """Return the row of one score of one model.

    Parameters
    ----------
    desk : bids_sexclf.group.base.Desk
    model : str
    name : str

    Returns
    -------
    pandas.Series
        ``estimate``, ``ci_low``, ``ci_high``, ``p``, ``n`` and the rest of its row.
    """
    return desk.read("scores").query("score == @name and model == @model").iloc[0]


def read_page(desk):
    """Return the report of a study as one line of words."""
    return " ".join((desk.folder / "report.html").read_text().split())
