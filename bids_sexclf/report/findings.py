"""Findings of a study in plain sentences, for any target."""

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


def safely(function, *arguments):
    """Make a finding; if that fails, return a finding that says so, and keep the report.

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
        return function(*arguments)
    except Exception as fault:  # a table may be wrong in any way
        return _say_failed(fault)


def safely_all(function, *arguments):
    """Make several findings, as `safely` makes one.

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
    finding = safely(function, *arguments)
    return [finding] if isinstance(finding, Finding) else finding


def _say_failed(fault):
    return Finding(
        "caution",
        f"A sentence that belongs here could not be made ({type(fault).__name__}: "
        f"{str(fault)[:120]}). The tables below hold the numbers.",
    )


def list_judged(scores, study):
    """List the models and maps that are not baselines.

    Parameters
    ----------
    scores : pandas.DataFrame
    study : bids_sexclf.settings.Study

    Returns
    -------
    list of (str, str)
        In order of first appearance.
    """
    pairs = dict.fromkeys(zip(scores["model"], scores["map"], strict=True))
    return [pair for pair in pairs if pair[0] in study.models]


def lay_out(headline, tables, checks, networks, extra=None):
    """Arrange the findings of the summary box.

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
    extra : Finding, optional
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
    whole = (people, safely(say_unused, tables["splits"]), related, extra, *checks)
    return {
        "headline": headline,
        "study": [finding for finding in whole if finding],
        "networks": {name_pair(*pair): findings for pair, findings in networks.items()},
    }


def take(tables, pair, names):
    """Return the rows of one model and map.

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


def say_shuffled(score, map_name, level, checks=1):
    """Return the finding on a model of shuffled labels, which should score chance.

    Parameters
    ----------
    score : pandas.Series or None
        Of the model trained on shuffled labels, a row of scores (AUC, or the mean error in years);
        None where there is none.
    map_name : str
        The map it read.
    level : float
        Level of the intervals, in (0, 1).
    checks : int
        Number of such checks in the study, for the correction of their level.

    Returns
    -------
    Finding
    """
    if score is None or score["p"] != score["p"]:
        return Finding(
            "caution",
            f"Leakage was not checked for {map_name}: no score of a model trained on shuffled "
            "labels.",
        )
    title = "AUC" if score["score"] == "auc" else "mean error in years"
    numbers = (
        f"{title} {say_number(score['estimate'])}, {say_interval(score, level)}, "
        f"{equate_p(score['p'])}"
    )
    if score["p"] >= CHANCE_P / checks:
        return Finding(
            "good",
            f"Trained on shuffled labels, a model of {map_name} scores chance, as it should "
            f"({numbers}).",
        )
    if score["p"] >= ALARM_P / checks:
        return Finding(
            "caution",
            f"Trained on shuffled labels, a model of {map_name} scores higher than luck makes it "
            f"in {100 * (1 - CHANCE_P):g} of 100 sound studies ({numbers}). Run again with another "
            "random_seed: if it stays so, something about the test participants reaches the "
            "training.",
        )
    return Finding(
        "alarm",
        f"Leakage is likely: a model of {map_name} trained on shuffled labels scores above chance "
        f"({numbers}). Shuffled labels cannot be learned, so something about the test participants "
        "reaches the training. Trust no score here until it is found. (By luck alone this "
        f"warning comes in at most {100 * ALARM_P:g} of 100 sound studies.)",
    )


def say_confounds(rows, group, measure):
    """Return the finding on associations of evidence, or error, with confounds.

    Parameters
    ----------
    rows : pandas.DataFrame
        Its rows of confounds.
    group : str
        Among whom it was asked.
    measure : str
        Of the network.

    Returns
    -------
    Finding or None
        None where nothing was tested.
    """
    rows = rows[(rows["within"] == "both") & rows["p"].notna()]
    if rows.empty:
        return None
    associations = [
        f"{COVARIATES.get(row['covariate'], row['covariate'])} "
        f"(rho{GLUE}={GLUE}{say_number(row['rho'])}, {equate_p(row['p'])})"
        for _, row in rows.sort_values("p").iterrows()
        if row["p"] < CHANCE_P
    ]
    if associations:
        return Finding(
            "caution",
            f"Among {group}, its {measure} goes with {', '.join(associations)}: part of what it "
            "uses may be that.",
        )
    names = [COVARIATES.get(name, name) for name in rows["covariate"]]
    return Finding(
        "plain", f"Among {group}, its {measure} is not shown to go with {' or '.join(names)}."
    )


def say_coverage(splits, predictions, pair):
    """Return the finding on participants that were not tested.

    Parameters
    ----------
    splits, predictions : pandas.DataFrame
    pair : (str, str)
        Model and map.

    Returns
    -------
    Finding or None
        None where all were tested.
    """
    keys = ["repeat", "fold", "participant_id"]
    planned = splits.loc[splits["part"] == "test", keys].drop_duplicates()
    rows = predictions[(predictions["model"] == pair[0]) & (predictions["map"] == pair[1])]
    tested = rows.loc[rows["part"] == "test", keys].drop_duplicates()
    missing = len(planned) - len(planned.merge(tested, on=keys))
    if not missing:
        return None
    return Finding(
        "caution",
        f"{missing} of {len(planned)} planned tests are missing; every number of it describes "
        "the others only. Fit the folds that are left.",
    )


def say_participants(cohort, excluded):
    """Return the finding on the participants, and the number left out.

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
    ending = f"{out} left out, each with its reason below" if out else "no one left out"
    return Finding("plain", f"{text}; {ending}.")


def _say_ages(ages):
    """Return text on the age range of participants, and the number of unknown ages."""
    known_ages = ages.dropna()
    unknown = len(ages) - len(known_ages)
    text = (
        f", {known_ages.min():.0f} to {known_ages.max():.0f} years old" if len(known_ages) else ""
    )
    return text + (f", age in years unknown of {unknown}" if unknown else "")


def _say_related(cohort, resemblance):
    """Return the finding on participants that may be related, or None."""
    sentence = say_relatives(cohort, resemblance)
    return Finding("caution", sentence) if sentence else None


def say_unused(splits):
    """Return the finding on participants that were not used in a fold.

    Parameters
    ----------
    splits : pandas.DataFrame

    Returns
    -------
    Finding or None
        None where all were used in every fold.
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
    """Return the finding on whether brain size alone explains the scores.

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
    """Return the verdict on each model and map compared with a baseline.

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
