"""What every attribution method promises, on functions of one formula each."""

import numpy as np
import pandas as pd
import pytest
import torch

from bids_sexclf import attribution, catalogue, fills
from bids_sexclf.attribution import View
from bids_sexclf.errors import InputError
from bids_sexclf.training.evidence import Evidence

METHODS = catalogue.names("bids_sexclf.attribution")
QUICK = {
    "smoothgrad": {"copies": 3},
    "integrated_gradients": {"steps": 6},
    "meaningful_perturbation": {"steps": 6, "draws": 2},
}
"""Options with which methods keep what they promise, and take less time."""
GRID = (6, 7, 5)
N = 8


class Formula(torch.nn.Module):
    """A formula of a weighted sum of voxels, with the parts that methods ask a network for.

    Behind a convolution and a rectifier that change nothing. ``bend`` makes it a curve.
    """

    stride, pool = 1, "class"

    def __init__(self, weights, bend=False):
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(np.asarray(weights, np.float32)))
        self.bend = bend
        self.same = torch.nn.Conv3d(1, 1, 1, bias=False)
        torch.nn.init.ones_(self.same.weight)
        self.relu = torch.nn.ReLU()
        self.slice_names = [f"sagittal {number}" for number in range(GRID[0])]

    def forward(self, volumes):
        return self.curve(self.weigh(volumes).flatten(1).sum(1))[:, None]

    def curve(self, total):
        return torch.tanh(total / 100) * 100 if self.bend else total

    def weigh(self, volumes):
        return (self.relu(self.same(volumes)[:, 0] + 512) - 512) * self.weights

    def shares(self, volumes):
        """Share the evidence among voxels (batch, X, Y, Z)."""
        voxels = self.weigh(volumes)
        total = voxels.sum((1, 2, 3), keepdim=True)
        return voxels * self.curve(total) / total

    def local(self, volumes):
        voxels = self.shares(volumes)
        return voxels[:, None] * voxels[0].numel()

    def slice_logits(self, volumes):
        return self.shares(volumes).sum((2, 3))[..., None] * GRID[0]

    def attention(self, volumes):
        tokens = torch.nn.functional.pad(volumes.flatten(1), (1, 0))[:, None, :, None] / 10
        return [(tokens, tokens), (tokens, -tokens)]

    def spread_patches(self, shares):
        return shares.unflatten(1, GRID)


def make_view(weights, rows, fill="donors", bend=False, seed=0, taught=None):
    """Make the view of a formula on people of whom every second is a man.

    A row of a table is a volume with its voxels side by side.
    """
    labels = np.zeros(GRID, int)
    labels[:2], labels[2:4], labels[4] = 3, 1, 7
    names = [f"sub-{int(1000 * abs(volume[0, 0, 0])):06d}" for volume in rows]
    sexes = ["male" if volume[0, 0, 1] > 0 else "female" for volume in rows]
    people = pd.DataFrame(
        {"participant_id": names, "session_id": None, "family": names, "sex": sexes}
    )
    mask = np.ones(GRID, bool)
    tested = fills.Tested(rows, people, mask, labels, labels == 1, (), seed)
    module = Evidence(Formula(weights, bend), np.float32(0), np.float32(1)).eval()

    def evidence(volumes):
        with torch.no_grad():
            volumes = np.asarray(volumes, np.float32).reshape(-1, *GRID)
            return module(torch.from_numpy(volumes)).double().numpy()

    taught = (rows if taught is None else taught).reshape(len(rows), -1)
    table = attribution.Table(taught, tuple(labels.ravel().astype(str)))
    fill = fills.prepare(fill, tested)
    return View(evidence, mask, labels, fill, module, seed, reference=table)


@pytest.fixture
def rows():
    """Volumes of whole numbers, four women and four men: voxel (0, 0, 1) says who is whom."""
    volumes = np.random.default_rng(0).integers(-9, 9, (N, *GRID)).astype(np.float32)
    volumes[:, 0, 0, 0] = np.arange(1, N + 1) * 0.125
    volumes[:, 0, 0, 1] = np.where(np.arange(N) % 2, 3, -3)
    return volumes


@pytest.fixture
def weights():
    """Whole numbers; the region of index 7 is ignored."""
    drawn = np.random.default_rng(1).integers(-3, 4, GRID).astype(np.float32)
    drawn[4] = 0
    return drawn


def ask(name, rows, view):
    """Return the values of every participant, draws weighed; (n, units) or (n, X, Y, Z)."""
    answers = list(attribution.attribute(name, rows, view, **QUICK.get(name, {})))
    return np.array([np.tensordot(one.weights, one.values, 1) for one in answers])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_needs_and_yields(name):
    entry = attribution.find(name)
    assert set(entry.NEEDS) <= set(attribution.NEEDS)
    assert entry.YIELDS in ("regions", "voxels", "slices", "feature_maps", "features")
    assert entry.SCOPE in ("participant", "group")
    assert entry.UNIT in ("evidence", "none")
    assert isinstance(entry.EXACT_ON_LINEAR, bool) and isinstance(entry.EXACT_ZERO, bool)


@pytest.mark.parametrize("name", METHODS)
def test_one_answer_each_with_the_evidence_of_the_whole(name, rows, weights):
    view = make_view(weights, rows)
    answers = list(attribution.attribute(name, rows, view, **QUICK.get(name, {})))
    assert len(answers) == N
    np.testing.assert_allclose([one.evidence for one in answers], view.evidence(rows), rtol=1e-5)
    for one in answers:
        assert len(one.values) == len(one.sources) == len(one.weights)
        assert sum(one.weights) == pytest.approx(1)
        units = {"regions": (3,), "voxels": GRID}.get(attribution.find(name).YIELDS)
        assert one.values.shape[1:] == (units or (len(one.index),))
        assert len(one.names) == (0 if units else len(one.index))


@pytest.mark.parametrize("fill", ["zero", "donors"])
@pytest.mark.parametrize("name", [m for m in METHODS if attribution.find(m).EXACT_ON_LINEAR])
def test_linear_model_has_its_closed_form(name, fill, rows, weights):
    view = make_view(weights, rows, fill)
    put_in = rows * 0
    if "fill" in attribution.find(name).NEEDS:
        offered = [view.fill(rows[row], row) for row in range(N)]
        put_in = np.array([sum(one.weight * one.volume for one in some) for some in offered])
    voxels = weights * (rows - put_in)
    if attribution.find(name).YIELDS == "regions":
        voxels = np.stack([voxels[:, view.parcellation == k].sum(1) for k in (1, 3, 7)], 1)
    np.testing.assert_allclose(ask(name, rows, view), voxels, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", [m for m in METHODS if attribution.find(m).EXACT_ZERO])
def test_what_the_model_ignores_gets_exactly_zero(name, rows, weights):
    view = make_view(weights, rows, bend=True)
    values = ask(name, rows, view)
    grouped = attribution.find(name).YIELDS in ("regions", "features")
    ignored = values[:, 2] if grouped else values[:, 4]
    assert values.any() and not ignored.any()


@pytest.mark.parametrize("name", METHODS)
def test_swapping_what_the_model_takes_for_male_flips_every_sign(name, rows, weights):
    one, other = (ask(name, rows, make_view(s * weights, rows, bend=True)) for s in (1, -1))
    flipped = -other if attribution.is_signed(name) else other
    np.testing.assert_allclose(one, flipped, rtol=1e-5, atol=1e-6)
    assert (
        attribution.is_signed(name) or (one >= 0).all() or attribution.find(name).SCOPE == "group"
    )


@pytest.mark.parametrize("name", METHODS)
def test_order_of_participants_changes_nothing(name, rows, weights):
    order = np.array([5, 0, 3, 7, 1, 2, 6, 4])
    values = ask(name, rows, make_view(weights, rows, bend=True, seed=4))
    other = make_view(weights, rows[order], bend=True, seed=4, taught=rows)
    again = ask(name, rows[order], other)
    np.testing.assert_allclose(again, values[order], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_values(name, rows, weights):
    one, other = (ask(name, rows, make_view(weights, rows, bend=True, seed=2)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


LACKING = {
    "gradient": {"module": None},
    "rectifier": {"module": torch.nn.Conv3d(1, 1, 1)},
    "convolution": {"module": torch.nn.Linear(1, 1)},
    "local": {"module": torch.nn.Conv3d(1, 1, 1)},
    "slices": {"module": torch.nn.Conv3d(1, 1, 1)},
    "attention": {"module": torch.nn.Conv3d(1, 1, 1)},
    "classes": {"classes": False},
    "features": {"reference": None},
    "parcellation": {"parcellation": None},
    "fill": {"fill": None},
}


@pytest.mark.parametrize("name", METHODS)
def test_what_is_lacking_is_refused_by_name(name, rows, weights):
    complete = make_view(weights, rows)
    for need in set(attribution.find(name).NEEDS) & set(LACKING):
        with pytest.raises(InputError, match=name):
            attribution.attribute(name, rows, View(**vars(complete) | LACKING[need]))


def test_integrated_gradients_sum_to_the_evidence_that_is_gained(rows, weights):
    view = make_view(weights, rows, bend=True)
    answers = attribution.attribute("integrated_gradients", rows, view, steps=32)
    for row, answer in enumerate(answers):
        starts = np.array([one.volume for one in view.fill(rows[row], row)])
        gained = answer.evidence - view.evidence(starts)
        np.testing.assert_allclose(answer.values.sum((1, 2, 3)), gained, atol=0.02)


def test_smoothgrad_of_a_linear_model_is_its_weights(rows, weights):
    values = ask("smoothgrad", rows, make_view(weights, rows))
    np.testing.assert_allclose(values, np.broadcast_to(weights, values.shape), atol=1e-4)


def test_boxes_of_one_voxel_are_exact_and_larger_ones_share_what_they_hold(rows, weights):
    view = make_view(weights, rows[:2], "zero")
    exact = list(attribution.attribute("sliding_box", rows[:2], view, size=1, stride=1))
    np.testing.assert_allclose(exact[0].values[0], weights * rows[0], atol=1e-3)
    whole = list(attribution.attribute("sliding_box", rows[:2], view, size=9, stride=9))
    assert whole[0].values.sum() == pytest.approx(whole[0].evidence, rel=1e-5)


def test_grad_cam_weighs_features_by_their_mean_slope(rows, weights):
    values = ask("grad_cam", rows, make_view(weights, rows))
    np.testing.assert_allclose(values, weights.mean() * rows, rtol=1e-4, atol=1e-5)


def test_guided_backprop_passes_positive_slopes_through_what_is_active(rows, weights):
    values = ask("guided_backprop", rows, make_view(weights, rows))
    np.testing.assert_array_equal(values, np.broadcast_to(weights, values.shape))
    view = make_view(weights, rows - 520)  # the rectifier is closed everywhere
    assert not ask("guided_backprop", rows - 520, view).any()
    assert view.module.network.relu(torch.ones(1)) == 1  # and works as before


def test_shares_of_neighbourhoods_and_the_mean_of_slices_are_the_evidence(rows, weights):
    view = make_view(weights, rows, bend=True)
    whole = view.evidence(rows)
    local, slices = (ask(name, rows, view) for name in ("bagnet_local", "slice_confidence"))
    np.testing.assert_allclose(local.sum((1, 2, 3)), whole, rtol=1e-4)
    np.testing.assert_allclose(slices.mean(1), whole, rtol=1e-4)


def test_attention_is_rolled_out_as_the_square_of_all_tokens_would(rows, weights):
    view = make_view(weights, rows)
    values = ask("attention_rollout", rows, view)
    np.testing.assert_allclose(values.sum((1, 2, 3)), 1, rtol=1e-5)
    volumes = torch.from_numpy(rows[:1])[:, None]
    product = torch.eye(1 + rows[0].size)
    for query, key in view.module.network.attention(volumes):
        weights = (query[0, 0] @ key[0, 0].T).softmax(-1)
        product = (weights + torch.eye(len(weights))) / 2 @ product
    row = product[0, 1:] / product[0, 1:].sum()
    np.testing.assert_allclose(values[0].ravel(), row.numpy(), rtol=1e-3, atol=1e-7)


def test_the_first_layer_tells_mean_and_entropy_of_each_map(rows, weights):
    (answer, *_) = attribution.attribute("first_layer", rows, make_view(weights, rows))
    assert answer.names == ("mean of map 1", "entropy of map 1")
    counts = np.histogram(rows[0], 256)[0]
    shares = counts[counts > 0] / counts.sum()
    expected = [rows[0].mean(), -(shares * np.log2(shares)).sum()]
    np.testing.assert_allclose(answer.values[0], expected, rtol=1e-5)


METHOD = '''
"""Slope of a linear model by differences: a method that nobody knew before."""
import numpy as np
from bids_sexclf.attribution import Answer

NEEDS, YIELDS, SCOPE, UNIT = {"evidence"}, "voxels", "participant", "evidence"
EXACT_ON_LINEAR = EXACT_ZERO = True


def attribute(rows, view, step=1.0):
    """Take each voxel out of its volume, one after the other."""
    for volume in rows:
        whole = view.evidence(volume[None])[0]
        values = np.zeros_like(volume)
        for place in np.ndindex(volume.shape):
            less = volume.copy()
            less[place] -= step * volume[place]
            values[place] = (whole - view.evidence(less[None])[0]) / step
        yield Answer(whole, values[None], np.array([], int))
'''

FILL = '''
"""Fill with the volume turned upside down."""
from bids_sexclf.fills import Replacement

CLAIMS, SAYS = False, "the volume upside down"


def prepare(tested, axis=-1):
    """Prepare the fill."""
    return lambda volume, row: [Replacement(volume[..., ::-1])]
'''


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Add a method and a fill, one file each in a folder of their own."""
    for package, text in ((attribution, METHOD), (fills, FILL)):
        folder = tmp_path / package.__name__.rpartition(".")[2]
        folder.mkdir()
        (folder / "newcomer.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield
    import sys

    for package in (attribution, fills):
        sys.modules.pop(f"{package.__name__}.newcomer", None)
        vars(package).pop("newcomer", None)


def test_a_method_and_a_fill_are_one_file_each(added, rows, weights):
    assert "newcomer" in catalogue.names("bids_sexclf.attribution")
    np.testing.assert_allclose(
        ask("newcomer", rows[:2], make_view(weights, rows)), weights * rows[:2], atol=1e-2
    )
    turned = ask("region_occlusion", rows, make_view(weights, rows, "newcomer"))
    mirrored = weights * (rows - rows[..., ::-1])
    np.testing.assert_allclose(turned[:, 1], mirrored[:, :2].sum((1, 2, 3)), atol=1e-3)
