"""Fill a region with the same region of other tested people: as many women as men.

The replacement looks like a region of a person, so the model does not react to an unlikely picture.
Donors are tested in the same fold, belong to another family, and are similar in brain size and age.
Each donor serves about as often for women as for men, so that peculiarities of one donor cancel in
the mean drop.
"""

import numpy as np

from bids_sexclf.fills import Replacement

CLAIMS = True
LACKING = "no unrelated woman or no unrelated man is tested in the same fold"
SAYS = (
    "the same region of unrelated women and men tested in the same fold, as near in brain size and "
    "age as there are, women and men weighing alike"
)
SEXES = ("female", "male")
REFUSED = 1e6
"""Distance between people who may not serve each other."""
CHANCE = 0.1
"""Part of chance in the distance, standard deviations: another seed gives other donors."""


def prepare(tested, per_sex=2):
    """Choose the donors of every tested participant.

    Parameters
    ----------
    tested : fills.Tested
    per_sex : int
        Women, and men, whose region is put in, one after the other.

    Returns
    -------
    callable
        See :func:`bids_sexclf.fills.prepare`.
    """
    donors = assign_donors(tested.people, per_sex, tested.alike, tested.seed)
    names = tested.people["participant_id"].to_numpy(str)

    def fill(volume, row):
        chosen = donors[row]
        if not all(chosen.values()):
            return []
        return [
            Replacement(np.asarray(tested.rows[donor]), names[donor], 0.5 / len(rows))
            for rows in chosen.values()
            for donor in rows
        ]

    return fill


def assign_donors(people, per_sex=2, alike=(), seed=0):
    """Choose unrelated donors of both sexes for everyone; each donor serves about equally often.

    Parameters
    ----------
    people : pandas.DataFrame
        ``participant_id``, ``session_id``, ``family``, ``sex`` and the columns of `alike`.
    per_sex : int
        Donors of each sex, at least 1.
    alike : sequence of str
        Columns of numbers in which donor and receiver should be near; unknown numbers count as
        the mean.
    seed : int
        Equal seeds give equal donors, whatever the order of the rows.

    Returns
    -------
    list of dict of str to list of int
        For each row, the rows of its female and of its male donors; fewer than `per_sex`, or none,
        if there are not enough unrelated people.

    Notes
    -----
    Donors are assigned by the least sum of distances, separately for receivers of each sex; nobody
    serves more often than necessary.
    """
    order = np.lexsort(
        [people["session_id"].fillna("").to_numpy(str), people["participant_id"].to_numpy(str)]
    )
    sorted_people = people.iloc[order]
    sex = sorted_people["sex"].to_numpy(str)
    distance = _distances(sorted_people, alike, seed)
    donors = [{name: [] for name in SEXES} for _ in order]
    for receiver_sex in SEXES:
        for donor_sex in SEXES:
            receivers, candidates = (np.flatnonzero(sex == s) for s in (receiver_sex, donor_sex))
            near = distance[np.ix_(receivers, candidates)]
            for _ in range(per_sex):
                for receiver, candidate in _assign(near):
                    near[receiver, candidate] = REFUSED
                    donors[order[receivers[receiver]]][donor_sex].append(
                        int(order[candidates[candidate]])
                    )
    return donors


def _distances(people, alike, seed):
    """Compute the distances between people; relatives get a prohibitive distance."""
    total = CHANCE * np.random.default_rng(seed).random((len(people), len(people)))
    for column in alike:
        values = people[column].to_numpy(float)
        finite = np.isfinite(values)
        spread = values[finite].std() if finite.any() else 0.0
        if spread > 0:
            standard = np.where(finite, (values - values[finite].mean()) / spread, 0.0)
            total += np.abs(standard[:, None] - standard)
    family = people["family"].to_numpy(str)
    return np.where(family[:, None] == family, REFUSED, total)


def _assign(distance):
    """Pair receivers with candidates; use each candidate as rarely as possible."""
    from scipy.optimize import linear_sum_assignment

    n_receivers, n_candidates = distance.shape
    if not n_receivers or not n_candidates:
        return []
    times = -(-n_receivers // n_candidates)
    pairs = zip(*linear_sum_assignment(np.tile(distance, times)), strict=True)
    pairs = [(one, candidate % n_candidates) for one, candidate in pairs]
    return [pair for pair in dict.fromkeys(pairs) if distance[pair] < REFUSED]
