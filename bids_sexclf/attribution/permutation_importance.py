"""Conditional permutation importance: exchange the residual of a feature, and compute the loss.

Exchanging correlated features between people makes impossible people, on which models behave
strangely. Here only the residual is exchanged: the features of a group are predicted from all other
features, by a ridge regression on the training part, and the residual is that of another person.

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
    """Compute the evidence of whole tables, and its loss with exchanged residuals of a group.

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
        ``values`` of shape (draws, groups): the evidence minus the evidence with the residuals of
        the replacement. Named by group, in the order of their first feature.

    Notes
    -----
    A group that other features determine completely has importance 0, although a model may use
    it, since others contain the same information. Put such features into one group.
    """
    table = view.reference
    names = tuple(dict.fromkeys(table.groups))
    places = [np.flatnonzero(np.array(table.groups, dtype=object) == name) for name in names]
    train = np.asarray(table.values, dtype=np.float64).reshape(len(table.values), -1)
    remains = [_learn(train, table.middle, members) for members in places]
    for row in range(len(rows)):
        person = _complete(rows[row], table.middle)
        whole = float(evaluate(view.evidence, person[None])[0])
        replacements = view.fill(np.asarray(rows[row]), row)
        values = np.zeros((len(replacements), len(names)))
        for draw, replacement in enumerate(replacements):
            donor = _complete(replacement.volume, table.middle)
            changed = np.repeat(person[None], len(names), axis=0)
            for one, members, residual_of in zip(changed, places, remains, strict=True):
                one[members] += residual_of(donor) - residual_of(person)
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
    """Replace unknown numbers by the medians of the training part."""
    values = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(values), values, middle)


def _learn(train, middle, members):
    """Fit the prediction of a group of features from all others.

    Returns
    -------
    callable
        Function of a row (k,) that returns the residuals of the group, in the unit of each feature.
    """
    from sklearn.linear_model import RidgeCV

    train = np.where(np.isfinite(train), train, middle)
    predictors = np.setdiff1d(np.arange(train.shape[1]), members)
    centre, spread = train.mean(axis=0), train.std(axis=0)
    spread = np.where(spread > FLAT * np.maximum(np.abs(centre), 1), spread, 1.0)
    scaled = (train - centre) / spread
    if not len(predictors):
        return lambda row: row[members]
    ridge = RidgeCV(PENALTIES).fit(scaled[:, predictors], scaled[:, members])

    def leave(row):
        foretold = ridge.predict(((row - centre) / spread)[None, predictors]).ravel()
        return row[members] - (foretold * spread[members] + centre[members])

    return leave
