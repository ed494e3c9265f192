"""Photographs' networks on slices: what they are shown, what learns, where weights come from."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bids_sexclf import models
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.models.imagenet2d import BACKBONES, choose_slices, scale

TINY = {"backbone": "resnet10t", "weights": "none", "slices": 3, "size": 32}
GRID = (20, 24, 22)


def build(**options):
    torch.manual_seed(0)
    return models.build("imagenet2d", **({"grid": GRID} | TINY | options))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones_of_the_papers_are_there_and_spoil_no_gradient(backbone):
    network = build(backbone=backbone, slices=1, size=75).eval()
    calls = []
    for part in network.modules():
        assert not getattr(part, "inplace", False)
        if isinstance(part, (torch.nn.ReLU, torch.nn.SiLU)):
            part.register_forward_hook(lambda part, inputs, output: calls.append(id(part)))
    volumes = torch.randn(1, 1, *GRID, requires_grad=True)
    network(volumes).sum().backward()
    assert len(calls) == len(set(calls)) > 0
    assert torch.isfinite(volumes.grad).all() and volumes.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("backbone", "size"), [("resnet50", 224), ("efficientnet_b1", 240), ("inception_v3", 299)]
)
def test_images_have_the_size_and_the_scale_the_backbone_was_trained_on(backbone, size):
    import timm

    known = timm.get_pretrained_cfg(backbone)
    network = build(backbone=backbone, slices=1, size=None)
    images = network.images(torch.zeros(1, 1, *GRID))
    assert images.shape == (1, 1, 3, size, size)
    black = [-mean / std for mean, std in zip(known.mean, known.std, strict=True)]
    torch.testing.assert_close(images[0, 0, :, 0, 0], torch.tensor(black))


def test_participants_logit_is_the_mean_of_its_slices():
    network, volumes = build().eval(), torch.randn(2, 1, *GRID)
    with torch.no_grad():
        slices = network.slice_logits(volumes)
        assert slices.shape == (2, 3, 2)
        torch.testing.assert_close(network(volumes), slices.mean(1))


def test_a_slice_speaks_for_itself_alone():
    network, volumes = build().eval(), torch.rand(1, 1, *GRID)
    other = volumes.clone()
    other[..., network.indices[1]] = other[..., network.indices[1]].flip(2)  # same percentiles
    with torch.no_grad():
        changed = (network.slice_logits(volumes) - network.slice_logits(other)).abs().sum(-1)[0]
    assert (changed > 1e-6).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("view", "expected"),
    [("axial", (0, 1)), ("coronal", (0, 1)), ("sagittal", (0, 1))],
)
def test_slices_stand_upright(view, expected):
    network = build(view=view, slices=1, extent=(0.5, 0.5), size=24)
    axis = network.axis
    volume = torch.zeros(1, 1, 24, 24, 24)
    others = [other for other in range(3) if other != axis]
    # Bright at the far end of both axes: to the right, or in front, and on top.
    corner = [slice(None)] * 3
    corner[others[0]] = corner[others[1]] = slice(18, 24)
    volume[(0, 0, *corner)] = 1
    image = network.images(volume)[0, 0, 0]
    bright = (image > image.mean()).nonzero()
    assert bright[:, 0].max() < 12 and bright[:, 1].min() >= 12  # upper right of the image


def test_maps_are_scaled_between_percentiles_of_each_participant():
    rng = np.random.default_rng(0)
    volumes = rng.normal(100, 20, (2, 2, 10, 10, 11)).astype(np.float32)
    scaled = scale(torch.from_numpy(volumes)).numpy()
    for row in range(2):
        for channel in range(2):
            voxels = volumes[row, channel]
            low, high = np.percentile(voxels, [0.5, 99.5], method="nearest")
            expected = np.clip((voxels - low) / (high - low), 0, 1)
            np.testing.assert_allclose(scaled[row, channel], expected, atol=1e-5)


def test_neither_unit_nor_offset_of_a_map_matters():
    network, volumes = build().eval(), torch.randn(1, 1, *GRID)
    with torch.no_grad():
        torch.testing.assert_close(
            network(volumes), network(1000 * volumes + 300), rtol=1e-3, atol=1e-4
        )
    assert torch.equal(scale(torch.full((1, 1, 2, 2, 2), 5.0)), torch.zeros(1, 1, 2, 2, 2))


def test_frozen_backbone_learns_nothing_and_keeps_its_statistics():
    network = build(frozen=True).train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), 0.1, weight_decay=0.1)
    network(torch.randn(4, 1, *GRID)).sum().backward()
    optimizer.step()
    after = network.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert network.head.weight.grad.abs().sum() > 0
    assert build().train().backbone.training


def test_weights_from_a_file_are_timms_own(tmp_path):
    import timm

    torch.manual_seed(1)
    theirs = timm.create_model("resnet10t").eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        for name in ("theirs.pth", "theirs.safetensors"):
            own = build(weights=tmp_path / name).eval()
            torch.testing.assert_close(own.features(images), expected)


def test_weights_that_are_not_there_or_not_the_backbones_are_refused(tmp_path):
    with pytest.raises(InputError, match="absent.pth"):
        build(weights=tmp_path / "absent.pth")
    torch.save({"fc.weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="other.pth.*resnet10t"):
        build(weights=tmp_path / "other.pth")


def test_without_the_hub_one_is_told_what_to_do(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ToolError, match="timm/resnet50.a1_in1k.*HF_HOME.*weights to 'none'"):
        build(backbone="resnet50", weights="imagenet")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_maps_is_shown(channels):
    network = build(channels=channels).eval()
    with torch.no_grad():
        assert network(torch.randn(2, channels, *GRID)).shape == (2, 2)


def test_a_backbone_that_gives_no_maps_is_refused():
    network = build(backbone="test_vit")
    with pytest.raises(InputError, match="convolutional"):
        network(torch.zeros(1, 1, *GRID))


def test_unknown_backbones_views_and_ranges_are_refused():
    for options in (
        {"backbone": "resnet51"},
        {"view": "top"},
        {"slices": 0},
        {"extent": (0.8, 0.2)},
    ):
        with pytest.raises(InputError, match="needed"):
            build(**options)


@pytest.mark.parametrize(
    ("n_slices", "count", "extent", "expected"),
    [
        (11, 3, (0, 1), [0, 5, 10]),
        (11, 1, (0, 1), [5]),
        (101, 4, (0.2, 0.8), [20, 40, 60, 80]),
        (4, 99, (0, 1), [0, 1, 2, 3]),
    ],
)
def test_slices_are_evenly_spaced_and_taken_once(n_slices, count, extent, expected):
    assert choose_slices(n_slices, count, extent) == expected
