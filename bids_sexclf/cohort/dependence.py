"""The dependence between the folds of a study, for statistics."""

from bids_sexclf.stats import folds


def variance_factor(splits, rows):
    """Return the variance factor of the folds of some rows.

    Parameters
    ----------
    splits : pandas.DataFrame
        The splits table.
    rows : pandas.DataFrame
        Of one model, with ``repeat`` and ``fold``.

    Returns
    -------
    float
        See :func:`bids_sexclf.stats.folds.variance_factor`.
    """
    keys = ["repeat", "fold"]
    tested = splits.merge(rows[keys].drop_duplicates(), on=keys)
    part = tested.pivot(index=keys, columns="participant_id", values="part")
    return folds.variance_factor(part.isin(["train", "validation"]), part == "test")
