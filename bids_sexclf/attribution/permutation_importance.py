"""Exchange between people what the other features do not tell of a feature, and see what is lost.

Exchanging a feature as it is makes people who do not exist wherever features go together, and
models answer oddly about those. Here only the part that the other features leave open is
exchanged: the features of a group are foretold from all others, by a ridge regression learnt from
the training part, and what is left is taken from another person.

References
----------
Chamma A, Engemann DA, Thirion B. Statistically valid variable importance assessment through
conditional permutations. NeurIPS 2023. arXiv:2309.07593

Strobl C, et al. Conditional variable importance for random forests. BMC Bioinformatics 2008.
doi:10.1186/1471-2105-9-307
"""

import numpy as np

from bids_sexclf.attribution import Answer, evaluate

NEEDS = {"evidence", "features", "fill"}
YIELDS = "features"
SCOPE = "participant"
UNIT = "evidence"
EXACT_ON_LINEAR = False
EXACT_ZERO = True
PENALTIES = np.logspace(-2, 5, 8)
"""Of the ridge regressions; the best in leaving one out, for each group."""
FLAT = 1e-12
"""Spread of a feature, as a share of its mean, below which it does not vary."""


def attribute(rows, view):
    """Compute the evidence of whole tables, and what it loses without what a group alone tells.

    Parameters
    ----------
    rows : features.Features or ndarray, shape (n, k)
        Of the participants; ``nan`` where a number is unknown: the median of the training part
        stands for it.
    view : attribution.View
        Evidence, reference and fill are read. The fill gives rows of other people, or another
        row.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (draws, groups): the evidence, less the evidence where the group's
        remains are those of the replacement. Named by group, in the order of their first feature.

    Notes
    -----
    A group that the others tell entirely has importance 0, though a model may use it: what it says
    is said by others as well. Grouping what belongs together is the remedy.
    """
    table = view.reference
    names = tuple(dict.fromkeys(table.groups))
    places = [np.flatnonzero(np.array(table.groups, dtype=object) == name) for name in names]
    train = np.asarray(table.values, dtype=np.float64).reshape(len(table.values), -1)
    remains = [_learn(train, table.middle, own) for own in places]
    for row in range(len(rows)):
        person = _complete(rows[row], table.middle)
        whole = float(evaluate(view.evidence, person[None])[0])
        replacements = view.fill(np.asarray(rows[row]), row)
        values = np.zeros((len(replacements), len(names)))
        for draw, replacement in enumerate(replacements):
            other = _complete(replacement.volume, table.middle)
            changed = np.repeat(person[None], len(names), axis=0)
            for one, own, left in zip(changed, places, remains, strict=True):
                one[own] += left(other) - left(person)
            moved = (changed != person).any(axis=1)
            if moved.any():
                values[draw, moved] = whole - evaluate(view.evidence, changed[moved])
        yield Answer(
            whole,
            values,
            np.arange(1, len(names) + 1),
            tuple(replacement.source for replacement in replacements),
            tuple(replacement.weight for replacement in replacements),
            names,
        )


def _complete(values, middle):
    """Put the training part's medians where numbers are unknown."""
    values = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(values), values, middle)


def _learn(train, middle, own):
    """Learn what the other features tell of a group.

    Returns
    -------
    callable
        A row (k,) to what they leave open of the group, in the unit of each of its features.
    """
    from sklearn.linear_model import RidgeCV

    train = np.where(np.isfinite(train), train, middle)
    others = np.setdiff1d(np.arange(train.shape[1]), own)
    centre, spread = train.mean(axis=0), train.std(axis=0)
    spread = np.where(spread > FLAT * np.maximum(np.abs(centre), 1), spread, 1.0)
    scaled = (train - centre) / spread
    if not len(others):
        return lambda row: row[own]
    ridge = RidgeCV(PENALTIES).fit(scaled[:, others], scaled[:, own])

    def leave(row):
        foretold = ridge.predict(((row - centre) / spread)[None, others]).ravel()
        return row[own] - (foretold * spread[own] + centre[own])

    return leave
