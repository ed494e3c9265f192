"""Say in plain sentences what the tables of a study of age allow to say, and no more."""

from bids_sexclf.report import findings as say
from bids_sexclf.report.findings import Finding
from bids_sexclf.report.words import GLUE, equate_p, say_interval, say_number

BASELINES = say.BASELINES | {
    "median_age": "the median age of the training part",
    "shuffled": "a network trained on ages dealt at random",
}


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
    scores, compared = tables["scores"], tables["comparisons"]
    pairs, level = say.list_judged(scores, study), study.interval_level
    dealt = scores[(scores["score"] == "mae") & (scores["model"] == "shuffled")]
    checks = [say.say_shuffled(row, row["map"], level, len(dealt)) for _, row in dealt.iterrows()]
    networks = {pair: say.safely_all(say_model, pair, tables, level) for pair in pairs}
    return say.lay_out(say.safely(say_headline, pairs, compared), tables, checks, networks)


def say_headline(pairs, compared):
    """Say in one sentence what the whole study shows.

    Parameters
    ----------
    pairs : list of (str, str)
        Models and maps that are judged.
    compared : pandas.DataFrame
        Comparisons.

    Returns
    -------
    Finding
    """
    verdicts = say.verdicts_against(compared, "median_age")
    if not any(pair in verdicts for pair in pairs):
        return Finding("caution", "No model of age was held against the median age.")
    hits = [pair for pair in pairs if verdicts.get(pair) == "above"]
    if not hits:
        return Finding("caution", "No model is shown to tell age better than the median age does.")
    some = "The model tells" if len(pairs) == 1 else f"{len(hits)} of {len(pairs)} models tell"
    start = f"{some} age better than the median age of the training part does"
    return say.say_beyond_size(start, hits, compared)


def say_model(pair, tables, level):
    """Say everything about one model and map.

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
    mine = say.take(tables, pair, ["scores", "comparisons", "confounds"])
    findings = [say.say_coverage(tables["splits"], tables["predictions"], pair)]
    rows = mine["scores"].set_index("score")
    if "mae" in rows.index:
        error, explained = rows.loc["mae"], rows.loc["r2"]
        findings.append(
            Finding(
                "plain",
                f"It errs by {say_number(error['estimate'])} years on average "
                f"({say_interval(error, level)}; n{GLUE}={GLUE}{int(error['n'])}, permutation "
                f"{equate_p(error['p'])}) and explains {say_number(explained['estimate'])} of the "
                f"variance of age ({say_interval(explained, level)}).",
            )
        )
    findings += [say_against(row, level) for _, row in mine["comparisons"].iterrows()]
    if "age_bias" in rows.index:
        findings.append(say_lean(rows.loc["age_bias"], level))
    alike = "people of one sex and like age"
    findings.append(say.say_confounds(mine["confounds"], alike, "error"))
    return [finding for finding in findings if finding]


def say_against(row, level):
    """Say how a model does against a baseline.

    Parameters
    ----------
    row : pandas.Series
        Of comparisons.
    level : float

    Returns
    -------
    Finding
    """
    baseline = BASELINES.get(row["baseline"], f"the baseline {row['baseline']}")
    numbers = (
        f"difference of mean errors {say_number(row['difference'])} years, "
        f"{say_interval(row, level)}, {equate_p(row['p'])}"
    )
    told = {
        "above": ("good", "It errs less than"),
        "not above": ("caution", "It is not shown to err less than"),
        "below": ("caution", "It errs more than"),
    }
    if row["verdict"] not in told:
        return Finding("caution", f"Too few participants to hold it against {baseline}.")
    tone, words = told[row["verdict"]]
    return Finding(tone, f"{words} {baseline} ({numbers}).")


def say_lean(row, level):
    """Say how the error leans with age.

    Parameters
    ----------
    row : pandas.Series
        The score ``age_bias``.
    level : float

    Returns
    -------
    Finding
    """
    numbers = f"{say_number(row['estimate'])} years per year of age, {say_interval(row, level)}"
    if row["ci_high"] < 0:
        return Finding(
            "caution",
            f"It takes the young for older and the old for younger than they are ({numbers}): do "
            "not read its error as a property of a brain without correcting for age.",
        )
    if row["ci_low"] > 0:
        return Finding("caution", f"It exaggerates age at both ends ({numbers}).")
    return Finding("plain", f"Its error is not shown to lean with age ({numbers}).")
