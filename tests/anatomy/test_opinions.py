import numpy as np
import pytest

from bids_sexclf.anatomy import opinions
from bids_sexclf.anatomy.brain import agreement

GRID = np.diag([4.0, 4.0, 4.0, 1.0])
GRID[:3, 3] = -60, -75, -50


def brain():
    """Give a brain of two halves of unequal brightness, its mask, and their affine."""
    places = (
        np.einsum("ij,jxyz->ixyz", GRID[:3, :3], np.indices((31, 38, 26)))
        + GRID[:3, 3, None, None, None]
    )
    mask = (np.abs(places) ** 2 / np.array([55, 70, 45])[:, None, None, None] ** 2).sum(0) < 1
    folds = 100 + 40 * np.sin(places[1] / 6) * np.cos(places[2] / 7) + 10 * np.cos(places[0] / 5)
    return np.where(mask, folds, 0), mask, GRID


def gather(volume, mask, matrix=None):
    template = brain()
    matrix = np.eye(4) if matrix is None else matrix
    return opinions.gather(mask, GRID, (volume, mask), template, matrix)


def test_the_templates_own_brain_is_supported_by_every_number():
    volume, mask, _ = brain()
    found = gather(3 * volume, mask)
    assert found.template_overlap == 1 and found.symmetry == 1
    assert found.template_agreement == pytest.approx(1) and found.stretch == pytest.approx(1)
    assert found.cut_cm2 == 0
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 5.5 * 7 * 4.5, rel=0.03)
    assert found.faults() == []


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (np.s_[:15], ["overlap with the template", "symmetry", "cut off"]),  # one half
        (np.s_[:, :, :12], ["overlap with the template"]),  # the lower part
        (np.s_[12:19, 14:24, 9:17], ["volume", "overlap with the template"]),  # a small piece
    ],
)
def test_a_part_of_a_brain_is_told_by_its_numbers(part, told):
    volume, mask, _ = brain()
    held = np.zeros(mask.shape, bool)
    held[part] = mask[part]
    scan = held[:15] if part == np.s_[:15] else held
    found = opinions.gather(scan, GRID, (volume * held, held), brain(), np.eye(4))
    faults = " ".join(found.faults())
    assert all(words in faults for words in told)


def test_an_inverted_contrast_does_not_agree():
    volume, mask, _ = brain()
    found = gather(np.where(mask, 250 - volume, 0), mask)
    assert found.template_agreement < -0.9
    assert found.faults() == [
        f"agreement with the template {found.template_agreement:.2f} (needed at least 0.30)"
    ]


def test_a_bias_field_does_not_lower_the_agreement():
    volume, mask, _ = brain()
    dim = volume * np.exp(np.linspace(-0.8, 0.8, mask.shape[2]))
    assert agreement(dim, volume, mask) < 0.7
    assert gather(dim, mask).template_agreement > 0.8


def test_stretch_is_the_ratio_of_the_longest_to_the_shortest_direction():
    volume, mask, _ = brain()
    matrix = np.diag([1.0, 1.6, 0.8, 1.0])
    found = gather(volume, mask, matrix)
    assert found.stretch == pytest.approx(2)
    assert found.faults() == ["stretch on the way to the template 2.00 (needed at most 1.35)"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_brain_that_ends_with_the_image_is_cut(axis):
    affine = np.diag([2.0, -1.0, 3.0, 1.0])
    mask = np.zeros((20, 40, 12), bool)
    mask[4:16, 10:30, 3:9] = True
    assert opinions.cut_area(mask, affine) == 0
    cut = mask.take(range(mask.shape[axis] // 2), axis)
    sides = np.array([12 * 2, 20 * 1, 6 * 3]) / 10
    assert opinions.cut_area(cut, affine) == pytest.approx(np.prod(np.delete(sides, axis)))


def test_the_mirror_stands_in_the_middle_of_the_templates_brain():
    _, mask, grid = brain()
    shifted = np.roll(mask, 1, axis=0)
    left = shifted & (np.indices(mask.shape)[0] < 16)  # its middle lies in column 16
    right = opinions.mirrored(left, shifted, grid)
    assert not (right & left).any() and right.sum() == left.sum()
    assert (right & shifted).sum() == right.sum()
