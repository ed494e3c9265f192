"""Say in plain sentences what the tables of a study allow to say, and no more."""

from dataclasses import dataclass

from bids_sexclf.figures import label_region
from bids_sexclf.group._words import GLUE, equate_p, say_interval, say_number

CHANCE_P = 0.05
"""Below this p-value a result is called more than chance, in words as in the figures."""
ALARM_P = 0.01
"""Below this one, what a model of shuffled labels scores is called leakage."""

BASELINES = {
    "brain_size": "brain size alone",
    "age_only": "age alone",
    "site_only": "site alone",
    "motion_only": "head motion alone",
    "shuffled": "a network trained on shuffled labels",
}
COVARIATES = {
    "brain_volume_ml": "brain volume",
    "age_years": "age",
    "motion_mm": "head motion",
    "registration_agreement": "quality of registration",
    "snr": "signal-to-noise ratio",
}


@dataclass(frozen=True)
class Finding:
    """One sentence, and how it should strike the reader.

    Attributes
    ----------
    tone : {"good", "plain", "caution", "alarm"}
    text : str
    """

    tone: str
    text: str


def find_score(scores, pair):
    """Find the AUC of a model and map over the test participants.

    Parameters
    ----------
    scores : pandas.DataFrame
    pair : (str, str)
        Model and map.

    Returns
    -------
    pandas.Series or None
        None where it is absent.
    """
    rows = scores[
        (scores["model"] == pair[0])
        & (scores["map"] == pair[1])
        & (scores["score"] == "auc")
        & (scores["part"] == "test")
    ]
    return rows.iloc[0] if len(rows) else None


def beats_chance(score, compared):
    """Tell whether a model scores above chance.

    Parameters
    ----------
    score : pandas.Series or None
        Its AUC, a row of scores.
    compared : pandas.DataFrame
        Its rows of comparisons; a verdict of chance there settles it.

    Returns
    -------
    bool or None
        None where the tables cannot tell.
    """
    if (compared["verdict"] == "chance").any():
        return False
    if score is None or score["p"] != score["p"] or score["estimate"] != score["estimate"]:
        return None
    return bool(score["p"] < CHANCE_P)


def say_discrimination(score, above, level):
    """Say whether a network tells the sexes apart.

    Parameters
    ----------
    score : pandas.Series or None
        Its AUC, a row of scores.
    above : bool or None
        From :func:`beats_chance`.
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    Finding
    """
    if score is None:
        return Finding("caution", "It has no score: no test participant was predicted.")
    numbers = (
        f"AUC {say_number(score['estimate'])} ({say_interval(score, level)}), "
        f"n{GLUE}={GLUE}{int(score['n'])}, permutation {equate_p(score['p'])}"
    )
    if above is None:
        return Finding(
            "caution", f"Too few participants to say whether it beats chance: {numbers}."
        )
    if above:
        return Finding("good", f"It tells the sexes apart better than chance: {numbers}.")
    return Finding(
        "caution",
        f"It is at chance: {numbers}. It is not shown to tell the sexes apart, so nothing else "
        "may be concluded from it.",
    )


def say_against(row, level):
    """Say how a network does against a baseline.

    Parameters
    ----------
    row : pandas.Series
        Of comparisons.
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    Finding
    """
    baseline = BASELINES.get(row["baseline"], f"the baseline {row['baseline']}")
    numbers = (
        f"AUC difference {say_number(row['difference'])}, {say_interval(row, level)}, "
        f"{equate_p(row['p'])}"
    )
    if row["verdict"] == "above":
        return Finding("good", f"It does better than {baseline} ({numbers}).")
    if row["verdict"] == "chance":
        return Finding("plain", f"At chance itself, it cannot be held against {baseline}.")
    if row["verdict"] not in ("not above", "below"):
        return Finding("caution", f"Too few participants to hold it against {baseline}.")
    if row["baseline"] == "shuffled":
        return Finding(
            "caution",
            f"It is not shown to beat {baseline}, which can know nothing ({numbers}): do not rely "
            "on its score.",
        )
    named = f"{baseline[0].upper()}{baseline[1:]}"
    if row["verdict"] == "below":
        told = f"{named} explains this score, and more: the network does worse"
    else:
        told = f"{named} may explain this score: the network is not shown to do better than it"
    return Finding("caution", f"{told} ({numbers}).")


def say_brain_size(scores, comparisons, level):
    """Say what brain size alone tells, where no network is shown to tell more.

    Parameters
    ----------
    scores, comparisons : pandas.DataFrame
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    Finding or None
        None where brain size is no better than chance, or a network is better than it.
    """
    score = find_score(scores, ("brain_size", "table"))
    held = comparisons[comparisons["baseline"] == "brain_size"]
    if score is None or not score["p"] < CHANCE_P or (held["verdict"] == "above").any():
        return None
    return Finding(
        "caution",
        f"Brain size alone may explain what is found here: it tells the sexes apart with AUC "
        f"{say_number(score['estimate'])} ({say_interval(score, level)}), and no network is shown "
        "to do better.",
    )


def say_shuffled(score, which, level, checks=1):
    """Say whether a model that can know nothing scores chance, as it should.

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


def say_confounds(rows):
    """Say what the evidence of a network goes with among people of one sex.

    Parameters
    ----------
    rows : pandas.DataFrame
        Its rows of confounds.

    Returns
    -------
    Finding or None
        None where nothing was tested.
    """
    rows = rows[(rows["sex"] == "both") & rows["p"].notna()]
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
            f"Among people of one sex, its evidence goes with {', '.join(told)}: part of what it "
            "uses may be that.",
        )
    names = [COVARIATES.get(name, name) for name in rows["covariate"]]
    return Finding(
        "plain",
        f"Among people of one sex, its evidence is not shown to go with {' or '.join(names)}.",
    )


def say_regions(rows, level):
    """Say how many regions are shown to matter, and which is the strongest.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of regions of one model, map, method, fill and atlas.
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    Finding
    """
    order = ["p_holm", "mean", "effect_size"]
    top = rows.sort_values(order, ascending=[True, False, False], kind="stable").iloc[0]
    n, sure = len(rows), int((rows["p_holm"] < CHANCE_P).sum())
    loose = int((rows["p"] < CHANCE_P).sum())
    change = "lowers" if top["mean"] >= 0 else "raises"
    strongest = (
        f"{label_region(top['name'], top['hemisphere'])}: hiding it {change} the probability of "
        f"the correct sex by {say_number(abs(top['mean']), 3)} ({say_interval(top, level, 3)}; "
        f"effect size {say_number(top['effect_size'])}, "
        f"{equate_p(top['p_holm'], 'Holm-corrected p')})"
    )
    expected = say_number(CHANCE_P * n, 1)
    uncorrected = (
        f"Without correction, p{GLUE}<{GLUE}{CHANCE_P:g} would have named {loose}, where "
        f"{expected} are expected by chance alone."
    )
    method, fill = (top[key].replace("_", " ") for key in ("method", "fill"))
    where = f"{n} regions of {top['atlas']} ({method}, filled with {fill})"
    if sure:
        count = f"{sure} of {where} {'survives' if sure == 1 else 'survive'} Holm's correction."
        return Finding("good", f"{count} The strongest is {strongest}. {uncorrected}")
    return Finding(
        "plain",
        f"None of {where} survives Holm's correction: no region is shown to matter. The nearest "
        f"is {strongest}. {uncorrected}",
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
        ages = people["age_years"]
        text += f", {ages.min():.0f} to {ages.max():.0f} years old"
    out = excluded["participant_id"].nunique()
    left = f"{out} left out, each with its reason below" if out else "no one left out"
    return Finding("plain", f"{text}; {left}.")


def say_unused(splits):
    """Say how many took no part in a fold.

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


def say_headline(pairs, above, comparisons):
    """Say in one sentence what the whole study shows.

    Parameters
    ----------
    pairs : list of (str, str)
        Models and maps that are judged.
    above : dict
        Pair to True, False or None, from :func:`beats_chance`.
    comparisons : pandas.DataFrame

    Returns
    -------
    Finding
    """
    if not pairs:
        return Finding("caution", "No model was fitted: there is nothing to report but baselines.")
    hits = [pair for pair in pairs if above[pair]]
    total = "The network" if len(pairs) == 1 else f"{len(hits)} of {len(pairs)} models"
    if not hits:
        none = "The network is" if len(pairs) == 1 else f"None of {len(pairs)} models is"
        negated = " not" if len(pairs) == 1 else ""
        return Finding("caution", f"{none}{negated} shown to tell female from male brains.")
    verb = "tells" if len(hits) == 1 else "tell"
    start = f"{total} {verb} female from male brains better than chance"
    return say_beyond_size(start, hits, comparisons)


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
        return Finding("caution", f"{start}; whether brain size alone explains it was not asked.")
    if beyond == len(hits):
        return Finding("good", f"{start}, and better than brain size alone.")
    if not beyond:
        return Finding("caution", f"{start}, but not shown to be better than brain size alone.")
    return Finding("plain", f"{start}; {beyond} of them better than brain size alone.")


def verdicts_against(comparisons, baseline):
    """Give the verdict of each model and map held against a baseline.

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


def say_network(pair, tables, level):
    """Say everything about one network and map.

    Parameters
    ----------
    pair : (str, str)
        Model and map.
    tables : dict
        Table name to ``pandas.DataFrame``.
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    list of Finding
    """
    mine = {
        name: frame[(frame["model"] == pair[0]) & (frame["map"] == pair[1])]
        for name, frame in tables.items()
        if name in ("comparisons", "confounds", "regions")
    }
    score = find_score(tables["scores"], pair)
    compared = mine["comparisons"][mine["comparisons"]["score"] == "auc"]
    above = beats_chance(score, compared)
    findings = [
        say_coverage(tables["splits"], tables["predictions"], pair),
        say_discrimination(score, above, level),
    ]
    if above is not False:
        findings += [say_against(row, level) for _, row in compared.iterrows()]
        findings.append(say_confounds(mine["confounds"]))
    for _, rows in mine["regions"].groupby(["method", "fill", "atlas"], sort=False):
        finding = say_regions(rows, level)
        if above is False:
            warning = "Since the network is at chance, its regions mean nothing: "
            finding = Finding("caution", warning + finding.text[0].lower() + finding.text[1:])
        findings.append(finding)
    return [finding for finding in findings if finding]
