"""Tell statistics how much the folds of a study depend on each other."""

from bids_sexclf.stats import folds


def variance_factor(splits, rows):
    """Give the factor of the variance of what is found in the folds that rows come from.

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
    here = splits.merge(rows[keys].drop_duplicates(), on=keys)
    part = here.pivot(index=keys, columns="participant_id", values="part")
    return folds.variance_factor(part.isin(["train", "validation"]), part == "test")
