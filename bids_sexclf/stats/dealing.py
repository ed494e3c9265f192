"""Assign people to parts: keep families whole, balance the sexes first, then ages."""

import numpy as np

MOST_KINDS = 200
"""Kinds of families, smallest first, that are exchanged to improve a deal."""


def deal(groups, sex, band, sizes, seed, full=None):
    """Assign people to parts of given sizes.

    A part gets its share of each sex, and within each sex its share of each age band, as far as
    whole groups allow. Groups of the same composition are assigned at random.

    Parameters
    ----------
    groups : array_like of str, shape (n,)
        Who must lie in one part, e.g. the family.
    sex, band : array_like of str, shape (n,)
    sizes : array_like of int, shape (k,)
        People per part, each above 0; their sum is n.
    seed : int or sequence of int
    full : array_like of bool, shape (k,), optional
        Parts that must hold both sexes; all by default. It has no meaning where n people are of
        one sex.

    Returns
    -------
    ndarray of int, shape (n,)
        The part of each person, from 0. It does not depend on the order of rows.

    Notes
    -----
    Groups with the same numbers of women and men of each band are of one kind. First each part
    that must hold both sexes gets the smallest groups that give it both. Then most groups of each
    kind are dealt in proportion; what is left over goes one by one, largest first, to the part
    that lacks most. At last groups are moved and exchanged between parts for as long as this
    brings the parts closer to their shares.

    Examples
    --------
    >>> sex = ["female", "male"] * 4
    >>> parts = deal(range(8), sex, ["1"] * 8, [4, 4], seed=0)
    >>> [sorted(sex[i] for i in range(8) if parts[i] == part) for part in (0, 1)]
    [['female', 'female', 'male', 'male'], ['female', 'female', 'male', 'male']]
    """
    rng = np.random.default_rng(seed)
    sizes = np.asarray(sizes)
    full = np.ones(len(sizes), bool) if full is None else np.asarray(full, bool)
    deck = _Deck(groups, sex, band)
    if len(deck.of_sex.T) < 2:
        full = np.zeros(len(sizes), bool)
    wanted = _share_out(sizes, deck.people @ deck.of_sex, full, rng)
    held = _place(deck, wanted, full, rng)
    _improve(deck, wanted, full, held)
    # Draw at random which groups of a kind a part gets.
    order = np.lexsort([rng.random(len(deck.kind)), deck.kind])
    part = np.empty(len(order), dtype=int)
    part[order] = np.repeat(np.tile(np.arange(len(sizes)), len(held)), held.ravel())
    return part[deck.group]


def count_full_parts(groups, sex):
    """Compute the largest number of parts with both sexes that whole groups can fill.

    Parameters
    ----------
    groups, sex : array_like of str, shape (n,)

    Returns
    -------
    int
        Number of groups with both sexes, plus pairs of a group of women and a group of men.

    Examples
    --------
    >>> count_full_parts(["a", "a", "b", "c", "d"], ["f", "m", "f", "m", "m"])
    2
    """
    deck = _Deck(groups, sex, np.zeros(len(sex), dtype=int))
    if len(deck.of_sex.T) < 2:
        return 0
    of_both_sexes = (deck.kinds > 0).all(axis=1)
    alone = [int(deck.number[(deck.kinds[:, absent_sex] == 0)].sum()) for absent_sex in (1, 0)]
    return int(deck.number[of_both_sexes].sum()) + min(alone)


class _Deck:
    """The groups to assign, counted by kind.

    Attributes
    ----------
    group : ndarray of int, shape (n,)
        The group of each person.
    kind : ndarray of int, shape (groups,)
        The kind of each group.
    kinds : ndarray of int, shape (kinds, strata)
        People of each sex and band in a group of that kind; the smallest groups stand first.
    number : ndarray of int, shape (kinds,)
        Groups of each kind.
    of_sex : ndarray of int, shape (strata, sexes)
        1 where a stratum is of that sex.
    people : ndarray of int, shape (strata,)
    """

    def __init__(self, groups, sex, band):
        names, self.group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        sexes, of_sex = np.unique(np.asarray(sex, dtype=str), return_inverse=True)
        bands, of_band = np.unique(np.asarray(band, dtype=str), return_inverse=True)
        strata, column = np.unique(of_sex * len(bands) + of_band, return_inverse=True)
        counts = np.zeros((len(names), 1 + len(strata)), dtype=int)
        np.add.at(counts, (self.group, 1 + column), 1)
        counts[:, 0] = counts.sum(axis=1)  # sorts kinds by size
        kinds, kind = np.unique(counts, axis=0, return_inverse=True)
        self.kind, self.kinds = kind.ravel(), kinds[:, 1:]
        self.number = np.bincount(self.kind, minlength=len(kinds))
        self.of_sex = (strata[:, None] // len(bands) == np.arange(len(sexes))).astype(int)
        self.people = counts[:, 1:].sum(axis=0)


def _share_out(sizes, people, full, rng):
    """Return the number of each sex that each part should hold: integers, shape (k, sexes)."""
    if len(people) == 1:
        return sizes[:, None]
    ideal = people[0] * sizes / sizes.sum()
    low, high = full.astype(int), sizes - full
    first = np.clip(np.floor(ideal).astype(int), low, high)
    # Of two parts that lack equally many, the larger comes first, so that both sexes are balanced.
    order = np.lexsort([rng.random(len(sizes)), sizes])
    while (missing := people[0] - first.sum()) != 0:
        step = int(np.sign(missing))
        can = (first < high) if step > 0 else (first > low)
        if not can.any():
            break
        lack = np.where(can, step * (ideal - first), -np.inf)[order]
        first[order[len(order) - 1 - int(np.argmax(lack[::-1]))]] += step
    return np.stack([first, sizes - first], axis=1)


def _strata_shares(deck, wanted):
    """Return the number of each stratum that each part should hold, shape (k, strata)."""
    of_sex = deck.people @ deck.of_sex
    return (wanted / of_sex) @ deck.of_sex.T * deck.people


def _place(deck, wanted, full, rng):
    """Assign every group; return the number of each kind in each part, shape (kinds, k)."""
    counts = np.zeros((len(deck.kinds), len(wanted)), dtype=int)
    sizes = wanted.sum(axis=1)
    parts = rng.permutation(np.flatnonzero(full))
    parts = parts[np.argsort(sizes[parts], kind="stable")]
    for part, kinds in zip(parts, _anchors(deck, len(parts)), strict=False):
        np.add.at(counts, (kinds, part), 1)
    share = sizes / sizes.sum()
    spare = deck.number - counts.sum(axis=1)
    # The anchor groups of a part count towards its share.
    bulk = np.maximum(np.floor(deck.number[:, None] * share).astype(int) - counts, 0)
    bulk[bulk.sum(axis=1) > spare] = 0
    counts += bulk
    remaining = np.repeat(np.arange(len(counts)), deck.number - counts.sum(axis=1))
    size = deck.kinds.sum(axis=1)
    remaining = remaining[np.lexsort([rng.random(len(remaining)), -size[remaining]])]
    # Sexes have more weight than bands; the squared deficit is relative to the share.
    strata = _strata_shares(deck, wanted)
    target = np.hstack([wanted, strata])
    weight = np.hstack([10 / np.maximum(wanted, 1), 1 / np.maximum(strata, 0.5)])
    features = np.hstack([deck.kinds @ deck.of_sex, deck.kinds])
    missing = target - counts.T @ features
    for kind in remaining:
        unit = features[kind]
        cost = (weight * unit * (unit - 2 * missing)).sum(axis=1)
        lowest = np.flatnonzero(cost <= cost.min() + 1e-9)
        part = lowest[0] if len(lowest) == 1 else rng.choice(lowest)
        counts[kind, part] += 1
        missing[part] -= unit
    return counts


def _anchors(deck, count):
    """List the smallest sets of groups that give a part both sexes: lists of kinds."""
    people = deck.kinds @ deck.of_sex
    size = people.sum(axis=1)
    if people.shape[1] < 2 or not count:
        return []
    several = np.minimum(deck.number, count)

    def listed(chosen):
        return np.repeat(np.flatnonzero(chosen), several[chosen])[:count]

    alone = [listed(people[:, absent_sex] == 0) for absent_sex in (1, 0)]
    sets = [list(pair) for pair in zip(*alone, strict=False)]
    sets += [[kind] for kind in listed((people > 0).all(axis=1))]
    return sorted(sets, key=lambda kinds: (size[kinds].sum(), len(kinds), kinds))[:count]


def _improve(deck, wanted, full, counts):
    """Move and exchange groups between parts while this improves the balance.

    ``counts`` is changed in place. A part that must hold both sexes never loses one.
    """
    kinds = np.vstack(
        [np.zeros_like(deck.kinds[:1]), deck.kinds[:MOST_KINDS]]
    )  # the first entry stands for no group
    used = len(kinds) - 1

    def weighed(strata):
        """Return features in which sexes and size have much more weight than age bands."""
        of_sex = strata @ deck.of_sex
        return np.hstack([100 * of_sex, 70 * of_sex.sum(axis=1, keepdims=True), strata])

    features = weighed(kinds).astype(float)
    goal = np.hstack(
        [100 * wanted, 70 * wanted.sum(axis=1, keepdims=True), _strata_shares(deck, wanted)]
    )
    off = counts.T @ weighed(deck.kinds) - goal
    of_sex = counts.T @ (deck.kinds @ deck.of_sex)
    sexes = kinds @ deck.of_sex
    change = sexes[:, None] - sexes[None]  # what the first part loses, shape (kinds, kinds, sexes)
    square = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    pairs = [(i, j) for i in range(len(wanted)) for j in range(i + 1, len(wanted))]
    still = 0
    while still < len(pairs):
        for i, j in pairs:
            available = [np.append(True, counts[:used, part] > 0) for part in (i, j)]
            allowed = available[0][:, None] & available[1]
            if full[i]:
                allowed &= (change <= of_sex[i] - 1).all(axis=2)
            if full[j]:
                allowed &= (-change <= of_sex[j] - 1).all(axis=2)
            slope = features @ (off[i] - off[j])
            gain = np.where(allowed, slope[:, None] - slope - square, -np.inf)
            a, b = np.unravel_index(np.argmax(gain), gain.shape)
            if gain[a, b] <= 1e-6:
                still += 1
                if still >= len(pairs):
                    break
                continue
            still = 0
            for kind, source, target in ((a, i, j), (b, j, i)):
                if kind:
                    counts[kind - 1, source] -= 1
                    counts[kind - 1, target] += 1
            off[i] -= features[a] - features[b]
            off[j] += features[a] - features[b]
            of_sex[i] -= sexes[a] - sexes[b]
            of_sex[j] += sexes[a] - sexes[b]
