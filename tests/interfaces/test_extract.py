"""Brain extraction and registration for real, on a head whose brain is known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from bids_sexclf.anatomy.opinions import Evidence
from bids_sexclf.anatomy.turns import list_turns
from bids_sexclf.errors import InputError
from bids_sexclf.interfaces import extract as module
from bids_sexclf.interfaces.ants import Carry, to_matrix
from bids_sexclf.interfaces.extract import ExtractBrain
from bids_sexclf.interfaces.greedy import Deform, template_for
from bids_sexclf.interfaces.masks import Candidate, Pair
from bids_sexclf.phantom.signal import T1W
from bids_sexclf.phantom.template import make_head
from bids_sexclf.volumes import load, save

STEP = 2


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Write a template's head, brain and mask, and a scan that is the head, bent and turned."""
    folder, head = tmp_path_factory.mktemp("heads"), make_head()
    # The phantom keeps what lies around brain and fluid apart from them.
    t1w = head.t1w + sum(T1W[tissue] * getattr(head, tissue) for tissue in T1W)
    t1w, brain = (np.asarray(a, np.float32)[::STEP, ::STEP, ::STEP] for a in (t1w, head.brain))
    affine = head.affine @ np.diag([STEP] * 3 + [1.0])
    mask = brain > 0.5
    rng = np.random.default_rng(0)
    field = [ndimage.gaussian_filter(rng.normal(size=t1w.shape), 8) for _ in range(3)]
    where = np.indices(t1w.shape) + [2.5 * part / np.abs(part).max() for part in field]
    turn, middle = _rotation(4), np.array(t1w.shape)[:, None, None, None] / 2
    where = np.einsum("ij,jxyz->ixyz", turn, where - middle) + middle
    bent = ndimage.map_coordinates(t1w, where, order=1)
    truth = ndimage.map_coordinates(mask.astype(np.float32), where, order=1) > 0.5
    noisy = np.maximum(bent + rng.normal(0, 0.01 * bent.max(), bent.shape), 0)
    files = {"head": t1w, "mask": mask, "brain": t1w * mask, "scan": noisy, "truth": truth}
    for name, array in files.items():
        save(array, affine, folder / f"{name}.nii.gz")
        files[name] = str(folder / f"{name}.nii.gz")
    return files


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    """Write a head of three ellipsoids that is its own template: quick to register."""
    folder = tmp_path_factory.mktemp("balls")
    axes = np.indices((40, 40, 40)) - 19.5
    radius = np.sqrt(
        sum(axis**2 * weight for axis, weight in zip(axes, (1, 0.8, 1.2), strict=True))
    )
    brain, skin = radius < 13, (radius > 15) & (radius < 17)
    head = 100.0 * brain + 30 * (brain & (axes[0] > 3)) + 80 * skin
    head += np.abs(np.random.default_rng(0).normal(0, 1, head.shape))
    affine = np.diag([4.0, 4, 4, 1])
    files = {"head": head, "scan": head, "mask": brain, "truth": brain, "brain": head * brain}
    for name, array in files.items():
        save(array, affine, folder / f"{name}.nii.gz")
    return {name: str(folder / f"{name}.nii.gz") for name in files}


def _rotation(degrees):
    angle = np.deg2rad(degrees)
    return np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )


def extract(places, folder, scan="scan", **choices):
    node = ExtractBrain(
        in_file=places[scan], head=places["head"], head_mask=places["mask"],
        brain=places["brain"], recipe="sloppy", **choices,
    )  # fmt: skip
    return node.run(cwd=str(folder)).outputs


@pytest.fixture(scope="module")
def found(places, tmp_path_factory):
    return extract(places, tmp_path_factory.mktemp("extract"))


@pytest.fixture(scope="module")
def registered(places, found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deform")
    node = Deform(
        in_file=found.out_file, fixed=places["brain"], initial=found.affine, recipe="sloppy"
    )
    return node.run(cwd=str(folder)).outputs


def overlap(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_the_mask_is_the_known_brain(places, found):
    mask, truth = load(found.mask_file)[0] > 0, load(places["truth"])[0] > 0
    assert overlap(mask, truth) > 0.96


def test_the_sidecar_says_what_the_mask_means(found):
    about = json.loads(open(found.about).read())
    assert about["t1w"] == {"SkullStripped": False}
    assert about["mask"]["Description"].startswith("All that lies within the skull")


def test_the_evidence_is_that_of_a_plausible_brain(found):
    told = json.loads(open(found.evidence).read())
    assert told["mask_engine"] == "deepbet" and told["mask_turned_degrees"] == 0
    assert told["mask_opinions_overlap"] > 0.9 and told["mask_symmetry"] > 0.92
    assert told["mask_template_overlap"] > 0.9 and told["mask_template_agreement"] > 0.5


def evidence(**numbers):
    plausible = dict(
        volume_ml=1400.0, template_overlap=0.95, template_agreement=0.7, symmetry=0.97,
        stretch=1.1, cut_cm2=0.0,
    )  # fmt: skip
    return Evidence(**plausible | numbers)


def pair(agreed, first, second, turned=0.0):
    """Give two opinions by their evidence; masks do not matter here."""
    mask = np.ones((2, 2, 2), bool)
    candidates = [
        Candidate(name, mask, np.eye(4), found)
        for name, found in (("deepbet", first), ("template", second))
    ]
    return Pair(*candidates, agreed, turned)


def decide(monkeypatch, *pairs):
    """Let engines give pair after pair, and decide; give also how many were asked for."""
    asked = []

    def ask(engines, first, t1w, affine, turn=None):
        asked.append(turn)
        return pairs[len(asked) - 1]

    monkeypatch.setattr(module, "ask", ask)
    engines = SimpleNamespace(likely_turns=lambda *scan: list_turns()[1 : len(pairs)])
    chosen = module.find(engines, "deepbet", np.ones((2, 2, 2)), np.eye(4))
    return *chosen, len(asked)


GOOD, BAD = evidence(), evidence(template_overlap=0.7, template_agreement=0.1)


def test_two_opinions_that_agree_on_a_plausible_brain_are_believed(monkeypatch):
    first = pair(0.95, GOOD, GOOD)
    assert decide(monkeypatch, first, pair(0, BAD, BAD)) == (first.first, first, 1)


def test_where_they_disagree_the_head_is_turned(monkeypatch):
    pairs = [pair(0.6, BAD, BAD), pair(0.5, BAD, BAD, 90), pair(0.95, GOOD, GOOD, 180)]
    chosen, taken, asked = decide(monkeypatch, *pairs, pair(0.9, GOOD, GOOD))
    assert chosen is pairs[2].first and taken.turned_degrees == 180 and asked == 3


def test_a_head_that_lies_right_is_not_turned_for_nothing(monkeypatch):
    cut = pair(0.95, evidence(cut_cm2=87.0), evidence(cut_cm2=98.0))
    with pytest.raises(InputError, match="in 1 orientation; .*87 cm2"):
        decide(monkeypatch, cut, pair(0.95, GOOD, GOOD))


def test_a_second_opinion_that_agrees_well_is_believed_alone(monkeypatch):
    pairs = [pair(0.6, BAD, GOOD), pair(0.5, BAD, BAD, 90)]
    assert decide(monkeypatch, *pairs)[0] is pairs[0].second


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([pair(0.6, BAD, BAD), pair(0.5, BAD, BAD)], "0.70 .needed at least 0.90"),
        # They agree, but on no whole brain.
        ([pair(0.95, evidence(cut_cm2=150.0), GOOD)], "cut off .* 150 cm2 .needed at most 40"),
        ([pair(0.95, evidence(volume_ml=2500.0), BAD)], "volume 2500 mL .needed at most 2200"),
        # They disagree, and neither agrees well enough with the template to be believed alone.
        ([pair(0.6, evidence(template_agreement=0.4), BAD)], "deepbet with template 0.60"),
    ],
)
def test_what_looks_like_no_brain_is_refused_with_its_numbers(monkeypatch, pairs, told):
    if "cut off" in told:
        pairs = [Pair(pairs[0].first, pairs[0].first, 0.95)]
    with pytest.raises(InputError, match=told) as refused:
        decide(monkeypatch, *pairs)
    assert "Look at the scan" in str(refused.value)


def test_what_is_carried_to_the_template_lies_on_it(places, registered, tmp_path):
    def carry(path, reference, transform, **options):
        node = Carry(in_files=[path], reference=reference, transforms=[transform], **options)
        return load(node.run(cwd=str(tmp_path)).outputs.out_files)[0]

    there = carry(places["truth"], places["brain"], registered.forward, threshold=True) > 0
    assert overlap(there, load(places["mask"])[0] > 0) > 0.96
    back = carry(places["mask"], places["scan"], registered.inverse, threshold=True) > 0
    assert overlap(back, load(places["truth"])[0] > 0) > 0.96


def test_a_stripped_scan_is_taken_as_it_is(balls, tmp_path):
    taken = extract(balls, tmp_path, "brain")
    # Opening takes the few voxels that stick out of a ball on a grid.
    assert overlap(load(taken.mask_file)[0] > 0, load(balls["truth"])[0] > 0) > 0.99
    assert json.loads(open(taken.about).read())["t1w"] == {"SkullStripped": True}


def test_one_seed_gives_one_result_with_one_thread_or_two(places, found, tmp_path):
    warps = []
    for threads in (1, 1, 2):
        folder = tmp_path / str(len(warps))
        folder.mkdir()
        node = Deform(
            in_file=found.out_file, fixed=places["brain"], initial=found.affine,
            recipe="sloppy", threads=threads, seed=7,
        )  # fmt: skip
        warps.append((folder, node.run(cwd=str(folder)).outputs.forward))
    carried = []
    for folder, warp in warps:
        node = Carry(in_files=[found.out_file], reference=places["brain"], transforms=[warp])
        carried.append(load(node.run(cwd=str(folder)).outputs.out_files)[0])
    np.testing.assert_array_equal(carried[0], carried[1])
    np.testing.assert_allclose(carried[0], carried[2], atol=1e-5 * carried[0].max())


def test_the_matrix_of_a_linear_transform_moves_points_as_ants_does(found):
    import ants

    transform = ants.read_transform(found.affine)
    point = np.array([10.0, -20.0, 30.0])
    flip = np.array([-1, -1, 1])
    moved = to_matrix(transform) @ np.append(point, 1)
    np.testing.assert_allclose(
        moved[:3], flip * transform.apply_to_point((flip * point).tolist()), atol=1e-4
    )


def test_a_template_is_worked_on_at_the_voxel_size_of_the_recipe(balls, tmp_path):
    held = load(balls["brain"])
    for recipe, size in (("accurate", 1.0), ("fast", 4.0), ("sloppy", 4.0)):
        found, affine = load(template_for(recipe, balls["brain"], tmp_path))
        np.testing.assert_allclose(np.abs(np.diag(affine)[:3]), size)
        step = round(4 / size)
        # The template's own voxels lie among the finer ones, with their values.
        np.testing.assert_allclose(found[::step, ::step, ::step], held[0], rtol=1e-5)
        np.testing.assert_allclose(affine[:3, 3], held[1][:3, 3])


def test_bet_is_called_where_it_is_asked_for(balls, programs, tmp_path):
    record = programs(
        robustfov=(
            "import shutil\n"
            "given = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
            "shutil.copy(given['-i'], given['-r'])\n"
            "Path(given['-m']).write_text('1 0 0 0\\n0 1 0 0\\n0 0 1 0\\n0 0 0 1\\n')"
        ),
        bet=(
            "import nibabel as nib\n"
            "image = nib.load(sys.argv[1])\n"
            f"truth = nib.load({balls['truth']!r})\n"
            "nib.save(image, sys.argv[2])\n"
            "nib.save(truth, sys.argv[2].replace('.nii.gz', '_mask.nii.gz'))"
        ),
    )
    found = extract(balls, tmp_path, method="bet", skull_strip="force")
    np.testing.assert_array_equal(load(found.mask_file)[0] > 0, load(balls["truth"])[0] > 0)
    assert [json.loads(line)[0] for line in record.read_text().splitlines()] == ["robustfov", "bet"]
    assert "bet" in json.loads(open(found.about).read())["mask"]["Description"]
