"""Networks of the papers: published sizes, what each one sees, and weights of others."""

import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bids_sexclf import models
from bids_sexclf.errors import InputError
from bids_sexclf.models._slices import in_chunks, slabs
from bids_sexclf.settings import Study
from bids_sexclf.training import weight_files

GRID = (32, 32, 32)


def count(network):
    return sum(weights.numel() for weights in network.parameters())


def spread_statistics(network):
    """Give every weight and every running statistic a value of its own."""
    for name, value in network.state_dict().items():
        if value.dtype == torch.float32:
            low = 0.5 if name.endswith(("running_var", "weight")) and value.ndim == 1 else -0.1
            nn.init.uniform_(value, low, low + 1 if low > 0 else 0.1)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "options", "published"),
    [
        ("slice_resnet18", {}, 11_207_233),
        ("slice_resnet18", {"grid": (180, 224, 224), "outputs": 1}, 11_176_512 + 30_721),
        ("resnet10", {}, 14_356_546),
        ("resnet10", {"norm": "batch"}, 14_356_546),
        ("vit", {}, 24_144_002),
        ("vit", {"pool": "mean"}, 24_144_002),
        ("vit", {"grid": (182, 224, 224), "outputs": 1}, 24_143_232 + 385),
        ("cnn3", {"grid": (58, 70, 58)}, 322_818),
        ("sfcn", {}, 2_918_144),
        ("bagnet", {"receptive_field": 9}, 3_509_282),
        ("bagnet", {"receptive_field": 17}, 3_935_266),
        ("bagnet", {"receptive_field": 33}, 5_639_202),
        ("bagnet", {"receptive_field": 177}, 11_549_730),
        ("bagnet", {"receptive_field": 9, "outputs": 1}, 3_508_257),
        ("bagnet", {"receptive_field": 17, "outputs": 1}, 3_934_241),
        ("bagnet", {"receptive_field": 33, "outputs": 1}, 5_638_177),
        ("bagnet", {"receptive_field": 177, "outputs": 1}, 11_548_705),
        ("bagnet", {"receptive_field": 33, "norm": "batch"}, 5_639_202),
    ],
)
def test_published_number_of_parameters(name, options, published):
    with torch.device("meta"):
        assert count(models.build(name, **options)) == published


# Slices


def test_slabs_hold_neighbouring_slices_of_each_map_in_order():
    volumes = torch.arange(2 * 2 * 6 * 3 * 4.0).reshape(2, 2, 6, 3, 4)
    cut = slabs(volumes, 0, 3)
    assert cut.shape == (2, 2, 6, 3, 4)
    torch.testing.assert_close(cut[1, 1, 4], volumes[1, 1, 4])  # second slab, second map, middle
    along = slabs(volumes, 2, 2)
    torch.testing.assert_close(along[0, 1, 3], volumes[0, 1, :, :, 3])


def test_slices_beyond_the_last_whole_slab_are_kept_and_the_outermost_repeated():
    volumes = torch.arange(7.0).reshape(1, 1, 7, 1, 1)
    assert slabs(volumes, 0, 3).flatten().tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 6]
    assert slabs(volumes[:, :, :5], 0, 3).flatten().tolist() == [0, 1, 2, 3, 4, 4]


def test_chunks_hold_no_more_than_asked_for_and_change_nothing():
    sizes = []

    def square(images):
        sizes.append(len(images))
        return images**2

    images = torch.arange(7.0)
    torch.testing.assert_close(in_chunks(square, images, 3), images**2)
    assert sizes == [3, 3, 1]


def test_slices_in_chunks_answer_as_all_at_once(monkeypatch):
    entry = models.find("slice_resnet18")
    network = spread_statistics(models.build("slice_resnet18", grid=GRID, width=8))
    volumes = torch.randn(2, 1, *GRID)
    with torch.no_grad():
        chunked = network(volumes)
        monkeypatch.setattr(entry, "CHUNK", None)
        torch.testing.assert_close(chunked, network(volumes))


def test_three_views_read_all_axes_and_sagittal_reads_one_slab_per_three_slices():
    grid = (9, 33, 40)
    sizes = {}
    for views in ("sagittal", "three"):
        network = models.build("slice_resnet18", grid=grid, views=views, width=8).eval()
        sizes[views] = network.head.in_features
        with torch.no_grad():
            assert network(torch.zeros(1, 1, *grid)).shape == (1, 1)
    assert sizes == {"sagittal": 3 * 64, "three": (3 + 11 + 14) * 64}


def test_slabs_share_one_network_and_keep_their_place():
    network = spread_statistics(models.build("slice_resnet18", grid=GRID, width=8))
    volume = torch.zeros(1, 1, *GRID)
    volume[:, :, 6:9] = torch.randn(3, 32, 32)  # slabs 0-2, 3-5 and so on after one slice is added
    moved = torch.roll(volume, 3, 2)
    features = []
    network.head.register_forward_pre_hook(lambda head, given: features.append(given[0]))
    with torch.no_grad():
        network(volume), network(moved)
    here, there = (found.reshape(11, 64) for found in features)
    torch.testing.assert_close(here[:-1], there[1:])


@pytest.mark.parametrize("name", ["slice_resnet18", "resnet10"])
@pytest.mark.parametrize("norm", [{}, {"norm": "batch"}])
def test_recomputed_activations_change_neither_gradients_nor_running_statistics(name, norm):
    if name == "slice_resnet18" and norm:
        pytest.skip("it has one normalisation")
    groups = {} if name == "slice_resnet18" else {"groups": 4}
    volumes, states = torch.randn(2, 1, *GRID), []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        options = {"grid": GRID, "width": 8, "checkpoint": checkpoint} | groups | norm
        network = models.build(name, **options).train()
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            network(volumes).square().sum().backward()
            optimizer.step()
        states.append(network.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


# Weights of others


def test_resnet18_of_torchvision_gives_the_same_features(tmp_path):
    import torchvision

    theirs = spread_statistics(torchvision.models.resnet18())
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "resnet18.pth")
    network = models.build("slice_resnet18", grid=GRID, weights=tmp_path / "resnet18.pth").eval()
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.backbone(images), theirs(images))


@pytest.fixture
def medicalnet(tmp_path):
    """Weights under MedicalNet's names, with the part for segmentation, and their network."""
    theirs = spread_statistics(models.build("resnet10", norm="batch", width=64))
    state = {
        f"module.{name.replace('norm', 'bn')}": value
        for name, value in theirs.backbone.state_dict().items()
    }
    assert {"module.bn1.running_mean", "module.layer3.0.downsample.1.weight"} <= set(state)
    torch.save({"state_dict": state | {"module.conv_seg.0.weight": torch.ones(3)}}, tmp_path / "x")
    return tmp_path / "x", theirs


def test_medicalnet_weights_are_taken_whole_with_batch_normalisation(medicalnet):
    path, theirs = medicalnet
    network = models.build("resnet10", norm="batch", weights=path).eval()
    volumes = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network.backbone(volumes), theirs.backbone(volumes))


def test_medicalnet_weights_are_taken_without_statistics_with_group_normalisation(medicalnet):
    path, theirs = medicalnet
    state = models.build("resnet10", weights=path).backbone.state_dict()
    assert all(torch.equal(state[name], theirs.backbone.state_dict()[name]) for name in state)


def test_resnet10_dilates_where_others_stride():
    network = models.build("resnet10", width=8, groups=4).eval()
    shapes = []
    network.backbone.layer4.register_forward_hook(lambda *call: shapes.append(call[2].shape))
    with torch.no_grad():
        network(torch.zeros(1, 1, 64, 48, 40))
    assert shapes == [(1, 64, 8, 6, 5)]
    blocks = [network.backbone.get_submodule(f"layer{stage}.0") for stage in range(1, 5)]
    assert [block.conv1.dilation[0] for block in blocks] == [1, 1, 2, 4]
    assert [block.conv1.stride[0] for block in blocks] == [1, 2, 1, 1]


def test_weights_that_do_not_fit_are_named(medicalnet):
    with pytest.raises(InputError, match=r"conv1.weight .*64, 1, 7.*instead of .*64, 2, 7"):
        models.build("resnet10", channels=2, weights=medicalnet[0])


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_a_file_that_would_run_code_is_refused_and_nothing_runs(tmp_path):
    trap = Trap(tmp_path / "sprung")
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(trap, protocol=2))
    torch.save({"conv1.weight": torch.ones(1), "more": trap}, tmp_path / "trap2.pth")
    for name in ("trap.pth", "trap2.pth"):
        with pytest.raises(InputError, match="state_dict"):
            weight_files.read(tmp_path / name)
    assert not trap.folder.exists()
    pickle.loads((tmp_path / "trap.pth").read_bytes())
    assert trap.folder.exists()


def test_a_saved_network_needs_the_weights_it_started_from_no_more(tmp_path):
    start = tmp_path / "start.pth"
    torch.save(models.build("sfcn", widths=(4, 8)).state_dict(), start)
    options = {"widths": [4, 8], "weights": str(start)}
    volumes = np.random.default_rng(0).normal(size=(6, 8, 8, 8)).astype(np.float32)
    target = np.tile([0, 1], 3)
    entry = models.find("sfcn")
    fitted = entry.Classifier(Study(epochs=1), **options).fit(
        volumes, target, (volumes, target), seed=0
    )
    fitted.save(tmp_path)
    start.unlink()
    loaded = entry.Classifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.evidence(volumes), fitted.evidence(volumes))


# SFCN


def test_sfcn_has_the_names_of_the_released_weights():
    parts = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    released = {f"feature_extractor.conv_{index}.{part}" for index in range(6) for part in parts}
    released |= {"classifier.conv_6.weight", "classifier.conv_6.bias"}
    with torch.device("meta"):
        state = models.build("sfcn").state_dict()
    assert {name for name in state if "tracked" not in name} == released


def test_sfcn_is_convolution_normalisation_pooling_and_rectification(tmp_path):
    state = spread_statistics(models.build("sfcn")).state_dict()
    released = {f"module.{name}": value for name, value in state.items() if "tracked" not in name}
    torch.save(released, tmp_path / "released.p")
    network = models.build("sfcn", grid=(64, 32, 32), weights=tmp_path / "released.p").eval()
    volumes = torch.rand(2, 1, 64, 32, 32)
    maps = volumes
    for index in range(6):
        at = f"feature_extractor.conv_{index}."
        maps = functional.conv3d(
            maps, state[f"{at}0.weight"], state[f"{at}0.bias"], padding=1 if index < 5 else 0
        )
        maps = functional.batch_norm(
            maps,
            *(state[f"{at}1.{of}"] for of in ("running_mean", "running_var", "weight", "bias")),
        )
        maps = (functional.max_pool3d(maps, 2) if index < 5 else maps).relu()
    features = maps.mean((2, 3, 4))
    weight = state["classifier.conv_6.weight"].flatten(1)
    expected = features @ weight.T + state["classifier.conv_6.bias"]
    with torch.no_grad():
        torch.testing.assert_close(network(volumes), expected)


def test_sfcn_refuses_grids_that_five_poolings_leave_nothing_of():
    with pytest.raises(InputError, match="at least 32"):
        models.build("sfcn", grid=(31, 40, 40))
    models.build("sfcn", grid=(8, 8, 8), widths=(4, 8, 8, 8))


# BagNet


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_mean_of_the_local_outputs_is_the_output(norm):
    torch.manual_seed(0)
    network = models.build("bagnet", receptive_field=17, norm=norm)
    volumes = torch.randn(2, 1, 35, 24, 40)
    with torch.no_grad():
        network.train()(volumes)
        network.eval()
        local = network.local(volumes)
        assert local.shape == (2, 2, 5, 3, 5)
        assert (local.mean((2, 3, 4)) - network(volumes)).abs().max() < 1e-6


def reach(receptive_field, norm, length):
    """Give first and last voxel, along one axis, on which the middle local output depends."""
    network = models.build("bagnet", receptive_field=receptive_field, norm=norm, width=4).eval()
    for weights in network.parameters() if norm == "batch" else ():
        # Means of positive numbers: no rectifier closes, so no path is lost.
        nn.init.constant_(weights, 1 / max(1, weights[0].numel()))
    volume = torch.rand(1, 1, length, 9, 9).requires_grad_()
    local = network.local(volume)
    middle = local.shape[2] // 2
    local[0, 0, middle, 1, 1].backward()
    touched = volume.grad[0, 0].abs().amax((1, 2)).nonzero().flatten()
    return touched[0].item() - 8 * middle, touched[-1].item() - 8 * middle


@pytest.mark.parametrize("extent", [9, 17, 33, 177])
def test_local_output_depends_on_its_receptive_field_and_on_nothing_else(extent):
    assert reach(extent, "batch", 8 * 25) == (-(extent // 2), extent // 2)


def test_instance_normalisation_makes_a_local_output_depend_on_everything():
    length = 64
    first, last = reach(9, "instance", length)
    assert last - first + 1 == length


@pytest.mark.parametrize(
    "options", [{"receptive_field": 10}, {"norm": "layer"}, {"grid": (8, 9, 9)}]
)
def test_bagnet_refuses_what_it_cannot_be(options):
    with pytest.raises(InputError, match="needed"):
        models.build("bagnet", **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("slice_resnet18", {"views": "two"}),
        ("resnet10", {"norm": "layer"}),
        ("resnet10", {"groups": 7}),
    ],
)
def test_unknown_options_of_the_residual_networks_list_the_known(name, options):
    with pytest.raises(InputError, match="needed"):
        models.build(name, **options)
