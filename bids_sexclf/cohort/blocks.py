"""Families and confounds of the participants, for statistical tests."""

import numpy as np

from bids_sexclf.stats.design import dummy_columns, spline_columns
from bids_sexclf.stats.exchangeable import join_families

CONFOUNDS = ("brain_volume_ml", "age_years", "motion_mm")
"""Columns of cohort.tsv that tests are adjusted for, where they are known."""
LEAST_KNOWN = 0.9
"""Share of participants of whom a confound must be known; the others are left out of the test."""


def gather_people(cohort, resemblance):
    """Gather one row per participant: sex, site, family, confounds.

    Parameters
    ----------
    cohort, resemblance : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        Sorted by and indexed by participant_id; ``sex`` (1 male, 0 female), ``site`` (a code; one
        for all whose site is unknown), ``family`` (declared families, joined if members are as
        similar as relatives) and the confounds, averaged over sessions.
    """
    people = cohort.groupby("participant_id", sort=True).first()
    numbers = cohort.groupby("participant_id", sort=True)[list(CONFOUNDS)].mean()
    people = people[["sex", "site", "family_id"]].join(numbers)
    return people.assign(
        sex=(people["sex"] == "male").astype(int),
        site=people["site"].astype("category").cat.codes.to_numpy(int),
        family=find_families(people.reset_index(), resemblance),
    )


def find_families(cohort, resemblance):
    """Return the family of each row of a cohort: those in which people are not independent.

    Parameters
    ----------
    cohort : pandas.DataFrame
        With ``participant_id`` and ``family_id``; participants may have several rows.
    resemblance : pandas.DataFrame
        Pairs of participants who are as similar as relatives or copies.

    Returns
    -------
    numpy.ndarray of int, shape (rows,)
        Declared families, joined where members of two are as similar as relatives.
    """
    names = cohort["participant_id"]
    declared = cohort["family_id"].fillna(names).astype(str).to_numpy(str)
    place = {name: row for row, name in enumerate(names)}
    pairs = resemblance[["participant_id", "other_id"]].itertuples(index=False)
    pairs = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
    return join_families(declared, pairs)


def count_people(rows):
    """Count the participants of each sex among rows, which may repeat participants.

    Parameters
    ----------
    rows : pandas.DataFrame
        With ``participant_id`` and ``sex``.

    Returns
    -------
    dict of str to int
        ``female``, ``male`` and ``both``.
    """
    counts = rows.groupby("sex")["participant_id"].nunique()
    female, male = int(counts.get("female", 0)), int(counts.get("male", 0))
    return {"female": female, "male": male, "both": female + male}


def find_known(people, names=CONFOUNDS):
    """Find the confounds known for nearly all participants, and the participants who have all.

    Parameters
    ----------
    people : pandas.DataFrame
    names : sequence of str

    Returns
    -------
    names : list of str
        Confounds that are known for at least 90 %, and that vary.
    known : numpy.ndarray of bool, shape (people,)
    """
    chosen = [
        name
        for name in names
        if people[name].notna().mean() >= LEAST_KNOWN and people[name].nunique() > 1
    ]
    return chosen, people[chosen].notna().all(axis=1).to_numpy()


def confound_columns(people, names):
    """Return confounds as columns of a linear model: sites as 0 and 1, numbers as linear splines.

    Parameters
    ----------
    people : pandas.DataFrame
        Of whom all of these are known.
    names : sequence of str
        Of ``CONFOUNDS``, or ``site``.

    Returns
    -------
    numpy.ndarray of float, shape (people, columns)
    """
    columns = [np.empty((len(people), 0))]
    for name in names:
        write = dummy_columns if name == "site" else spline_columns
        columns.append(write(people[name].to_numpy()))
    return np.column_stack(columns)
