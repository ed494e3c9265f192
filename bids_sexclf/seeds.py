"""Seeds: a stream of its own for each use of randomness, and seeds that other programs can read."""

import zlib

import numpy as np

LARGEST = 2**31 - 1
"""Largest seed that ANTs and Greedy can read."""


def stream(seed, use, *numbers):
    """Return the entropy of one use of randomness; other uses of one seed get other numbers.

    Parameters
    ----------
    seed : int
        Of the study or of a fit, from 0.
    use : str
        What the random numbers are for.
    *numbers : int
        Which of several draws, such as a repeat; from 0.

    Returns
    -------
    list of int
        For ``numpy.random.default_rng``.

    Notes
    -----
    The number of `numbers` is part of the entropy: numpy reads ``[5, 1]`` and ``[5, 1, 0]`` as one.

    Examples
    --------
    >>> first, second = (np.random.default_rng(stream(5, use)).random() for use in ("a", "b"))
    >>> first == second
    False
    """
    return [int(seed), zlib.crc32(use.encode()), len(numbers), *map(int, numbers)]


def native_seed(seed):
    """Return the seed for ANTs and Greedy, in which 0 stands for the time of day.

    Parameters
    ----------
    seed : int
        From 0.

    Returns
    -------
    int
        From 1 to ``LARGEST``. The same number where these programs can read it, else a number
        that is derived from it.

    Examples
    --------
    >>> native_seed(1), native_seed(20240), native_seed(0) > 1
    (1, 20240, True)
    """
    if 1 <= seed <= LARGEST:
        return int(seed)
    state = np.random.SeedSequence(stream(seed, "native")).generate_state(1)[0]
    return 1 + int(state) % LARGEST
