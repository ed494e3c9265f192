import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_sexclf.interfaces import diffusion as shell
from bids_sexclf.volumes import load, save


@pytest.mark.parametrize("flip", [1, -1])
def test_a_turned_head_has_its_gradients_turned_back(flip):
    affine = np.diag([2.0 * flip, 2, 2, 1])
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    gradient = np.array([[1.0, 0, 0]])
    turned = shell.turn_gradients(gradient, turn[None], affine)
    # In FSL's frame the first axis is mirrored where the determinant is positive.
    axes = np.diag([-1.0 if flip > 0 else 1.0, 1, 1]) @ np.diag([flip, 1, 1])
    world = axes @ turned[0]
    np.testing.assert_allclose(world, turn.T @ (axes @ gradient[0]), atol=1e-12)


def test_no_rotation_changes_no_gradient():
    bvecs = Rotation.random(7, random_state=0).as_matrix()[:, 0]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=1).as_matrix() * 2.5
    same = shell.turn_gradients(bvecs, np.repeat(np.eye(3)[None], 7, 0), affine)
    np.testing.assert_allclose(same, bvecs, atol=1e-12)


def test_displacement_of_a_shift_is_its_length():
    moved = np.eye(4)
    moved[:3, 3] = (3, 4, 0)
    assert shell.displacement(np.eye(4), moved, np.zeros(3)) == pytest.approx(5)


def test_displacement_of_a_turn_is_the_mean_over_the_sphere():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 2, degrees=True).as_matrix()
    points = np.random.default_rng(0).normal(size=(200_000, 3))
    radius = 50 * np.random.default_rng(1).random((200_000, 1)) ** (1 / 3)
    points = points / np.linalg.norm(points, axis=1, keepdims=True) * radius
    moved = points @ turn[:3, :3].T - points
    truth = np.sqrt((moved**2).sum(1).mean())
    assert shell.displacement(np.eye(4), turn, np.zeros(3)) == pytest.approx(truth, rel=0.01)


def test_gradients_are_read_in_rows_and_in_columns(tmp_path):
    bvecs = np.vstack([np.full(3, np.nan), np.eye(3)])
    np.savetxt(tmp_path / "a.bval", [[0, 1000, 1000, 1000]])
    for name, table in (("rows", bvecs.T), ("columns", bvecs)):
        np.savetxt(tmp_path / name, table)
        bvals, read = shell.read_gradients(tmp_path / "a.bval", tmp_path / name)
        np.testing.assert_array_equal(read, np.nan_to_num(bvecs))
        assert bvals.tolist() == [0, 1000, 1000, 1000]


@pytest.fixture(scope="module")
def moved_head(tmp_path_factory):
    """Write a synthetic head's series in which every third volume is turned by six degrees."""
    from scipy.ndimage import affine_transform

    from bids_sexclf.phantom.dataset import write_dataset
    from bids_sexclf.phantom.options import PhantomOptions

    root = tmp_path_factory.mktemp("moved") / "bids"
    write_dataset(root, PhantomOptions(participants=2, seed=2, shells=(1000,)))
    stem = root / "sub-001" / "dwi" / "sub-001_dwi"
    still = stem.with_suffix(".nii.gz")
    data, affine = load(still)
    turn = Rotation.from_euler("z", 6, degrees=True).as_matrix()
    middle = np.array(data.shape[:3]) / 2
    for index in range(2, data.shape[3], 3):
        data[..., index] = affine_transform(data[..., index], turn, middle - turn @ middle, order=1)
    save(data, affine, stem.with_name("moved.nii.gz"))
    given = {"bval": str(stem.with_suffix(".bval")), "bvec": str(stem.with_suffix(".bvec"))}
    return {"still": str(still), "moved": str(stem.with_name("moved.nii.gz"))} | given


@pytest.mark.parametrize("which", ["still", "moved"])
def test_alignment_finds_how_far_the_head_moved(moved_head, tmp_path, monkeypatch, which):
    monkeypatch.chdir(tmp_path)
    align = shell.AlignVolumes(
        in_file=moved_head[which], bval=moved_head["bval"], bvec=moved_head["bvec"], kind="rigid"
    )
    out = align.run(cwd=str(tmp_path)).outputs
    moved = np.array(json.loads(open(out.motion).read())["displacement_mm"])
    # Six degrees about an axis: 2 sin(3°) · 50 mm · sqrt(2/5) of the sphere's radius.
    expected = 2 * np.sin(np.radians(3)) * 50 * np.sqrt(2 / 5) if which == "moved" else 0.0
    changes = moved[[i for i in range(1, len(moved)) if i % 3 != 1]]
    assert np.median(changes) == pytest.approx(expected, abs=0.3)
    turned = np.loadtxt(out.bvec) - np.loadtxt(moved_head["bvec"])
    far = np.degrees(2 * np.arcsin(np.linalg.norm(turned, axis=0) / 2)).max()
    assert far == pytest.approx(6 if which == "moved" else 0, abs=0.7)
