"""Tests of reading b-values and b-vectors."""

import numpy as np
import pytest

from bids_sexclf.diffusion import find_shells
from bids_sexclf.diffusion._gradients import (
    check_gradients,
    monomials,
    multiplicities,
    powers_of,
)
from bids_sexclf.diffusion.scheme import read_gradients
from bids_sexclf.errors import InputError


def test_shells_gather_scattered_b_values_in_any_order():
    shells = find_shells([5, 2005, 995, 0, 1005, 1995, 1000])
    assert [mean for mean, _ in shells] == [1000, 2000]
    assert [indices.tolist() for _, indices in shells] == [[2, 4, 6], [1, 5]]


@pytest.mark.parametrize(
    ("bvals", "options", "n_shells"),
    [
        ([], {}, 0),
        ([0, 5, 50], {}, 0),
        ([0, 51], {}, 1),
        ([0, 1000, 1100], {}, 1),
        ([0, 1000, 1101], {}, 2),
        ([0, 1000, 1100], {"tolerance": 50}, 2),
        ([0, 60, 1000], {"b0_threshold": 100}, 1),
    ],
)
def test_threshold_and_tolerance_draw_the_line(bvals, options, n_shells):
    assert len(find_shells(bvals, **options)) == n_shells


def test_every_weighted_volume_is_in_exactly_one_shell():
    bvals = np.random.default_rng(0).choice([0, 5, 700, 1000, 1500, 3000], 200)
    found = np.concatenate([indices for _, indices in find_shells(bvals)])
    assert sorted(found) == np.flatnonzero(bvals > 50).tolist()


@pytest.mark.parametrize("order", [2, 4])
def test_monomials_sum_over_every_element_of_the_full_tensor(order):
    # (x + y + z)^order is the form of a tensor of ones.
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gradients = check_gradients(np.ones((1, 1, 1, 20)), np.full(20, 2000.0), vectors, 50)
    total = monomials(gradients, powers_of(3, order)) @ multiplicities(order)
    expected = 2**3 * gradients.bvecs.sum(axis=1) ** order
    np.testing.assert_allclose(total[:, 0], expected, atol=1e-12)
    assert multiplicities(order).sum() == 3**order


def test_vectors_of_b0_volumes_may_be_missing():
    bvals = [0, 5, 1000]
    bvecs = [[np.nan] * 3, [0.2, 0, 0], [0, 0, 1.004]]
    gradients = check_gradients(np.ones((1, 1, 1, 3)), bvals, bvecs, 50)
    assert gradients.bvecs.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert gradients.reference.tolist() == [True, True, False]


def test_every_crooked_vector_is_named_at_once():
    bvecs = [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0.9], [np.nan, 0, 1]]
    with pytest.raises(InputError, match=r"volumes \[1, 3, 4\] have lengths \[0.0, 0.9, nan\]"):
        check_gradients(np.ones((1, 1, 1, 5)), [0, 1000, 1000, 1000, 1000], bvecs, 50)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999", "1_0", "x"])
def test_a_vector_that_is_known_in_part_is_refused_and_one_without_any_number_is_zero(
    tmp_path, word
):
    (tmp_path / "bval").write_text("0 1000\n")
    (tmp_path / "bvec").write_text("nan 1\nnan 0\nnan 0\n")
    vectors = read_gradients(tmp_path / "bval", tmp_path / "bvec")[1]
    assert vectors.tolist() == [[0, 0, 0], [1, 0, 0]]
    (tmp_path / "bvec").write_text(f"0 1\n{word} 0\n0 0\n")
    with pytest.raises(InputError, match="bvec"):
        read_gradients(tmp_path / "bval", tmp_path / "bvec")
