"""What methods find inside the networks of the catalogue, and what is refused before training."""

import numpy as np
import pytest
import torch

from bids_sexclf import attribution, models
from bids_sexclf.attribution import View
from bids_sexclf.errors import InputError
from bids_sexclf.group.questions import check_choices
from bids_sexclf.settings import Study
from bids_sexclf.training.evidence import Evidence

GRID = (20, 18, 22)


def make_view(name, labels=None, fill=None, **options):
    """Make the view of a network with fresh weights, and two volumes."""
    torch.manual_seed(0)
    network = models.build(name, grid=GRID, **models.find(name).TINY | options)
    module = Evidence(network, np.float32(1), np.float32(2), 3.0, 2.0).eval()

    def evidence(volumes):
        with torch.no_grad():
            return module(torch.from_numpy(np.asarray(volumes))).double().numpy()

    rows = np.random.default_rng(0).standard_normal((2, *GRID)).astype(np.float32)
    return View(evidence, np.ones(GRID, bool), labels, fill, module), rows


def test_local_evidence_of_a_bagnet_sums_to_the_evidence_and_lies_at_its_place():
    view, rows = make_view("bagnet", norm="batch")
    answers = list(attribution.attribute("bagnet_local", rows, view))
    for answer in answers:
        assert answer.values.sum() == pytest.approx(answer.evidence, rel=1e-4)
    local = view.module.network.local(view.module.standardise(torch.from_numpy(rows)))
    centre = view.module.tell(local)[0, 1, 1, 1].item() / local[0, 0].numel()
    np.testing.assert_allclose(answers[0].values[0, 4:12, 4:12, 4:12], centre / 512, rtol=1e-4)
    changed = rows.copy()
    changed[:, :3, :3, :3] += 5  # beyond the receptive field of the last neighbourhood
    again = next(attribution.attribute("bagnet_local", changed, view)).values[0]
    np.testing.assert_allclose(again[12:, 12:, 12:], answers[0].values[0, 12:, 12:, 12:], rtol=1e-4)
    assert np.abs(again - answers[0].values[0]).max() > 1e-6


@pytest.mark.parametrize("views", ["sagittal", "three"])
def test_slabs_of_slices_average_to_the_evidence(views):
    view, rows = make_view("slice_resnet18", views=views)
    for answer in attribution.attribute("slice_confidence", rows, view):
        assert answer.values.mean() == pytest.approx(answer.evidence, rel=1e-4)
        assert answer.names[:2] == ("sagittal 0-2", "sagittal 3-5")
        assert answer.names[6] == "sagittal 18-19"
        assert len(answer.names) == (7 if views == "sagittal" else 7 + 6 + 8)


def test_slices_of_photographs_average_to_the_evidence():
    view, rows = make_view("imagenet2d")
    (answer, _) = attribution.attribute("slice_confidence", rows, view)
    assert answer.values.mean() == pytest.approx(answer.evidence, rel=1e-4)
    assert len(answer.names) == 2 and answer.names[0].startswith("axial ")


@pytest.mark.parametrize(("leftover", "pool"), [("drop", "class"), ("pad", "mean")])
def test_attention_lies_on_patches_and_voxels_that_are_not_seen_get_none(leftover, pool):
    view, rows = make_view("vit", leftover=leftover, pool=pool)
    (answer, _) = attribution.attribute("attention_rollout", rows, view)
    values = answer.values[0]
    assert values.sum() == pytest.approx(1, rel=1e-5) and (values >= 0).all()
    # Of 20 voxels patches of 8 see 16, or all in patches of 6, 8 and 6.
    assert (values[16:] > 0).all() == (leftover == "pad")
    first = 8 if leftover == "drop" else 6
    assert np.ptp(values[:first, 0, 0]) < 1e-9 and values[first, 0, 0] != values[0, 0, 0]


def test_first_layers_of_volumes_slices_and_patches_are_heard():
    for name, maps in (("slice_resnet18", 8), ("vit", 48), ("bagnet", 8)):
        view, rows = make_view(name)
        (one, _) = attribution.attribute("first_layer", rows, view)
        assert one.values.shape == (1, 2 * maps) and np.isfinite(one.values).all()


@pytest.mark.parametrize("views", ["sagittal", "three"])
def test_hiding_regions_gives_the_same_where_only_touched_slices_pass_again(views):
    from bids_sexclf.fills import Replacement

    labels = np.zeros(GRID, int)
    labels[3:5, 2:9], labels[10:12], labels[:, :, 20:] = 1, 2, 3
    view, rows = make_view(
        "slice_resnet18", labels, lambda v, row: [Replacement(0 * v)], views=views
    )
    study = Study()
    model = models.find("slice_resnet18").Classifier(study, views=views, width=8)
    model.module, model.grid, model.channels = view.module, GRID, 1
    passed = []
    backbone = view.module.network.backbone
    backbone.register_forward_pre_hook(lambda layer, given: passed.append(len(given[0])))
    whole = list(attribution.attribute("region_occlusion", rows, view))
    slow, passed[:] = sum(passed), []
    near = View(**vars(view) | {"near": model.near})
    fast = list(attribution.attribute("region_occlusion", rows, near))
    for one, other in zip(whole, fast, strict=True):
        np.testing.assert_allclose(other.values, one.values, rtol=1e-3, atol=1e-5)
        assert np.abs(one.values).min() > 1e-4
    assert sum(passed) < slow


def test_a_network_of_local_layers_answers_alike_where_only_what_sees_a_box_passes_again():
    torch.manual_seed(0)
    network = models.build("cnn3", grid=(30, 26, 23)).eval()
    for layer in network.features:  # a trained network's normalisation is not the identity
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.1)
    volumes = torch.randn(6, 1, 30, 26, 23)
    volumes[1:] = volumes[0]
    volumes[1, :, 3:6, 4:9, 5:6] += 1
    volumes[2, :, 29:, 25:, 22:] += 9
    volumes[3, :, :1, :1, :1] += 9
    volumes[4] += 1
    with torch.inference_mode():
        answers = network.near(volumes[:1])(volumes)
        torch.testing.assert_close(answers, network(volumes), rtol=1e-4, atol=1e-5)
    # The last voxels along each axis are beyond what three poolings keep; the first are not.
    assert (answers[[0, 2, 5]] == answers[0]).all() and (answers[[1, 3, 4]] != answers[0]).all()


@pytest.mark.parametrize(
    ("method", "model", "words"),
    [
        ("bagnet_local", "cnn3", "'bagnet_local' of 'cnn3' needs a network whose evidence"),
        ("slice_confidence", "resnet10", "needs a network of slices"),
        ("attention_rollout", "bagnet", "needs a transformer"),
        ("guided_backprop", "vit", "needs a network with rectifiers"),
        ("integrated_gradients", "svm_rbf", "needs a model with gradients"),
    ],
)
def test_a_method_that_a_model_cannot_answer_is_refused_before_training(method, model, words):
    check_choices(Study(models=["bagnet", "cnn3"], attributions=["guided_backprop"]))
    with pytest.raises(InputError, match=words):
        check_choices(Study(models=[model], attributions=[method]))


@pytest.mark.parametrize(
    ("method", "model"),
    [
        ("bagnet_local", "bagnet"),
        ("slice_confidence", "slice_resnet18"),
        ("attention_rollout", "vit"),
        ("first_layer", "vit"),
        ("region_occlusion", "svm_rbf"),
    ],
)
def test_a_method_that_a_model_can_answer_is_accepted(method, model):
    check_choices(Study(models=[model], attributions=[method]))
