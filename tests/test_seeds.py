"""Seeds: no two uses of randomness share a stream, and no two small seeds are one."""

import itertools

import numpy as np

from bids_sexclf.report.methods import write_methods
from bids_sexclf.seeds import LARGEST, native_seed, stream
from bids_sexclf.settings import Study


def draw(entropy):
    return np.random.default_rng(entropy).random()


def test_every_use_and_every_number_has_a_stream_of_its_own():
    numbers = ((), (0,), (1,), (1, 0))
    keys = [(7, use, *key) for use in ("shuffled", "importance") for key in numbers]
    keys.append((8, "shuffled", 1))
    drawn = [draw(stream(*key)) for key in keys]
    assert len(set(drawn)) == len(keys)
    # Splits draw from [seed, repeat] and [seed, repeat, fold]; epochs from (seed, epoch).
    assert not set(drawn) & {draw([7, *key]) for key in itertools.product(range(4), repeat=2)}


def test_seeds_of_native_programs_are_readable_and_differ():
    seeds = [0, 1, 2, 20240, LARGEST - 1, LARGEST, LARGEST + 1, 2**32 - 1]
    native = [native_seed(seed) for seed in seeds]
    assert len(set(native)) == len(seeds) and all(1 <= seed <= LARGEST for seed in native)
    assert native[1:6] == seeds[1:6]


def test_the_methods_name_the_seed_that_a_variant_has_replaced():
    text = write_methods(Study(models=["cnn3"], random_seed=5))
    assert "Random steps start from the seed 5." in text
    variants = {"again": {"design": "cnn3", "random_seed": 9}}
    text = write_methods(Study(models=["cnn3", "again"], variants=variants, random_seed=5))
    assert "start from the seed 5; the fits of again from 9." in text
