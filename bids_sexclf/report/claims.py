"""Claims: regions that differ between the sexes, regions that a model leans on, and added value.

There are two kinds of claims about regions. A region differs by a test without a model
(differences.tsv); a model leans on a region if hiding it reduces the evidence (regions.tsv). Both
use only `p_fwe`.
"""

from bids_sexclf.words import (
    CHANCE_P,
    GLUE,
    Finding,
    equate_p,
    label_region,
    say_interval,
    say_list,
    say_number,
)

BOTH = "differs, and is used"
DIFFERS = "differs; not shown to be used"
USED = "used; not shown to differ"
NEITHER = "not shown to differ or to be used"
UNASKED = "differs; no model was asked"
NOT_ASKED = "not shown to differ; no model was asked"
UNTESTED = "could not be tested"

NAMES = {
    "brain_volume_ml": "brain size",
    "age_years": "age",
    "motion_mm": "head motion",
    "site": "site",
}


def name_confounds(names):
    """Return the names of confounds that a table joins by '+', as text.

    Parameters
    ----------
    names : str

    Returns
    -------
    str

    Examples
    --------
    >>> name_confounds("brain_volume_ml+age_years"), name_confounds("site")
    ('brain size and age together', 'site')
    """
    words = [NAMES.get(name, name) for name in names.split("+")]
    return say_list(words) + (" together" if len(words) > 1 else "")


def split_blocks(differences):
    """Split the rows into those without adjustment (except sites) and those with confounds.

    Parameters
    ----------
    differences : pandas.DataFrame

    Returns
    -------
    plain, adjusted : pandas.DataFrame
    """
    plain = differences["adjusted_for"].isin(["nothing", "site"])
    return differences[plain], differences[~plain]


def judge_regions(differences, regions):
    """Return the verdict on every region of every map: whether it differs, and is used.

    Parameters
    ----------
    differences, regions : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        map, atlas, region, name, hemisphere, d, ci_low, ci_high, p_fwe, d_adjusted,
        p_fwe_adjusted, used_by (models, or None), verdict.
    """
    keys = ["map", "atlas", "region", "name", "hemisphere"]
    plain, adjusted = split_blocks(differences)
    table = plain[[*keys, "d", "ci_low", "ci_high", "p_fwe"]]
    adjusted_columns = adjusted[[*keys, "d", "p_fwe"]]
    table = table.merge(adjusted_columns, on=keys, how="left", suffixes=("", "_adjusted"))
    testable = regions[regions["p_fwe"].notna()]
    named = testable[testable["p_fwe"] <= CHANCE_P]
    users = {
        key: ", ".join(dict.fromkeys(rows["model"]))
        for key, rows in named.groupby(["map", "region"], sort=False)
    }
    judged_keys = set(zip(testable["map"], testable["region"], strict=True))
    keys = list(zip(table["map"], table["region"], strict=True))
    verdicts = [
        _judge(p, key in judged_keys, key in users)
        for p, key in zip(table["p_fwe"], keys, strict=True)
    ]
    return table.assign(used_by=[users.get(key) for key in keys], verdict=verdicts)


def _judge(p, judged, used):
    if p != p:
        return USED if used else UNTESTED
    differs = p <= CHANCE_P
    if not judged:
        return UNASKED if differs else NOT_ASKED
    return (BOTH if used else DIFFERS) if differs else (USED if used else NEITHER)


def say_differences(differences, level):
    """Return findings on regions that differ, by map, before and after adjustment.

    Parameters
    ----------
    differences : pandas.DataFrame
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    list of Finding
    """
    findings = []
    for (map_name, atlas), rows in differences.groupby(["map", "atlas"], sort=False):
        plain, adjusted = split_blocks(rows)
        findings.append(_say_map(map_name, atlas, plain, adjusted, level))
    return findings


def _say_map(map_name, atlas, plain, adjusted, level):
    of_table = map_name == "features"  # columns of a table are compared, and no map
    noun, where = ("feature", "") if of_table else ("region", f" on {map_name}")
    tested = plain[plain["p_fwe"].notna()]
    if tested.empty:
        reasons = plain["reason"].dropna().unique()
        return Finding(
            "caution",
            f"No {noun} of {atlas} could be compared{where}: {'; '.join(reasons[:2])}.",
        )
    sure = tested[tested["p_fwe"] <= CHANCE_P]
    verb = "differs" if len(sure) == 1 else "differ"
    count = f"{len(sure)} of {len(tested)} {noun}s of {atlas}"
    start = f"{count} {verb} between the sexes{where}"
    if sure.empty:
        start = f"No {noun} of {atlas} is shown to differ between the sexes{where}"
        nearest = tested.loc[tested["p_fwe"].idxmin()]
        return Finding("plain", f"{start}; the nearest is {_say_region(nearest, level)}.")
    top = sure.sort_values(["p_fwe", "statistic"], ascending=[True, False]).iloc[0]
    text = f"{start}, first {_say_region(top, level)}. This rests on no model."
    testable = adjusted[adjusted["p_fwe"].notna()]
    if testable.empty:
        return Finding("caution", f"{text} Brain size, age and motion could not be adjusted for.")
    named = name_confounds(testable["adjusted_for"].iloc[0])
    keys = ["region", "name", "hemisphere"]  # tables that tell regions by name have no index
    survivors = testable[testable["p_fwe"] <= CHANCE_P].merge(sure[keys], on=keys)
    count = f"{len(survivors) or 'None'} of them {'are' if len(survivors) > 1 else 'is'}"
    text = f"{text} {count} shown to differ beyond {named}."
    return Finding("good" if len(survivors) else "caution", text)


def _say_region(row, level):
    effect = ""
    if row["d"] == row["d"]:
        effect = f"d{GLUE}={GLUE}{say_number(row['d'])}, {say_interval(row, level)}; "
    name = label_region(row["name"], row["hemisphere"])
    return f"{name} ({effect}{equate_p(row['p_fwe'], 'family-wise p')})"


def say_added(rows, target_noun):
    """Return findings on what the evidence of a model adds to confounds.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of one model and map, of the table ``added``.
    target_noun : str
        What is told, e.g. ``"sex"``.

    Returns
    -------
    list of Finding
    """
    return [_say_one(row, target_noun) for _, row in rows.iterrows()]


def _say_one(row, target_noun):
    named = name_confounds(row["confounds"])
    tell = "tell" if "+" in row["confounds"] else "tells"
    if row["verdict"] == "adds":
        return Finding(
            "good", f"It adds to what {named} {tell} of {target_noun} ({equate_p(row['p'])})."
        )
    if row["verdict"] == "not shown to add":
        return Finding(
            "caution",
            f"It is not shown to add to what {named} {tell} of {target_noun} "
            f"({equate_p(row['p'])}).",
        )
    reason = row["reason"] if isinstance(row["reason"], str) else "no test was made"
    return Finding("caution", f"Whether it adds to {named} cannot be said: {reason}.")


def adds_to_size(added, pairs):
    """Return which models add to brain size, corrected over all judged models.

    Parameters
    ----------
    added : pandas.DataFrame
    pairs : list of (str, str)
        Models and maps that are judged.

    Returns
    -------
    dict
        Pair to True or False; models without a test are left out.
    """
    rows = added[(added["confounds"] == "brain_volume_ml") & added["p"].notna()]
    p = {(row["model"], row["map"]): row["p"] for _, row in rows.iterrows()}
    return correct({pair: p[pair] for pair in pairs if pair in p})


def correct(p_values):
    """Return which of several tests are significant after Holm's correction.

    Parameters
    ----------
    p_values : dict
        Any key to p, in [0, 1].

    Returns
    -------
    dict
        The same keys to True or False.
    """
    from bids_sexclf.stats.multiplicity import holm

    if not p_values:
        return {}
    return dict(zip(p_values, holm(list(p_values.values())) <= CHANCE_P, strict=True))
