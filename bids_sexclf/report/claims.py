"""Say which regions differ between the sexes, which a model leans on, and what evidence adds.

Two claims are kept apart. A region differs where a test without any model says so
(differences.tsv); a model leans on a region where hiding it costs evidence (regions.tsv). Either
rests on `p_fwe` alone.
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
    """Name confounds that a table joins by '+'.

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
    """Part the rows that are adjusted for sites at most from those adjusted for confounds.

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
    """Say of every region of every map whether it differs, and which models lean on it.

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
    more = adjusted[[*keys, "d", "p_fwe"]]
    table = table.merge(more, on=keys, how="left", suffixes=("", "_adjusted"))
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
    """Say of each map which regions differ, before and after adjustment.

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
    for (which, atlas), rows in differences.groupby(["map", "atlas"], sort=False):
        plain, adjusted = split_blocks(rows)
        findings.append(_say_map(which, atlas, plain, adjusted, level))
    return findings


def _say_map(which, atlas, plain, adjusted, level):
    tested = plain[plain["p_fwe"].notna()]
    if tested.empty:
        why = plain["reason"].dropna().unique()
        return Finding(
            "caution", f"No region of {atlas} could be compared on {which}: {'; '.join(why[:2])}."
        )
    sure = tested[tested["p_fwe"] <= CHANCE_P]
    start = f"{len(sure)} of {len(tested)} regions of {atlas} differ between the sexes on {which}"
    if sure.empty:
        start = f"No region of {atlas} is shown to differ between the sexes on {which}"
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


def say_added(rows, what):
    """Say what a model's evidence adds to confounds.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of one model and map, of the table ``added``.
    what : str
        What is told, e.g. ``"sex"``.

    Returns
    -------
    list of Finding
    """
    return [_say_one(row, what) for _, row in rows.iterrows()]


def _say_one(row, what):
    named = name_confounds(row["confounds"])
    tell = "tell" if "+" in row["confounds"] else "tells"
    if row["verdict"] == "adds":
        return Finding("good", f"It adds to what {named} {tell} of {what} ({equate_p(row['p'])}).")
    if row["verdict"] == "not shown to add":
        return Finding(
            "caution",
            f"It is not shown to add to what {named} {tell} of {what} ({equate_p(row['p'])}).",
        )
    why = row["reason"] if isinstance(row["reason"], str) else "no test was made"
    return Finding("caution", f"Whether it adds to {named} cannot be said: {why}.")


def adds_to_size(added, pairs):
    """Tell which models add to brain size, corrected over all that are judged.

    Parameters
    ----------
    added : pandas.DataFrame
    pairs : list of (str, str)
        Models and maps that are judged.

    Returns
    -------
    dict
        Pair to True or False; without those that were not tested.
    """
    rows = added[(added["confounds"] == "brain_volume_ml") & added["p"].notna()]
    p = {(row["model"], row["map"]): row["p"] for _, row in rows.iterrows()}
    return correct({pair: p[pair] for pair in pairs if pair in p})


def correct(p_values):
    """Tell which of several tests stand after Holm's correction.

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
