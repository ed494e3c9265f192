"""Compare women and men in other units than regions: slices, feature maps; for units.tsv."""

import numpy as np

from bids_sexclf import attribution
from bids_sexclf.stats.differences import standardise, step_down
from bids_sexclf.stats.effects import cohens_d
from bids_sexclf.stats.exchangeable import deal_sexes, find_obstacle
from bids_sexclf.tables import schema

KEYS = ["model", "map", "method", "unit"]
UNITS = {"slices": "slice", "feature_maps": "feature_map", "features": "features"}
"""What methods yield, and what one of them is called."""
ACROSS = "models of several folds have learnt from each other's tested people: no p-value is valid"


def compare_units(rows, people, study):
    """Compare the two kinds of people in every unit that is not a region.

    Parameters
    ----------
    rows : pandas.DataFrame
        Attributions of these units.
    people : pandas.DataFrame
        ``family`` and ``kind``, 0 or 1, by participant.
    study : settings.Study
        ``permutations`` and ``random_seed`` are read.

    Returns
    -------
    pandas.DataFrame
        Rows of the table ``units``: all folds together, or each fold separately if values of the
        method cannot be compared between folds.
    """
    import pandas as pd

    tables = []
    for key, part in rows.groupby(KEYS, sort=False):
        about = dict(zip(KEYS, key, strict=True))
        by_fold = attribution.find(about["method"]).SCOPE == "group"
        parts = part.groupby(["repeat", "fold"]) if by_fold else [((None, None), part)]
        for (repeat, fold), rows_of_part in parts:
            table = _compare(rows_of_part, people, study, by_fold)
            tables.append(table.assign(**about, repeat=repeat, fold=fold))
    return pd.concat(tables, ignore_index=True)[list(schema("units"))]


def _compare(rows, people, study, by_fold):
    """Compare the two kinds; p-values only for the test people of one model."""
    import pandas as pd

    # Sessions and repeats of a participant are averaged, so that a participant counts once.
    weighed = rows.assign(value=rows["value"] * rows["weight"])
    scan = ["participant_id", "session_id", "repeat", "index"]
    values = weighed.groupby(scan, dropna=False)["value"].sum()
    values = values.groupby(level=["participant_id", "index"]).mean().unstack("index")
    tested = people.loc[values.index]
    kind, family = tested["kind"].to_numpy(int), tested["family"].to_numpy(str)
    numbers = values.to_numpy(float)
    names = rows.drop_duplicates("index").set_index("index")["name"]
    means = np.full((2, numbers.shape[1]), np.nan)
    for one in np.unique(kind):
        means[one] = numbers[kind == one].mean(axis=0)
    unknown = np.full(numbers.shape[1], np.nan)
    reason = find_obstacle(kind, group=family) or (None if by_fold else ACROSS)
    p, p_fwe = _test(numbers, kind, family, study) if reason is None else (unknown, unknown)
    has_both = len(np.unique(kind)) == 2
    d, low, high = cohens_d(numbers, kind, group=family) if has_both else (unknown,) * 3
    columns = {"mean_first": means[0], "mean_second": means[1], "d": d}
    columns |= {"ci_low": low, "ci_high": high, "p": p, "p_fwe": p_fwe, "reason": reason}
    index = values.columns.to_numpy(int)
    named = {"index": index, "name": names.loc[index].to_numpy(), "n_participants": len(values)}
    return pd.DataFrame(named | columns)


def _test(values, kind, family, study):
    """Test every unit by permuted kinds among families; a constant unit has no p-value."""
    deals = deal_sexes(kind, group=family, n=study.permutations, seed=study.random_seed)
    p, p_fwe = (np.full(values.shape[1], np.nan) for _ in range(2))
    standard = [standardise(values[:, [place]], deals)[0] for place in range(values.shape[1])]
    varies = np.array([one.shape[1] == 1 for one in standard])
    if varies.any():
        varying = np.column_stack([one for one in standard if one.shape[1]])
        chance = np.abs(deals.dealt @ varying).T
        p[varies], p_fwe[varies] = step_down(np.abs(deals.sex @ varying), chance)
    return p, p_fwe
