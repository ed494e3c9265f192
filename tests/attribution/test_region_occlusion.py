"""Region occlusion beyond the common promises: batches, reading, channels, refusals."""

import numpy as np
import pytest

from bids_sexclf.attribution import View, region_occlusion
from bids_sexclf.errors import GridError, InputError
from bids_sexclf.fills import Replacement
from bids_sexclf.volumes import Channels, Rows

GRID = (4, 5, 3)


def put_in(*values):
    """Make a fill of one number per participant, or of several to be put in one by one."""

    def fill(volume, row):
        numbers = np.atleast_1d(values[row])
        return [
            Replacement(np.full_like(volume, number), f"d{number:g}", 1 / len(numbers))
            for number in numbers
        ]

    return fill


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


def region_sum(labels, index):
    return lambda volumes: volumes[..., labels == index].reshape(len(volumes), -1).sum(1)


def ask(evidence, rows, parcellation, fill):
    view = View(evidence, np.ones(GRID, bool), parcellation, fill)
    return list(region_occlusion.attribute(rows, view))


def test_a_sum_loses_what_the_region_held_less_what_each_draw_brings(volumes, parcellation):
    fill = put_in([0.0, 4.0], [2.0], [-1.0, 1.0, 3.0])
    size = (parcellation == 5).sum()
    answers = ask(region_sum(parcellation, 5), volumes, parcellation, fill)
    for volume, answer, numbers in zip(volumes, answers, ([0, 4], [2], [-1, 1, 3]), strict=True):
        assert answer.evidence == volume[0].sum() and answer.index.tolist() == [2, 5, 9]
        np.testing.assert_array_equal(
            answer.values[:, 1], volume[0].sum() - size * np.array(numbers)
        )
        assert answer.sources == tuple(f"d{number}" for number in numbers)


def test_fill_that_changes_nothing_is_not_asked_about_and_gives_exactly_zero(parcellation):
    volumes = np.random.default_rng(2).standard_normal((1, *GRID)).astype(np.float32)
    volumes[:, parcellation == 2] = 0.1  # not representable in float32

    def unsteady(batch):
        """Give other low bits for other batch sizes, as matrix products do."""
        return batch.sum((1, 2, 3), dtype=np.float64) * (1 + 1e-12 * len(batch))

    (answer,) = ask(unsteady, volumes, parcellation, put_in(0.1))
    assert answer.values[0, 0] == 0 and answer.values[0, 1:].all()


def test_nothing_to_put_in_gives_no_row(volumes, parcellation):
    answers = ask(region_sum(parcellation, 5), volumes, parcellation, lambda volume, row: [])
    assert [one.values.shape for one in answers] == [(0, 3)] * 3


def test_batches_are_bounded_and_change_nothing(volumes, parcellation, monkeypatch):
    sizes = []

    def evidence(batch):
        sizes.append(len(batch))
        return batch.max((1, 2, 3)) - batch[:, 0, 0, 0]

    whole = ask(evidence, volumes, parcellation, put_in(20, 20, 20))
    assert max(sizes) == 3
    sizes.clear()
    monkeypatch.setattr(region_occlusion, "MEMORY", 2 * volumes[0].nbytes)
    bounded = ask(evidence, volumes, parcellation, put_in(20, 20, 20))
    assert max(sizes) == 2
    for one, other in zip(whole, bounded, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_rows_are_never_written_and_channels_are_replaced_together(volumes, parcellation):
    before = volumes.copy()
    both = Channels([Rows(volumes, [2, 0]), Rows(2 * volumes, [2, 0])])
    evidence = region_sum(parcellation, 5)
    answers = ask(evidence, both, parcellation, put_in(0, 0))
    single = ask(evidence, volumes[[2, 0]], parcellation, put_in(0, 0))
    for one, other in zip(answers, single, strict=True):
        np.testing.assert_allclose(one.values, 3 * other.values)
    np.testing.assert_array_equal(volumes, before)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"parcellation": np.ones((4, 5, 4), int)}, GridError, r"\(4, 5, 4\).*\(4, 5, 3\)"),
        ({"parcellation": np.zeros(GRID, int)}, InputError, "at least one region"),
        ({"parcellation": np.full(GRID, 0.5)}, InputError, "whole numbers"),
        ({"fill": lambda volume, row: [Replacement(volume[0])]}, InputError, r"of shape \(5, 3\)"),
        ({"fill": put_in(np.nan, 0, 0)}, InputError, "60 values that are not finite"),
        ({"evidence": lambda batch: batch.sum()}, InputError, "one number"),
    ],
)
def test_refuses_what_does_not_fit_and_says_why(volumes, parcellation, change, error, words):
    given = {
        "evidence": region_sum(parcellation, 2),
        "mask": np.ones(GRID, bool),
        "parcellation": parcellation,
        "fill": put_in(0, 0, 0),
    }
    with pytest.raises(error, match=words):
        next(region_occlusion.attribute(volumes, View(**given | change)))
