"""Gather the findings of the report from the tables, in the words of the target."""

from bids_sexclf import targets
from bids_sexclf.report import claims, trust
from bids_sexclf.report import findings as say
from bids_sexclf.stats.regional import LEVEL, find_strongest, is_named
from bids_sexclf.words import (
    CHANCE_P,
    Finding,
    equate_p,
    label_region,
    say_interval,
    say_number,
)

NO_MAPS = (
    "Features come from tables and no image was read: no region can be hidden from a model, and "
    "regions.tsv is empty. What each feature weighs in a model stands in importances.tsv, which of "
    "them differ between the sexes in differences.tsv, and what each adds to the others in "
    "feature_groups.tsv if permutation_importance is set."
)
CONFOUNDS = ("brain_size", "age_only", "site_only", "motion_only")
"""Baselines that evidence is held against by what it adds: differences of AUC say little."""


def gather(tables, study):
    """Gather the findings of the summary box, in order.

    Parameters
    ----------
    tables : dict
        Table name to ``pandas.DataFrame``.
    study : bids_sexclf.settings.Study

    Returns
    -------
    dict
        As :func:`findings.lay_out` returns it.
    """
    pairs, target = say.list_judged(tables["scores"], study), targets.find(study.target)
    above = {pair: judge(pair, tables, target) for pair in pairs}
    stand = correct(above, tables["scores"], target)
    sentences = say.lay_out(
        say.safely(say_headline, stand, tables, target),
        tables,
        say.safely_all(_check_shuffled, tables["scores"], study, target),
        {pair: say.safely_all(say_model, pair, above[pair], tables, study) for pair in pairs},
        say.safely(say_brain_size, tables["scores"], tables["added"], study),
    )
    looks = say.safely(trust.say_looks, tables["looked_at"])
    sentences["study"] += [looks] if looks else []
    if not study.maps:
        sentences["study"].append(Finding("plain", NO_MAPS))
    if target.by_region:
        level = study.interval_level
        differ = say.safely_all(claims.say_differences, tables["differences"], level)
        sentences["study"] += differ if isinstance(differ, list) else [differ]
    return sentences


def correct(above, scores, target):
    """Return which models are better than chance, corrected over all judged models.

    Parameters
    ----------
    above : dict
        Model and map to what `judge` says.
    scores : pandas.DataFrame
    target : targets.Target

    Returns
    -------
    dict
        The same keys; for a quantity the same values, which comparisons have given.
    """
    if not target.is_classes:
        return above
    judged = [pair for pair in above if above[pair] is not None]
    p_values = {pair: select_scores(scores, pair)["p"].get(target.main_score) for pair in judged}
    stands = claims.correct({pair: p for pair, p in p_values.items() if p is not None and p == p})
    return {pair: above[pair] and stands.get(pair, False) for pair in above}


def select_scores(scores, pair):
    """Return the scores of a model and map over the test participants.

    Parameters
    ----------
    scores : pandas.DataFrame
    pair : (str, str)
        Model and map.

    Returns
    -------
    pandas.DataFrame
        Indexed by the name of the score.
    """
    rows = scores[(scores["model"] == pair[0]) & (scores["map"] == pair[1])]
    return rows[rows["part"] == "test"].drop_duplicates("score").set_index("score", drop=False)


def judge(pair, tables, target):
    """Return whether a model is better than chance.

    Parameters
    ----------
    pair : (str, str)
        Model and map.
    tables : dict
        Reads ``scores`` and ``comparisons``.
    target : targets.Target

    Returns
    -------
    bool or None
        None where the tables do not show it.
    """
    scores = select_scores(tables["scores"], pair)
    rows = say.take(tables, pair, ["comparisons"])["comparisons"]
    score = scores.loc[target.main_score] if target.main_score in scores.index else None
    return target.is_above(score, rows[rows["score"] == target.main_score])


def _check_shuffled(scores, study, target):
    """Return the findings on all models of shuffled labels."""
    pairs = dict.fromkeys(zip(scores["model"], scores["map"], strict=True))
    pairs, level = [pair for pair in pairs if pair[0] == "shuffled"], study.interval_level
    if not pairs:
        return [say.say_shuffled(None, "any map", level)]
    rows = {pair: select_scores(scores, pair) for pair in pairs}
    return [
        say.say_shuffled(
            rows[pair].loc[target.main_score] if target.main_score in rows[pair].index else None,
            pair[1],
            level,
            len(pairs),
        )
        for pair in pairs
    ]


def say_headline(above, tables, target):
    """Return the headline of the study.

    Parameters
    ----------
    above : dict
        Model and map to True, False or None, from `correct`.
    tables : dict
        Reads ``added`` for classes, ``comparisons`` for a quantity.
    target : targets.Target

    Returns
    -------
    Finding
    """
    start = target.say_hits(above)
    if isinstance(start, Finding):
        return start
    hits = [pair for pair in above if above[pair]]
    if target.is_classes:
        return _say_adds(start, hits, claims.adds_to_size(tables["added"], list(above)))
    return say.say_beyond_size(start, hits, tables["comparisons"])


def _say_adds(start, hits, adds):
    """Return the finding on whether models add to brain size."""
    tested = [pair for pair in hits if pair in adds]
    if not tested:
        return Finding("caution", f"{start}; whether that adds to brain size could not be tested.")
    n_adding, size = sum(bool(adds[pair]) for pair in tested), "what brain size alone tells"
    if not n_adding:
        return Finding("caution", f"{start}, but not shown to add to {size}.")
    if n_adding == len(hits):
        return Finding("good", f"{start}, and {'add' if n_adding > 1 else 'adds'} to {size}.")
    return Finding(
        "plain", f"{start}; {n_adding} of them {'add' if n_adding > 1 else 'adds'} to {size}."
    )


def say_model(pair, above, tables, study):
    """Return all findings on one model and map.

    Parameters
    ----------
    pair : (str, str)
        Model and map.
    above : bool or None
        Whether it knows more than nothing, from `judge`.
    tables : dict
        Table name to ``pandas.DataFrame``.
    study : bids_sexclf.settings.Study

    Returns
    -------
    list of Finding
    """
    target, level = targets.find(study.target), study.interval_level
    names = ("comparisons", "added", "confounds", "regions", "agreement", "sanity", "audit")
    rows = say.take(tables, pair, names)
    compared = rows["comparisons"][rows["comparisons"]["score"] == target.main_score]
    scores = select_scores(tables["scores"], pair)
    sentences = [
        say.say_coverage(tables["splits"], tables["predictions"], pair),
        target.say_scores(scores, above, level),
    ]
    silent = above is False and target.silent_at_chance
    if target.is_classes:
        compared = compared[~compared["baseline"].isin(CONFOUNDS)]
    if not silent:
        if target.is_classes:
            sentences += claims.say_added(rows["added"], target.noun)
        sentences += [target.say_against(row, study) for _, row in compared.iterrows()]
        sentences.append(target.say_more(scores, level))
        confounds = rows["confounds"]
        sentences.append(say.say_confounds(confounds, target.alike, target.alike_error))
    regions = rows["regions"].query("n_participants > 0")
    for _, group in regions.groupby(["method", "fill", "atlas"], sort=False, dropna=False):
        sentence = say_regions(group, level, target)
        if above is False:
            warning = "Since the network is at chance, its regions mean nothing: "
            sentence = Finding("caution", warning + sentence.text[0].lower() + sentence.text[1:])
        sentences.append(sentence)
    if above is not False:
        sentences += trust.say_trust(rows)
    return [sentence for sentence in sentences if sentence]


def say_brain_size(scores, added, study):
    """Return the finding on brain size alone, if no model is shown to add to it.

    Parameters
    ----------
    scores, added : pandas.DataFrame
    study : bids_sexclf.settings.Study

    Returns
    -------
    Finding or None
        None where brain size is not better than chance, or a model adds to it.
    """
    target = targets.find(study.target)
    rows = select_scores(scores, ("brain_size", "table"))
    adds = claims.adds_to_size(added, say.list_judged(scores, study))
    if target.main_score not in rows.index or any(adds.values()):
        return None
    score = rows.loc[target.main_score]
    return target.say_brain_size(score, study) if score["p"] < CHANCE_P else None


def say_regions(rows, level, target):
    """Return the finding on regions that a model leans on.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of regions of one model, map, method, fill and atlas.
    level : float
        Level of the intervals, in (0, 1).
    target : targets.Target

    Returns
    -------
    Finding
    """
    if rows["p_fwe"].isna().all():
        return _say_without_claim(rows)
    top = find_strongest(rows)
    n, named = len(rows), int(is_named(rows).sum())
    strongest = (
        f"{label_region(top['name'], top['hemisphere'])}: hiding it "
        f"{target.say_effect(top['mean'])} ({say_interval(top, level, 3)}; "
        f"effect size {say_number(top['effect_size'])}, "
        f"{equate_p(top['p_fwe'], 'family-wise p')})"
    )
    region_set = f"{n} regions of {top['atlas']} ({trust.name_method(top)})"
    if named:
        text = f"It leans on {named} of {region_set}. The strongest is {strongest}."
        return Finding("good", text)
    return Finding(
        "plain",
        f"It is not shown to lean on any of {region_set}. The nearest is {strongest}.",
    )


def _say_without_claim(rows):
    """Return the finding on rows that make no claim: published rule, other fills and methods."""
    first = rows.iloc[0]
    region_set = f"{len(rows)} regions of {first['atlas']}"
    if first["fill"] != "white_matter_mean":
        return Finding(
            "plain",
            f"No claim rests on {trust.name_method(first)} ({region_set}): see its numbers below.",
        )
    named = int((rows["p_wilcoxon"] < LEVEL).sum())
    return Finding(
        "plain",
        f"Published rule (mean white matter put in, Wilcoxon test, no correction): it names "
        f"{named} of {region_set}, where {say_number(LEVEL * len(rows), 1)} are expected by chance "
        "alone. No claim rests on it, since this fill looks like no region but white matter.",
    )
