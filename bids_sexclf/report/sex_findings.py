"""Say in plain sentences what the tables of a study of sex allow to say, and no more."""

from bids_sexclf.figures import label_region
from bids_sexclf.report import claims
from bids_sexclf.report import findings as say
from bids_sexclf.report.findings import BASELINES, CHANCE_P, Finding
from bids_sexclf.report.words import GLUE, equate_p, say_interval, say_number
from bids_sexclf.stats.regional import LEVEL, find_strongest, is_named

CONFOUNDS = ("brain_size", "age_only", "site_only", "motion_only")
"""Baselines that evidence is held against by what it adds: differences of AUC say little."""


def gather(tables, study):
    """Gather the sentences of the box on top, in their order.

    Parameters
    ----------
    tables : dict
        Table name to ``pandas.DataFrame``.
    study : bids_sexclf.settings.Study

    Returns
    -------
    dict
        As :func:`findings.lay_out` gives it.
    """
    scores, added = tables["scores"], tables["added"]
    pairs = say.list_judged(scores, study)
    found = say.lay_out(
        say.safely(say_headline, pairs, _stand(pairs, tables), added),
        tables,
        say.safely_all(_check_shuffled, scores, study.interval_level),
        {pair: say.safely_all(say_network, pair, tables, study) for pair in pairs},
        say.safely(say_brain_size, scores, added, study),
    )
    differ = say.safely_all(claims.say_differences, tables["differences"], study.interval_level)
    return found | {"study": [*found["study"], *(differ if isinstance(differ, list) else [differ])]}


def _stand(pairs, tables):
    """Tell which models are above chance, corrected over all that are judged."""
    above = {pair: _is_above(pair, tables) for pair in pairs}
    scores = {pair: find_score(tables["scores"], pair) for pair in pairs}
    known = {pair: score["p"] for pair, score in scores.items() if above[pair] is not None}
    stands = claims.correct(known)
    return {pair: above[pair] and stands[pair] for pair in pairs}


def _check_shuffled(scores, level):
    """Say of each model of shuffled labels whether it scores chance."""
    found = dict.fromkeys(zip(scores["model"], scores["map"], strict=True))
    pairs = [pair for pair in found if pair[0] == "shuffled"]
    if not pairs:
        return [say.say_shuffled(None, "any map", level)]
    return [
        say.say_shuffled(find_score(scores, pair), pair[1], level, len(pairs)) for pair in pairs
    ]


def _is_above(pair, tables):
    rows = say.take(tables, pair, ["comparisons"])["comparisons"]
    return beats_chance(find_score(tables["scores"], pair), rows[rows["score"] == "auc"])


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


def say_headline(pairs, above, added):
    """Say in one sentence what the whole study shows.

    Parameters
    ----------
    pairs : list of (str, str)
        Models and maps that are judged.
    above : dict
        Pair to True, False or None: whether it is above chance, corrected over all pairs.
    added : pandas.DataFrame
        What evidence adds to confounds.

    Returns
    -------
    Finding
    """
    if not pairs:
        return Finding("caution", "No model was fitted: no model can be judged.")
    hits = [pair for pair in pairs if above[pair]]
    total = "The network" if len(pairs) == 1 else f"{len(hits)} of {len(pairs)} models"
    if not hits:
        none = "The network is" if len(pairs) == 1 else f"None of {len(pairs)} models is"
        negated = " not" if len(pairs) == 1 else ""
        return Finding("caution", f"{none}{negated} shown to tell female from male brains.")
    verb = "tells" if len(hits) == 1 else "tell"
    start = f"{total} {verb} female from male brains better than chance"
    adds = claims.adds_to_size(added, pairs)
    asked = [pair for pair in hits if pair in adds]
    if not asked:
        return Finding("caution", f"{start}; whether that adds to brain size could not be tested.")
    some = sum(bool(adds[pair]) for pair in asked)
    size = "what brain size alone tells"
    if not some:
        return Finding("caution", f"{start}, but not shown to add to {size}.")
    if some == len(hits):
        return Finding("good", f"{start}, and {'add' if some > 1 else 'adds'} to {size}.")
    return Finding("plain", f"{start}; {some} of them {'add' if some > 1 else 'adds'} to {size}.")


def say_network(pair, tables, study):
    """Say everything about one network and map.

    Parameters
    ----------
    pair : (str, str)
        Model and map.
    tables : dict
        Table name to ``pandas.DataFrame``.
    study : bids_sexclf.settings.Study

    Returns
    -------
    list of Finding
    """
    mine = say.take(tables, pair, ["comparisons", "added", "confounds", "regions"])
    mine["regions"] = mine["regions"].query("n_participants > 0")
    level = study.interval_level
    score = find_score(tables["scores"], pair)
    compared = mine["comparisons"][mine["comparisons"]["score"] == "auc"]
    above = beats_chance(score, compared)
    findings = [
        say.say_coverage(tables["splits"], tables["predictions"], pair),
        say_discrimination(score, above, level),
    ]
    if above is not False:
        others = compared[~compared["baseline"].isin(CONFOUNDS)]
        findings += claims.say_added(mine["added"])
        findings += [say_against(row, study) for _, row in others.iterrows()]
        findings.append(say.say_confounds(mine["confounds"]))
    for _, rows in mine["regions"].groupby(["method", "fill", "atlas"], sort=False, dropna=False):
        finding = say_regions(rows, level)
        if above is False:
            warning = "Since the network is at chance, its regions mean nothing: "
            finding = Finding("caution", warning + finding.text[0].lower() + finding.text[1:])
        findings.append(finding)
    return [finding for finding in findings if finding]


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


def say_against(row, study):
    """Say how a network does against a baseline.

    Parameters
    ----------
    row : pandas.Series
        Of comparisons.
    study : bids_sexclf.settings.Study

    Returns
    -------
    Finding
    """
    baseline = BASELINES.get(row["baseline"], f"the baseline {row['baseline']}")
    interval = say_interval(row, study.interval_level)
    numbers = f"AUC difference {say_number(row['difference'])}, {interval}, {equate_p(row['p'])}"
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
    what = "does worse than" if row["verdict"] == "below" else "is not shown to do better than"
    return Finding("caution", f"It {what} {baseline} ({numbers}).")


def say_brain_size(scores, added, study):
    """Say what brain size alone tells, where no network is shown to add to it.

    Parameters
    ----------
    scores, added : pandas.DataFrame
    study : bids_sexclf.settings.Study

    Returns
    -------
    Finding or None
        None where brain size is no better than chance, or a network adds to it.
    """
    score = find_score(scores, ("brain_size", "table"))
    if score is None or not score["p"] < CHANCE_P:
        return None
    if any(claims.adds_to_size(added, say.list_judged(scores, study)).values()):
        return None
    return Finding(
        "caution",
        f"Brain size alone tells the sexes apart with AUC {say_number(score['estimate'])} "
        f"({say_interval(score, study.interval_level)}), and no network is shown to add to it."
        f"{advise_on_size(study)}",
    )


def advise_on_size(study):
    """Say which study would tell more where no network adds to brain size.

    Parameters
    ----------
    study : bids_sexclf.settings.Study
        Nothing that it does already is advised.

    Returns
    -------
    str
        A sentence that begins with a space, or nothing.

    Examples
    --------
    >>> from bids_sexclf.settings import Study
    >>> advise_on_size(Study(match="brain_size", residualize=["age"]))
    ' A study with residualize = ["age", "brain_size"] tells more.'
    """
    ways = [] if study.match == "brain_size" else ['match = "brain_size"']
    if "brain_size" not in study.residualize:
        names = ", ".join(f'"{name}"' for name in (*study.residualize, "brain_size"))
        ways.append(f"residualize = [{names}]")
    return f" A study with {' or '.join(ways)} tells more." if ways else ""


def say_regions(rows, level):
    """Say which regions a model leans on, or what the published rule would have named.

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
    if rows["p_fwe"].isna().all():
        return _say_without_claim(rows)
    top = find_strongest(rows)
    n, named = len(rows), int(is_named(rows).sum())
    change = "lowers" if top["mean"] >= 0 else "raises"
    strongest = (
        f"{label_region(top['name'], top['hemisphere'])}: hiding it {change} the probability of "
        f"the correct sex by {say_number(abs(top['mean']), 3)} ({say_interval(top, level, 3)}; "
        f"effect size {say_number(top['effect_size'])}, "
        f"{equate_p(top['p_fwe'], 'family-wise p')})"
    )
    where = f"{n} regions of {top['atlas']} ({_say_how(top)})"
    if named:
        text = f"It leans on {named} of {where}. The strongest is {strongest}."
        return Finding("good", text)
    return Finding(
        "plain",
        f"It is not shown to lean on any of {where}. The nearest is {strongest}.",
    )


def _say_how(row):
    """Say by which method and fill regions were hidden."""
    filled = f", filled with {row['fill']}" if isinstance(row["fill"], str) else ""
    return f"{row['method']}{filled}".replace("_", " ")


def _say_without_claim(rows):
    """Say what rows show that carry no claim: the published rule, and other fills and methods."""
    first = rows.iloc[0]
    where = f"{len(rows)} regions of {first['atlas']}"
    if first["fill"] != "white_matter_mean":
        return Finding(
            "plain", f"No claim rests on {_say_how(first)} ({where}): its numbers are in the table."
        )
    named = int((rows["p_wilcoxon"] < LEVEL).sum())
    return Finding(
        "plain",
        f"Published rule (mean white matter put in, Wilcoxon test, no correction): it names "
        f"{named} of {where}, where {say_number(LEVEL * len(rows), 1)} are expected by chance "
        "alone. No claim rests on it, since this fill looks like no region but white matter.",
    )
