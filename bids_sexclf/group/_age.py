"""Score models of age: errors beside those of the median, and what the errors go with."""

import numpy as np

from bids_sexclf.cohort.blocks import count_people
from bids_sexclf.stats import confounds, regression

COVARIATES = ("brain_volume_ml", "motion_mm", "registration_agreement")


def arrays_of(rows):
    """Turn rows of predictions into the arrays that ``stats.regression`` takes.

    Parameters
    ----------
    rows : pandas.DataFrame
        Test rows of one model on one map, with ``family``.

    Returns
    -------
    dict
        target and prediction (years), fold, group (families).
    """
    return {
        "target": rows["target"].to_numpy(float),
        "prediction": rows["logit"].to_numpy(float),
        "fold": (rows["repeat"].astype(str) + "/" + rows["fold"].astype(str)).to_numpy(),
        "group": rows["family"].to_numpy(str),
    }


def score_table(key, rows, study, factor):
    """Score one model on one map: estimate, interval, permutation p.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    rows : pandas.DataFrame
        Its test predictions.
    study : settings.Study
    factor : float
        Of the variance, as ``dependence.variance_factor`` gives it.

    Returns
    -------
    list of tuple
        Rows of the ``scores`` table.
    """
    given, table = arrays_of(rows), []
    people = rows["participant_id"].to_numpy(str)
    options = {"seed": study.random_seed, "factor": factor}
    for name in regression.SCORES:
        score, null, p = getattr(regression, name), np.nan, np.nan
        low, high = regression.bootstrap(
            score, **given, n=study.bootstraps, level=study.interval_level, **options
        )
        if name not in regression.WITHOUT_NULL:
            null, p = regression.permutation(
                score, **given, participant=people, n=study.permutations, **options
            )
        value = score(given["target"], given["prediction"])
        row = (*key, name, "test", len(np.unique(people)), value, low, high, null, p, factor)
        table.append(row)
    return table


def compare(key, pair, study, factor):
    """Compare the error of one model with that of a baseline, on the same participants.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    pair : tuple
        Test predictions of the model, those of the baseline, the baseline's name.
    study : settings.Study
    factor : float
        Of the variance, as ``dependence.variance_factor`` gives it.

    Returns
    -------
    list of tuple
        One row of the ``comparisons`` table; a negative difference speaks for the model.
    """
    own, other, name = pair
    keys = ["repeat", "fold", "participant_id", "session_id"]
    both = own.merge(other[[*keys, "logit"]], on=keys, suffixes=("", "_baseline"))
    given = arrays_of(both)
    found = regression.compare(
        given["target"],
        given["prediction"],
        both["logit_baseline"].to_numpy(float),
        group=given["group"],
        n=study.bootstraps,
        level=study.interval_level,
        seed=study.random_seed,
        factor=factor,
    )
    numbers = (found[one] for one in ("difference", "low", "high", "p"))
    people = both["participant_id"].nunique()
    return [(*key, name, "mae", people, *numbers, factor, verdict(found))]


def verdict(found):
    """Say what the interval of a difference of errors allows to say.

    Parameters
    ----------
    found : dict
        Of ``stats.regression.compare``.

    Returns
    -------
    {"above", "not above", "below"} or None

    Examples
    --------
    >>> verdict({"low": -3.0, "high": -1.0}), verdict({"low": -3.0, "high": 1.0})
    ('above', 'not above')
    """
    if np.isnan(found["low"]):
        return None
    return "above" if found["high"] < 0 else "below" if found["low"] > 0 else "not above"


def associate(key, rows, study):
    """Look for association of a model's error with covariates among people of one sex and like age.

    The error (prediction minus age) leans with age, and so do covariates: without age taken out
    of both, every model that shrinks to the mean would seem to go with brain volume.

    Parameters
    ----------
    key : tuple of str
        Model and map.
    rows : pandas.DataFrame
        Its test predictions with the covariates and ``sex``.
    study : settings.Study

    Returns
    -------
    list of tuple
        Rows of the ``confounds`` table, within each sex and pooled.
    """
    table = []
    for name in COVARIATES:
        known = rows.dropna(subset=[name])
        counts = known.groupby("sex")["participant_id"].nunique()
        if counts.reindex(["female", "male"]).fillna(0).min() < 4:
            continue
        given = arrays_of(known)
        found = confounds.partial_association(
            given["prediction"] - given["target"],
            (known["sex"] == "male").to_numpy(int),
            known[name].to_numpy(float),
            group=given["group"],
            fold=given["fold"],
            n=study.permutations,
            seed=study.random_seed,
            beside=given["target"],
        )
        people = count_people(known)
        for sex, part in (("female", "negative"), ("male", "positive"), ("both", "pooled")):
            own = found[part]
            table.append((*key, name, sex, people[sex], own["rho"], own["p"]))
    return table
