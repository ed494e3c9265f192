"""Promises of the upright brain and of tissue segmentation, with ANTs itself."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from bids_sexclf.anatomy.acpc import LANDMARKS
from bids_sexclf.anatomy.morphometry import white_gradient
from bids_sexclf.interfaces.ants import Carry, write_linear
from bids_sexclf.interfaces.native import AlignLinear, carry_points
from bids_sexclf.interfaces.tissues import MeasureRegions, SegmentTissues, Unbias, expect
from bids_sexclf.tables import read_table, write_tsv
from bids_sexclf.volumes import Grid, load, save

SHAPE, SIZE = (46, 55, 46), 4.0


def template_affine():
    affine = np.diag([SIZE, SIZE, SIZE, 1.0])
    affine[:3, 3] = (-90, -126, -72)
    return affine


def ellipsoid(affine, matrix=None, radii=(60, 75, 55)):
    """Draw an ellipsoid about (0, -18, 5) of the template, seen through an affine map."""
    world = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    world = world @ affine[:3, :3].T + affine[:3, 3]
    if matrix is not None:
        back = np.linalg.inv(matrix)
        world = world @ back[:3, :3].T + back[:3, 3]
    return (((world - (0, -18, 5)) / radii) ** 2).sum(-1)


@pytest.fixture
def turned(tmp_path, monkeypatch):
    """Give a head that is 10 % smaller than the template, turned and moved, and its transform."""
    monkeypatch.chdir(tmp_path)
    matrix = np.eye(4)
    turn = Rotation.from_euler("xyz", (12, -7, 15), degrees=True).as_matrix()
    matrix[:3, :3], matrix[:3, 3] = 0.9 * turn, (4, -9, 3)
    affine = template_affine()
    inside = ellipsoid(affine, matrix) < 1
    signal = np.where(inside, 100 + 50 * ellipsoid(affine, matrix), 0)
    save((ellipsoid(affine) < 1).astype(np.uint8), affine, "template_mask.nii.gz")
    save(signal.astype(np.float32), affine, "brain.nii.gz")
    save(inside, affine, "mask.nii.gz")
    return {
        "matrix": matrix,
        "forward": write_linear(matrix, "forward.mat"),
        "in_file": "brain.nii.gz",
        "mask_file": "mask.nii.gz",
        "template_mask": "template_mask.nii.gz",
        "reference": "template_mask.nii.gz",
    }


def test_points_go_where_the_written_transform_sends_them(turned):
    points = np.random.default_rng(0).normal(0, 40, (20, 3))
    matrix = turned["matrix"]
    wanted = points @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(carry_points(points, [turned["forward"]]), wanted, atol=1e-3)


def test_a_turned_head_comes_out_upright_in_its_own_size(turned):
    matrix = turned.pop("matrix")
    found = AlignLinear(**turned, voxel_size=4.0).run().outputs
    mask, affine = load(found.mask_file, ndim=3)
    native, _ = load("mask.nii.gz", ndim=3)
    assert mask.shape == SHAPE
    assert mask.sum() == pytest.approx(native.sum(), rel=0.02)
    # The truth: the template's ellipsoid, 10 % smaller about the anterior commissure.
    similar = np.eye(4)
    similar[:3, :3] *= 0.9
    similar[:3, 3] = 0.1 * LANDMARKS[0]
    truth = ellipsoid(affine, similar) < 1
    assert 2 * (truth & (mask > 0)).sum() / (truth.sum() + mask.sum()) > 0.97
    # The written transform carries images from the T1w to the upright frame.
    carried = Carry(in_files=["brain.nii.gz"], reference=found.out_file, transforms=found.transform)
    carried = load(carried.run().outputs.out_files, ndim=3)[0]
    np.testing.assert_allclose(carried, load(found.out_file, ndim=3)[0], atol=0.5)
    ac = carry_points(LANDMARKS[:1], [found.transform])
    np.testing.assert_allclose(ac, LANDMARKS[:1] @ matrix[:3, :3].T + matrix[:3, 3], atol=1e-2)


def test_a_turned_and_shrunken_brain_gets_the_templates_size_by_its_affine_transform(turned):
    turned.pop("matrix")
    found = AlignLinear(**turned, voxel_size=4.0).run().outputs
    truth = ellipsoid(template_affine()) < 1
    brain = load(found.affine_file, ndim=3)[0]
    inside = brain > 50
    assert 2 * (truth & inside).sum() / (truth.sum() + inside.sum()) > 0.97
    # The planted gradient of intensity is 50 per squared radius, whatever the head's size.
    deep = ellipsoid(template_affine()) < 0.5
    np.testing.assert_allclose(brain[deep], 100 + 50 * ellipsoid(template_affine())[deep], atol=2)
    carry = Carry(
        in_files=["brain.nii.gz"],
        reference=found.affine_file,
        transforms=found.affine_transform,
    )
    carried = load(carry.run().outputs.out_files, ndim=3)[0]
    np.testing.assert_allclose(carried[deep], brain[deep], atol=1)


def test_a_coarse_grid_averages_and_does_not_pick(turned):
    """A pattern finer than the grid must fade, not turn into another pattern."""
    turned.pop("matrix")
    fine = np.indices(SHAPE).sum(0) % 2 * 200.0
    save(fine.astype(np.float32), template_affine(), "brain.nii.gz")
    found = load(AlignLinear(**turned, voxel_size=8.0).run().outputs.out_file, ndim=3)[0]
    inner = found[8:15, 10:18, 7:14]
    assert inner.mean() == pytest.approx(100, abs=5) and inner.std() < 20


@pytest.fixture(scope="module")
def head():
    """Three nested tissues of known volume, noise, and a bright vessel."""
    radius = np.sqrt(ellipsoid(template_affine()))
    truth = np.select([radius < 0.7, radius < 0.9, radius < 1], [3, 2, 1])
    signal = np.array([0, 40, 100, 150])[truth].astype(np.float32)
    signal += np.random.default_rng(0).normal(0, 6, SHAPE)
    signal[22:24, 20:26, 20:22] = 900
    return np.where(truth, signal, 0).astype(np.float32), truth


def test_known_tissues_are_found_in_spite_of_a_bright_vessel(head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signal, truth = head
    save(signal, template_affine(), "t1w.nii.gz")
    save(truth > 0, template_affine(), "mask.nii.gz")
    found = SegmentTissues(in_file="t1w.nii.gz", mask_file="mask.nii.gz").run().outputs
    labels = load(found.out_file, ndim=3)[0]
    for label in (1, 2, 3):
        both = ((labels == label) & (truth == label)).sum()
        assert 2 * both / ((labels == label).sum() + (truth == label).sum()) > 0.95
    volumes = json.loads(open(found.volumes).read())
    for label, key in enumerate(("csf", "grey", "white"), start=1):
        wanted = (truth == label).sum() * SIZE**3 / 1000
        assert volumes[f"{key}_volume_ml"] == pytest.approx(wanted, rel=0.05)
    assert volumes["grey_white_contrast"] == pytest.approx(1 - 100 / 150, abs=0.03)
    assert 0 <= volumes["white_gradient_percent"] < 4
    total = sum(load(path, ndim=3)[0] for path in found.probabilities)
    np.testing.assert_allclose(total, truth > 0, atol=1e-4)
    assert not list(tmp_path.glob("tmp*"))


def test_a_bias_field_is_removed_inside_a_brain(head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signal, truth = head
    tilt = np.exp(np.linspace(-0.3, 0.3, SHAPE[2]))[None, None].astype(np.float32)
    save(signal * tilt, template_affine(), "t1w.nii.gz")
    save(truth > 0, template_affine(), "mask.nii.gz")
    assert white_gradient(signal * tilt, truth == 3, template_affine()) > 15
    found = Unbias(in_file="t1w.nii.gz", mask_file="mask.nii.gz").run().outputs
    clean = load(found.out_file, ndim=3)[0]
    assert white_gradient(clean, truth == 3, template_affine()) < 4
    np.testing.assert_array_equal(load(found.brain, ndim=3)[0], clean * (truth > 0))


def test_maps_of_the_template_are_carried_to_where_the_tissue_lies(head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth, affine = head[1], template_affine()
    matrix = np.eye(4)
    matrix[:3, 3] = (12, 0, -8)  # points of the scan to points of the template
    for name, label in (("grey", 2), ("white", 3)):
        save((truth == label).astype(np.float32), matrix @ affine, f"{name}.nii.gz")
    maps, grid = ("grey.nii.gz", "white.nii.gz"), Grid(SHAPE, affine)
    there, back = (write_linear(m, f"{m[0, 3]}.mat") for m in (matrix, np.linalg.inv(matrix)))
    for found in (expect(maps, [there], grid), expect(maps, [back], grid, invert=True)):
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
        np.testing.assert_allclose(found[1], truth == 2, atol=1e-3)
        np.testing.assert_allclose(found[2], truth == 3, atol=1e-3)


def test_regions_come_as_one_table_per_atlas(head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signal, truth = head
    affine = template_affine()
    save(signal, affine, "t1w.nii.gz")
    save(truth > 0, affine, "mask.nii.gz")
    for label, tissue in enumerate(("CSF", "GM", "WM"), start=1):
        save((truth == label).astype(np.float32), affine, f"{tissue}.nii.gz")
    halves = np.where(np.arange(SHAPE[0])[:, None, None] < 23, 1, 2) * np.ones(SHAPE, int)
    save(halves.astype(np.int32), affine, "atlas.nii.gz")
    labels = pd.DataFrame({"index": [1, 2], "name": ["l", "r"], "hemisphere": ["L", "R"]})
    write_tsv(labels.assign(n_voxels=1), "tpl-T_atlas-Halves_res-1_dseg.tsv")
    tables = MeasureRegions(
        participant_id="sub-01",
        session_id=None,
        in_file="t1w.nii.gz",
        mask_file="mask.nii.gz",
        probabilities=["CSF.nii.gz", "GM.nii.gz", "WM.nii.gz"],
        atlases=["atlas.nii.gz"],
        labels=["tpl-T_atlas-Halves_res-1_dseg.tsv"],
    ).run().outputs.out_files  # fmt: skip
    table = read_table(tables, "morphometry")
    assert table["atlas"].tolist() == ["Halves"] * 2
    for row, side in ((0, halves == 1), (1, halves == 2)):
        inside = ((truth > 0) & side).sum() * SIZE**3
        assert table["volume_mm3"][row] == pytest.approx(inside)
        assert table["grey_volume_mm3"][row] == pytest.approx(((truth == 2) & side).sum() * SIZE**3)
