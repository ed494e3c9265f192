"""Shuffle labels, as a check for leakage: a model trained on them must score at chance.

Labels are shuffled once, before training, and test participants keep their shuffled labels. So a
model that sees a test participant, or a copy, in training scores above chance.
"""

import numpy as np

from bids_sexclf.stats._evidence import check_labels
from bids_sexclf.stats.dealing import deal
from bids_sexclf.stats.resampling import exchange

DEALS = 200
"""Deals of ages that the least telling is chosen from."""


def shuffle_sexes(sex, cell, group, seed):
    """Exchange the sex of half of the women and half of the men of each cell, families whole.

    Parameters
    ----------
    sex : array_like of int, shape (n,)
        0 and 1.
    cell : array_like, shape (n,)
        Parts that are tested as a whole, such as folds.
    group : array_like of str, shape (n,)
        Families, with people who are as similar as relatives: either all members keep their sex,
        or none, in all cells.
    seed : int

    Returns
    -------
    numpy.ndarray of int, shape (n,)
        Uncorrelated with the true sex in every cell, as far as even numbers and families allow. It
        does not depend on the order of rows.

    Examples
    --------
    >>> sex = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    >>> shuffled = shuffle_sexes(sex, [1, 1, 1, 1, 2, 2, 2, 2], list("abcdefgh"), seed=0)
    >>> [int((shuffled != sex)[[i, i + 1]].sum()) for i in (0, 2, 4, 6)]
    [1, 1, 1, 1]
    """
    sex, group = np.asarray(sex, dtype=int), np.asarray(group, dtype=str)
    cell = check_labels(cell, sex.size, "fold").astype(str)
    half = sex.size // 2
    parts = deal(group, sex.astype(str), cell, [half, sex.size - half], seed, full=[False, False])
    return np.where(parts == 0, 1 - sex, sex)


def shuffle_ages(age, cell, group, seed):
    """Exchange ages between the families of each cell, with the least correlation to true ages.

    Parameters
    ----------
    age : array_like of float, shape (n,)
    cell, group, seed
        As for :func:`shuffle_sexes`.

    Returns
    -------
    numpy.ndarray of float, shape (n,)
        Of many permutations, the one least correlated with the true ages within cells. A random
        permutation correlates slightly, and a model could learn this where age is easy to learn.
    """
    age = np.asarray(age, dtype=float)
    code = check_labels(cell, age.size, "fold")
    family = check_labels(np.asarray(group, dtype=str), age.size, "group")
    # The result must not depend on the order of rows.
    order = np.lexsort((age, family, code))
    back = np.argsort(order)
    shuffled = exchange(age[order], code[order], np.arange(age.size), family[order])
    centred = age - (np.bincount(code, weights=age) / np.bincount(code))[code]
    rng = np.random.default_rng(seed)
    dealt = [shuffled(rng)[back] for _ in range(DEALS)]
    return min(dealt, key=lambda ages: abs(ages @ centred))
