"""Meaningful perturbation beyond the common promises: where, both fidelities, many at once."""

import numpy as np
import pytest
import torch

from bids_sexclf import attribution
from bids_sexclf.attribution import View, _perturbing, meaningful_perturbation
from bids_sexclf.errors import InputError
from bids_sexclf.training.evidence import Evidence

GRID = (24, 24, 24)
PLACE = (slice(4, 12), slice(4, 12), slice(4, 12))


class Contrast(torch.nn.Module):
    """Evidence of how far a block of voxels swings about its mean: blurring takes it away."""

    def forward(self, volumes):
        block = volumes[(slice(None), 0, *PLACE)].flatten(1)
        return 4 * (block.std(1, keepdim=True) - 0.5)


@pytest.fixture
def asked():
    """Make a view of the contrast, and volumes of noise."""
    module = Evidence(Contrast(), np.float32(0), np.float32(1))
    rows = np.random.default_rng(0).standard_normal((3, *GRID)).astype(np.float32)

    def evidence(volumes):
        with torch.no_grad():
            return module(torch.from_numpy(np.asarray(volumes))).double().numpy()

    return View(evidence, np.ones(GRID, bool), module=module), rows


@pytest.mark.parametrize("fidelity", ["paper", "code"])
def test_the_place_that_the_model_reads_is_hidden_and_little_else(asked, fidelity):
    view, rows = asked
    options = {"fidelity": fidelity, "steps": 20 if fidelity == "paper" else 60, "draws": 2}
    answers = list(attribution.attribute("meaningful_perturbation", rows[:1], view, **options))
    values = answers[0].values[0]
    inside = np.zeros(GRID, bool)
    inside[PLACE] = True
    assert (values >= 0).all() and (values <= 1).all() and answers[0].evidence > 0
    assert values[inside].mean() > 2 * values[~inside].mean()
    soft = _perturbing.blur(torch.from_numpy(rows[:1, None]), _perturbing.gaussian(10.0, 5))
    hidden = (1 - values) * rows[0] + values * soft[0, 0].numpy()
    assert view.evidence(hidden[None].astype(np.float32))[0] < answers[0].evidence - 0.05


def test_masks_learnt_together_are_those_learnt_alone(asked):
    view, rows = asked
    options = {"fidelity": "code", "steps": 6, "draws": 2}
    together, alone = (
        list(meaningful_perturbation.attribute(rows, view, at_once=count, **options))
        for count in (3, 1)
    )
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-3)
        assert one.values.any()
    assert np.abs(together[0].values - together[1].values).max() > 1e-3


def test_blurring_keeps_what_is_even_and_moving_moves():
    weights = _perturbing.gaussian(10.0, 5)
    assert weights.sum() == pytest.approx(1) and weights.max() - weights.min() < 0.01
    even = torch.full((2, 1, 5, 6, 7), 3.0)
    torch.testing.assert_close(_perturbing.blur(even, weights), even)
    point = torch.zeros(1, 1, 7, 7, 7)
    point[0, 0, 3, 3, 3] = 1
    blurred = _perturbing.blur(point, _perturbing.gaussian(1.0, 3))
    assert blurred.sum() == pytest.approx(1) and (blurred > 0).sum() == 27
    moved = _perturbing.shift(point, (1, -2, 0))
    assert moved[0, 0, 4, 1, 3] == 1 and moved.sum() == 1


def test_rough_masks_cost_and_even_ones_do_not():
    masks = torch.ones(2, 1, 4, 4, 4)
    masks[1, 0, :2] = 0.5
    rough = _perturbing.measure_roughness(masks, 2)
    assert rough.tolist() == pytest.approx([0, 0.25 / 3])


def test_what_does_not_exist_is_refused(asked):
    view, rows = asked
    for options in ({"fidelity": "both"}, {"steps": 0}):
        with pytest.raises(InputError, match="needed one of paper, code"):
            next(meaningful_perturbation.attribute(rows, view, **options))
