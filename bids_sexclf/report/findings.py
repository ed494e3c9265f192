"""Say in plain sentences what the tables of any study allow to say, and no more."""

from bids_sexclf.cohort.resemblance import say_relatives
from bids_sexclf.words import (
    CHANCE_P,
    GLUE,
    Finding,
    equate_p,
    name_pair,
    say_interval,
    say_number,
)

ALARM_P = 0.01
"""Below this one, what a model of shuffled labels scores is called leakage."""

COVARIATES = {
    "brain_volume_ml": "brain volume",
    "age_years": "age",
    "motion_mm": "head motion",
    "registration_agreement": "quality of registration",
    "snr": "signal-to-noise ratio",
}


def safely(function, *given):
    """Make a sentence; where that fails, say so: one sentence must not cost the whole report.

    Parameters
    ----------
    function : callable
        Gives a Finding, or None.
    *given
        What it is called with.

    Returns
    -------
    Finding or None
    """
    try:
        return function(*given)
    except Exception as fault:  # nobody can foresee every odd table
        return _say_failed(fault)


def safely_all(function, *given):
    """Make sentences, as `safely` makes one.

    Parameters
    ----------
    function : callable
        Gives a list of Finding.
    *given
        What it is called with.

    Returns
    -------
    list of Finding
    """
    found = safely(function, *given)
    return [found] if isinstance(found, Finding) else found


def _say_failed(fault):
    return Finding(
        "caution",
        f"A sentence that belongs here could not be made ({type(fault).__name__}: "
        f"{str(fault)[:120]}). The tables below hold the numbers.",
    )


def list_judged(scores, study):
    """List the models and maps that are judged, which are not baselines.

    Parameters
    ----------
    scores : pandas.DataFrame
    study : bids_sexclf.settings.Study

    Returns
    -------
    list of (str, str)
        In their first order.
    """
    found = dict.fromkeys(zip(scores["model"], scores["map"], strict=True))
    return [pair for pair in found if pair[0] in study.models]


def lay_out(headline, tables, checks, networks, more=None):
    """Put the sentences of the box on top in their order.

    Parameters
    ----------
    headline : Finding
        An alarm among the checks takes its place.
    tables : dict
        Reads ``cohort``, ``excluded``, ``splits`` and ``resemblance``.
    checks : list of Finding
        Of leakage.
    networks : dict
        Model and map to its list of Finding.
    more : Finding, optional
        What else there is to say of the whole study.

    Returns
    -------
    dict
        ``headline`` (Finding), ``study`` (list of Finding) and ``networks`` (name
        to list of Finding).
    """
    if any(check.tone == "alarm" for check in checks):
        headline = Finding("alarm", "Leakage is likely: trust no score until it is found.")
    people = safely(say_participants, tables["cohort"], tables["excluded"])
    related = safely(_say_related, tables["cohort"], tables["resemblance"])
    whole = (people, safely(say_unused, tables["splits"]), related, more, *checks)
    return {
        "headline": headline,
        "study": [finding for finding in whole if finding],
        "networks": {name_pair(*pair): found for pair, found in networks.items()},
    }


def take(tables, pair, names):
    """Choose the rows of one model and map.

    Parameters
    ----------
    tables : dict
        Table name to ``pandas.DataFrame``.
    pair : (str, str)
        Model and map.
    names : iterable of str
        Tables to choose from.

    Returns
    -------
    dict
        Table name to its rows.
    """
    return {
        name: frame[(frame["model"] == pair[0]) & (frame["map"] == pair[1])]
        for name, frame in tables.items()
        if name in names
    }


def say_shuffled(score, which, level, checks=1):
    """Return whether a model that can know nothing scores chance, as it should.

    Parameters
    ----------
    score : pandas.Series or None
        Of the model trained on shuffled labels, a row of scores (AUC, or the mean error in years);
        None where there is none.
    which : str
        The map it read.
    level : float
        Level of the intervals, in (0, 1).
    checks : int
        Checks of this kind in the study, over which the false alarms are shared.

    Returns
    -------
    Finding
    """
    if score is None or score["p"] != score["p"]:
        return Finding(
            "caution",
            f"Leakage was not checked for {which}: no score of a model trained on shuffled labels.",
        )
    title = "AUC" if score["score"] == "auc" else "mean error in years"
    numbers = (
        f"{title} {say_number(score['estimate'])}, {say_interval(score, level)}, "
        f"{equate_p(score['p'])}"
    )
    if score["p"] >= CHANCE_P / checks:
        return Finding(
            "good",
            f"Trained on shuffled labels, a model of {which} scores chance, as it should "
            f"({numbers}).",
        )
    if score["p"] >= ALARM_P / checks:
        return Finding(
            "caution",
            f"Trained on shuffled labels, a model of {which} scores higher than luck makes it in "
            f"{100 * (1 - CHANCE_P):g} of 100 sound studies ({numbers}). Run again with another "
            "random_seed: if it stays so, something about the test participants reaches the "
            "training.",
        )
    return Finding(
        "alarm",
        f"Leakage is likely: a model of {which} trained on shuffled labels scores above chance "
        f"({numbers}). Shuffled labels cannot be learned, so something about the test participants "
        "reaches the training. Trust no score here until it is found. (By luck alone this "
        f"warning comes in at most {100 * ALARM_P:g} of 100 sound studies.)",
    )


def say_confounds(rows, who, what):
    """Describe what the evidence, or the error, of a network goes with among people alike.

    Parameters
    ----------
    rows : pandas.DataFrame
        Its rows of confounds.
    who : str
        Among whom it was asked.
    what : str
        Of the network.

    Returns
    -------
    Finding or None
        None where nothing was tested.
    """
    rows = rows[(rows["within"] == "both") & rows["p"].notna()]
    if rows.empty:
        return None
    told = [
        f"{COVARIATES.get(row['covariate'], row['covariate'])} "
        f"(rho{GLUE}={GLUE}{say_number(row['rho'])}, {equate_p(row['p'])})"
        for _, row in rows.sort_values("p").iterrows()
        if row["p"] < CHANCE_P
    ]
    if told:
        return Finding(
            "caution",
            f"Among {who}, its {what} goes with {', '.join(told)}: part of what it uses may be "
            "that.",
        )
    names = [COVARIATES.get(name, name) for name in rows["covariate"]]
    return Finding(
        "plain", f"Among {who}, its {what} is not shown to go with {' or '.join(names)}."
    )


def say_coverage(splits, predictions, pair):
    """Say where participants that should have been tested were not.

    Parameters
    ----------
    splits, predictions : pandas.DataFrame
    pair : (str, str)
        Model and map.

    Returns
    -------
    Finding or None
        None where everyone was tested.
    """
    keys = ["repeat", "fold", "participant_id"]
    planned = splits.loc[splits["part"] == "test", keys].drop_duplicates()
    rows = predictions[(predictions["model"] == pair[0]) & (predictions["map"] == pair[1])]
    done = rows.loc[rows["part"] == "test", keys].drop_duplicates()
    missing = len(planned) - len(planned.merge(done, on=keys))
    if not missing:
        return None
    return Finding(
        "caution",
        f"{missing} of {len(planned)} planned tests are missing; every number of it describes "
        "the others only. Fit the folds that are left.",
    )


def say_participants(cohort, excluded):
    """Say who was studied and how many were left out.

    Parameters
    ----------
    cohort, excluded : pandas.DataFrame

    Returns
    -------
    Finding
    """
    people = cohort.drop_duplicates("participant_id")
    counts = people["sex"].value_counts()
    text = (
        f"{len(people)} participants ({counts.get('female', 0)} female, {counts.get('male', 0)} "
        f"male)"
    )
    if len(people):
        text += _say_ages(people["age_years"])
    out = excluded["participant_id"].nunique()
    left = f"{out} left out, each with its reason below" if out else "no one left out"
    return Finding("plain", f"{text}; {left}.")


def _say_ages(ages):
    """Say between which ages participants are, and of how many it is unknown."""
    known = ages.dropna()
    unknown = len(ages) - len(known)
    text = f", {known.min():.0f} to {known.max():.0f} years old" if len(known) else ""
    return text + (f", age in years unknown of {unknown}" if unknown else "")


def _say_related(cohort, resemblance):
    """Say that participants may be related; or nothing."""
    told = say_relatives(cohort, resemblance)
    return Finding("caution", told) if told else None


def say_unused(splits):
    """Describe how many took no part in a fold.

    Parameters
    ----------
    splits : pandas.DataFrame

    Returns
    -------
    Finding or None
        None where everyone took part in every fold.
    """
    unused = (splits["part"] == "unused").groupby([splits["repeat"], splits["fold"]]).sum()
    if not unused.any():
        return None
    people = splits.groupby("participant_id")["part"].agg(lambda parts: set(parts) == {"unused"})
    low, high = unused.min(), unused.max()
    return Finding(
        "plain",
        f"{low if low == high else f'{low} to {high}'} of {len(people)} participants took no part "
        f"in a fold, {int(people.sum())} of them in none: without a partner of the other sex and "
        "like brain size, related to somebody tested, or left out by the given parts.",
    )


def say_beyond_size(start, hits, comparisons):
    """Go on from what models tell to whether brain size alone tells it too.

    Parameters
    ----------
    start : str
        What they tell.
    hits : list of (str, str)
        Models and maps that do; at least one.
    comparisons : pandas.DataFrame

    Returns
    -------
    Finding
    """
    verdicts = verdicts_against(comparisons, "brain_size")
    beyond = sum(verdicts.get(pair) == "above" for pair in hits)
    if not any(pair in verdicts for pair in hits):
        return Finding("caution", f"{start}; whether brain size alone tells as much was not asked.")
    if beyond == len(hits):
        return Finding("good", f"{start}, and better than brain size alone.")
    if not beyond:
        return Finding("caution", f"{start}, but not shown to be better than brain size alone.")
    return Finding("plain", f"{start}; {beyond} of them better than brain size alone.")


def verdicts_against(comparisons, baseline):
    """Return the verdict of each model and map held against a baseline.

    Parameters
    ----------
    comparisons : pandas.DataFrame
    baseline : str

    Returns
    -------
    dict
    """
    rows = comparisons[comparisons["baseline"] == baseline]
    return {(row["model"], row["map"]): row["verdict"] for _, row in rows.iterrows()}
