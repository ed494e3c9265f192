"""Findings on attribution maps: whether they depend on the model, and how far they agree."""

from bids_sexclf.words import GLUE, Finding, say_list, say_number

CONTROLS = {
    "untrained": "an untrained network",
    "labels": "a network trained on shuffled labels",
    "edges": "an edge filter",
}
"""Checks with a verdict, and whose maps they compare with."""


def name_method(row):
    """Name a method and its fill within a sentence.

    Parameters
    ----------
    row : pandas.Series
        With ``method`` and ``fill``.

    Returns
    -------
    str

    Examples
    --------
    >>> name_method({"method": "region_occlusion", "fill": "donors"})
    'region occlusion, filled with donors'
    """
    filled = f", filled with {row['fill']}" if isinstance(row["fill"], str) else ""
    return f"{row['method']}{filled}".replace("_", " ")


def say_trust(rows):
    """Return the findings on how far the maps of one model may be trusted.

    Parameters
    ----------
    rows : dict
        ``agreement``, ``sanity`` and ``audit``: rows of one model and map.

    Returns
    -------
    list of Finding or None
    """
    sentences, keys = say_agreement(rows["agreement"]), ["method", "fill", "atlas"]
    for name, say in (("sanity", say_sanity), ("audit", say_audit)):
        groups = rows[name].groupby(keys, sort=False, dropna=False)
        sentences += [say(group) for _, group in groups]
    return sentences


def say_sanity(rows):
    """Return the finding on whether the maps of one method explain one model.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of the table ``sanity`` of one model, map, method, fill and atlas.

    Returns
    -------
    Finding or None
        None where no check has a verdict.
    """
    judged = rows[rows["verdict"].notna()]
    if judged.empty:
        return None
    who = name_method(rows.iloc[0])
    failed = judged[judged["verdict"] == "fails"]
    if len(failed):
        alike = say_list([_say_control(row) for _, row in failed.iterrows()])
        return Finding(
            "caution",
            f"Maps by {who} do not explain this model: much the same come from {alike}. They show "
            "what volumes look like, and not what the model has learnt.",
        )
    alike = say_list([_say_control(row) for _, row in judged.iterrows()])
    return Finding(
        "plain", f"Maps by {who} depend on what the model has learnt: other maps come from {alike}."
    )


def _say_control(row):
    """Name a control and its largest correlation."""
    rho = max(value for value in (row["rho"], row["rho_magnitude"]) if value == value)
    return f"{CONTROLS[row['check']]} (rank correlation{GLUE}{say_number(rho)})"


def say_agreement(rows):
    """Return the findings on how far the maps of the folds of one model agree, by region.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of the table ``agreement`` of one model and map.

    Returns
    -------
    list of Finding
        One for each method and fill.
    """
    rows = rows[(rows["compared"] == "folds") & (rows["level"] == "region") & rows["rho"].notna()]
    return [
        Finding(
            "plain",
            f"Between folds, maps by {name_method(row)} agree with a rank correlation "
            f"of{GLUE}{say_number(row['rho'])}, and their top regions with a Dice coefficient "
            f"of{GLUE}{say_number(row['dice'])} (by chance about "
            f"{say_number(row['top_share'])}).",
        )
        for _, row in rows.iterrows()
    ]


def say_audit(rows):
    """Return the finding on whether a method finds known sources in the scans of the study.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of the table ``audit`` of one model, map, method, fill and atlas.

    Returns
    -------
    Finding
    """
    who, learnt = name_method(rows.iloc[0]), rows[rows["verdict"].notna()]
    asked = f"the mean of {len(rows)} single regions" if len(rows) > 1 else "one region's mean"
    if learnt.empty:
        return Finding(
            "caution",
            f"Whether {who} finds a known source cannot be said: trained to tell {asked}, this "
            "design learnt none of them.",
        )
    n_found = int((learnt["verdict"] == "found").sum())
    lift = say_number(learnt["lift"].median(), 1)
    text = (
        f"Known sources: trained to tell {asked}, this design learnt {len(learnt)}, and {who} "
        f"ranked the right region first in {n_found} of these, with {lift} times the weight that "
        "its size alone gives (median)."
    )
    if n_found > len(learnt) / 2:
        return Finding("plain", text)
    return Finding("caution", f"{text} Do not read its maps as places that this model uses.")


def say_looks(looks):
    """Return the finding on how many sets of choices were looked at.

    Parameters
    ----------
    looks : pandas.DataFrame
        The table ``looked_at``.

    Returns
    -------
    Finding or None
        None where there was one set of choices, or none was noted.
    """
    sets = looks.drop(columns=["look", "stage"]).drop_duplicates()
    if len(sets) < 2:
        return None
    return Finding(
        "caution",
        f"Results were looked at with {len(sets)} sets of choices in this study folder (listed "
        "below). No p-value is corrected for having tried several.",
    )
