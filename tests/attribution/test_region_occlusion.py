"""Region occlusion on functions of one formula each: every drop is known beforehand."""

import numpy as np
import pytest

from bids_sexclf import attribution, catalogue
from bids_sexclf.attribution import region_occlusion
from bids_sexclf.errors import GridError, InputError
from bids_sexclf.volumes import Rows

GRID = (4, 5, 3)


@pytest.fixture
def parcellation():
    """Three slabs, indices 2, 5 and 9; background behind them."""
    labels = np.zeros(GRID, dtype=np.int16)
    labels[0], labels[1], labels[2] = 5, 2, 9
    return labels


@pytest.fixture
def volumes():
    """Whole numbers, so that sums are exact."""
    return np.random.default_rng(0).integers(-9, 9, (3, *GRID)).astype(np.float32)


def region_sum(labels, index, sign=1.0):
    return lambda volumes: sign * volumes[:, labels == index].sum(1, dtype=np.float64)


@pytest.mark.parametrize("name", catalogue.names("bids_sexclf.attribution"))
def test_every_method_says_what_it_yields(name):
    entry = attribution.find(name)
    assert entry.YIELDS in ("regions", "voxels")
    assert callable(entry.attribute)


def test_linear_sum_loses_what_the_region_held_less_what_the_fill_brings(volumes, parcellation):
    evidence = region_sum(parcellation, 5)
    fills = np.array([0.0, 2.0, -1.0])
    logit, occluded = region_occlusion.attribute(evidence, volumes, parcellation, fills)
    size = (parcellation == 5).sum()
    np.testing.assert_array_equal(logit, volumes[:, 0].sum((1, 2)))
    # Ascending indices: 2, 5, 9.
    np.testing.assert_array_equal((logit[:, None] - occluded)[:, 1], logit - fills * size)


def test_region_the_model_ignores_gets_exactly_nothing(volumes, parcellation):
    weights = np.random.default_rng(1).standard_normal(GRID) * (parcellation == 9)
    logit, occluded = region_occlusion.attribute(
        lambda batch: np.tanh((batch * weights).sum((1, 2, 3))), volumes, parcellation, [7, 7, 7]
    )
    np.testing.assert_array_equal(occluded[:, 0], logit)
    np.testing.assert_array_equal(occluded[:, 1], logit)
    assert (occluded[:, 2] != logit).all()


def test_swapped_labels_flip_signs_and_nothing_else(volumes, parcellation):
    fills = volumes.mean((1, 2, 3))
    male = region_occlusion.attribute(region_sum(parcellation, 2), volumes, parcellation, fills)
    female = region_occlusion.attribute(
        region_sum(parcellation, 2, sign=-1), volumes, parcellation, fills
    )
    for one, other in zip(male, female, strict=True):
        np.testing.assert_array_equal(one, -other)


def test_fill_that_changes_nothing_leaves_the_evidence_untouched_to_the_last_bit(parcellation):
    volumes = np.random.default_rng(2).standard_normal((2, *GRID)).astype(np.float32)
    fills = np.array([0.1, 1 / 3])  # not representable in float32
    volumes[:, parcellation == 2] = fills[:, None]

    def unsteady(batch):
        """Give other low bits for other batch sizes, as matrix products do."""
        return batch.sum((1, 2, 3), dtype=np.float64) * (1 + 1e-12 * len(batch))

    logit, occluded = region_occlusion.attribute(unsteady, volumes, parcellation, fills)
    np.testing.assert_array_equal(occluded[:, 0], logit)


def test_batches_are_bounded_and_change_nothing(volumes, parcellation, monkeypatch):
    sizes = []

    def evidence(batch):
        sizes.append(len(batch))
        return batch.max((1, 2, 3)) - batch[:, 0, 0, 0]

    whole = region_occlusion.attribute(evidence, volumes, parcellation, [20, 20, 20])
    assert max(sizes) == 3
    sizes.clear()
    monkeypatch.setattr(region_occlusion, "MEMORY", 2 * volumes[0].nbytes)
    bounded = region_occlusion.attribute(evidence, volumes, parcellation, [20, 20, 20])
    assert max(sizes) == 2
    np.testing.assert_array_equal(whole[1], bounded[1])


def test_each_participant_is_read_once_from_rows_and_never_written(volumes, parcellation):
    before, seen = volumes.copy(), []
    rows = Rows(volumes, [2, 0])
    evidence = region_sum(parcellation, 5)
    logit, occluded = region_occlusion.attribute(
        evidence, rows, parcellation, [0.0, 0.0], progress=lambda **step: seen.append(step)
    )
    direct = region_occlusion.attribute(evidence, volumes[[2, 0]], parcellation, [0.0, 0.0])
    np.testing.assert_array_equal(logit, direct[0])
    np.testing.assert_array_equal(occluded, direct[1])
    np.testing.assert_array_equal(volumes, before)
    assert seen == [{"done": 1, "total": 2}, {"done": 2, "total": 2}]


def test_shuffling_participants_shuffles_rows_and_nothing_else(volumes, parcellation):
    order, fills = np.array([1, 2, 0]), np.array([1.0, 2.0, 3.0])
    evidence = region_sum(parcellation, 9)
    logit, occluded = region_occlusion.attribute(evidence, volumes, parcellation, fills)
    shuffled = region_occlusion.attribute(evidence, volumes[order], parcellation, fills[order])
    np.testing.assert_array_equal(shuffled[0], logit[order])
    np.testing.assert_array_equal(shuffled[1], occluded[order])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"parcellation": np.ones((4, 5, 4), int)}, GridError, r"\(4, 5, 4\).*\(4, 5, 3\)"),
        ({"parcellation": np.zeros(GRID, int)}, InputError, "at least one region"),
        ({"parcellation": np.full(GRID, 0.5)}, InputError, "whole numbers"),
        ({"fills": [1.0, 2.0]}, InputError, r"\(2,\).*3 participants"),
        ({"fills": [1.0, np.nan, 2.0]}, InputError, "1 of them not finite"),
        ({"evidence": lambda batch: batch.sum()}, InputError, "one logit"),
    ],
)
def test_refuses_what_does_not_fit_and_says_why(volumes, parcellation, change, error, words):
    wanted = {
        "evidence": region_sum(parcellation, 2),
        "volume_rows": volumes,
        "parcellation": parcellation,
        "fills": [0.0, 0.0, 0.0],
    }
    with pytest.raises(error, match=words):
        region_occlusion.attribute(**wanted | change)
