"""How alike two maps are, held against scipy and against what must come out."""

import numpy as np
import pytest
from scipy.ndimage import label
from scipy.stats import spearmanr

from bids_sexclf.errors import InputError
from bids_sexclf.stats.localisation import average_magnitude, locate_source
from bids_sexclf.stats.similarity import (
    correlate_ranks,
    draw_regions,
    find_edges,
    overlap_tops,
)


def test_rank_correlation_is_that_of_scipy_with_ties_and_unknown_values():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (2, 60)).astype(float)
    other += one
    assert correlate_ranks(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    one[3] = np.nan
    expected = spearmanr(np.delete(one, 3), np.delete(other, 3)).statistic
    assert correlate_ranks(one, other) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(correlate_ranks(np.ones(60), other))
    assert np.isnan(correlate_ranks(one[:2], other[:2]))


def test_edges_lie_where_a_volume_changes_whatever_the_unit_of_its_channels():
    volume = np.zeros((9, 9, 9))
    volume[5:] = 1
    edges = find_edges(volume)
    assert (edges[4:6] > 0).all() and not edges[:3].any() and not edges[7:].any()
    both = find_edges(np.stack([volume, 1000 * volume]))
    np.testing.assert_allclose(both, 2 * edges)
    assert not find_edges(np.ones((5, 5, 5))).any()


def test_drawn_regions_have_the_sizes_of_the_atlas_are_compact_and_lie_elsewhere():
    labels = np.zeros((20, 20, 20), int)
    labels[:, :, :10], labels[:10, :, 10:], labels[10:, :15, 10:] = 2, 5, 9
    drawn = draw_regions(labels, seed=1)
    np.testing.assert_array_equal(np.bincount(drawn.ravel()), np.bincount(labels.ravel()))
    np.testing.assert_array_equal(drawn == 0, labels == 0)
    assert (drawn != labels).mean() > 0.2
    assert (drawn != draw_regions(labels, seed=2)).any()
    assert (drawn == draw_regions(labels, seed=1)).all()
    for region in (2, 5, 9):
        pieces, count = label(drawn == region)
        assert np.bincount(pieces.ravel())[1:].max() > 0.9 * (drawn == region).sum(), count
    assert not draw_regions(np.zeros((3, 3, 3), int)).any()


def test_disjoint_tops_have_no_dice_and_the_published_formula_calls_them_alike():
    one, other = np.zeros(1000), np.zeros(1000)
    one[:30], other[-30:] = 1, 1
    told = overlap_tops(one, other, 0.03)
    assert told == {"dice": 0, "jaccard": 0, "agreement_kan2020": pytest.approx(0.94)}
    assert overlap_tops(one, other, 0.03, 6000)["agreement_kan2020"] == pytest.approx(0.99)
    same = overlap_tops(one, 5 * one, 0.03)
    assert same == {"dice": 1, "jaccard": 1, "agreement_kan2020": 1}
    other[:15], other[-15:] = 1, 0
    half = overlap_tops(one, other, 0.03)
    assert half["dice"] == 0.5 and half["jaccard"] == pytest.approx(1 / 3)
    assert np.isnan(overlap_tops(one, np.ones(1000), 0.03)["dice"])


def test_the_dice_of_maps_drawn_at_random_is_about_the_share_that_is_called_top():
    rng = np.random.default_rng(3)
    dice = [overlap_tops(*rng.random((2, 400)), 0.25)["dice"] for _ in range(200)]
    assert np.mean(dice) == pytest.approx(0.25, abs=0.01)


def test_a_map_that_lies_on_its_source_is_told_from_one_that_does_not():
    region = np.repeat([0, 1, 2, 3], [40, 10, 20, 30])
    on = locate_source((region == 2) * 1.0, region, 2)
    assert on == {"share": 1, "lift": 5, "precision": 1, "rank": 1, "n_regions": 3}
    off = locate_source((region == 3) * 1.0, region, 2)
    assert (off["share"], off["precision"], off["rank"]) == (0, 0, 3)
    even = locate_source(np.ones(100), region, 2)
    # Ties share the worst rank: a map that is the same everywhere finds nothing.
    assert even["lift"] == pytest.approx(1) and even["rank"] == 3
    nothing = locate_source(np.zeros(100), region, 2)
    assert nothing["rank"] is None and np.isnan(nothing["share"])
    with pytest.raises(InputError, match="no unit of region 7"):
        locate_source(np.ones(100), region, 7)


def test_magnitudes_are_of_means_so_that_classes_do_not_cancel_and_noise_does():
    rng = np.random.default_rng(4)
    kind = np.arange(200) % 2
    values = rng.normal(0, 1, (200, 3))
    values[:, 1] += 2 * kind - 1
    values[0] = np.nan
    weights = average_magnitude(values, kind)
    assert weights[1] == pytest.approx(1, abs=0.2) and weights[[0, 2]].max() < 0.25
    assert np.isnan(average_magnitude(values[:1], kind[:1])).all()
