"""Joining the parts of a series: scales, places, records."""

import json
from pathlib import Path

import numpy as np
import pytest

from bids_sexclf.interfaces import pool
from bids_sexclf.motion.geometry import turn_gradients
from bids_sexclf.motion.resample import displacements, distorted_places, through_pose
from bids_sexclf.volumes import load, save

AFFINE = np.diag([2.0, 2, 3, 1])
SHAPE = (8, 9, 7)


def write_part(folder, number, level, bvals, pose=None):
    """Write a resampled part: b0 volumes at a level, weighted ones at half of it."""
    rng = np.random.default_rng(1)
    b0 = 1 + rng.random(SHAPE)
    frames = [level * b0 * (1 if bval == 0 else 0.5) for bval in bvals]
    save(np.stack(frames, -1), AFFINE, folder / f"{number}.nii.gz")
    save(np.ones(SHAPE, bool), AFFINE, folder / f"{number}_mask.nii.gz")
    np.savetxt(folder / f"{number}.bval", [bvals])
    bvecs = np.array([[0.6, 0.8, 0] if bval else [0, 0, 0] for bval in bvals])
    np.savetxt(folder / f"{number}.bvec", bvecs.T)
    pose = np.eye(4) if pose is None else pose
    (folder / f"{number}_pose.json").write_text(json.dumps(pose.tolist()))
    moved = {"displacement_mm": [0.0, *[0.5] * (len(bvals) - 1)]}
    (folder / f"{number}_motion.json").write_text(json.dumps(moved))


def run(folder, counts):
    ends = {"in_files": ".nii.gz", "masks": "_mask.nii.gz", "bvals": ".bval", "bvecs": ".bvec",
            "poses": "_pose.json", "motions": "_motion.json"}  # fmt: skip
    numbers = range(1, len(counts) + 1)
    given = {name: [str(folder / f"{n}{end}") for n in numbers] for name, end in ends.items()}
    return pool.PoolSeries(**given, counts=counts).run(cwd=str(folder)).outputs


def test_each_series_has_its_own_scale_and_one_without_b0_that_of_its_part(tmp_path):
    write_part(tmp_path, 1, 100, [0, 1000, 1000])
    write_part(tmp_path, 2, 250, [0, 1000, 2000, 2000])
    out = run(tmp_path, [[3], [2, 2]])
    record = json.loads(Path(out.record).read_text())
    assert record[1]["scales"] == pytest.approx([0.4, 0.4])
    assert record[1]["scales_known"] == [True, False]
    data, first = load(out.dwi)[0], load(tmp_path / "1.nii.gz")[0][..., 0]
    for index, share in enumerate([1, 0.5, 0.5, 1, 0.5, 0.5, 0.5]):
        np.testing.assert_allclose(data[..., index], share * first, rtol=1e-4)
    np.testing.assert_allclose(load(out.b0)[0], first, rtol=1e-4)


def test_gradients_and_motion_follow_the_pose_of_the_part(tmp_path):
    pose = np.eye(4)
    angle = np.radians(10)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for number, own in ((1, None), (2, pose)):
        write_part(tmp_path, number, 100, [0, 1000], own)
    out = run(tmp_path, [[2], [2]])
    bvecs = np.loadtxt(out.bvec).T
    np.testing.assert_allclose(bvecs[1], [0.6, 0.8, 0], atol=1e-6)
    expected = turn_gradients(np.array([[0.6, 0.8, 0]]), pose[None, :3, :3], AFFINE)
    np.testing.assert_allclose(bvecs[3], expected[0], atol=1e-6)
    moved = json.loads(Path(out.motion).read_text())["displacement_mm"]
    assert moved[:2] == [0.0, 0.5] and moved[3] == 0.5 and moved[2] > 5


def test_what_one_part_does_not_hold_is_not_masked(tmp_path):
    for number in (1, 2):
        write_part(tmp_path, number, 100, [0, 1000])
    seen = np.ones(SHAPE, bool)
    seen[:, :, 0] = False
    save(seen, AFFINE, tmp_path / "2_mask.nii.gz")
    np.testing.assert_array_equal(load(run(tmp_path, [[2], [2]]).mask)[0] > 0, seen)


def test_pose_and_field_are_one_map_in_the_right_order():
    """A field of x² does not commute with a shift: the closed form tells the order."""
    field = np.zeros((3, *SHAPE), np.float32)
    places = np.indices(SHAPE, dtype=np.float32)
    field[1] = 0.05 * places[0] ** 2 * AFFINE[1, 1]  # mm
    pose = np.eye(4)
    pose[0, 3] = 4.0  # two voxels
    there = through_pose(AFFINE, pose, distorted_places(SHAPE, AFFINE, field), SHAPE)
    inner = np.s_[:5, :, :]
    np.testing.assert_allclose(there[0][inner], places[0][inner] + 2, atol=1e-5)
    expected = places[1] + 0.05 * (places[0] + 2) ** 2
    np.testing.assert_allclose(there[1][inner], expected[inner], atol=1e-4)


def test_a_displacement_field_is_read_back_as_it_was_written():
    turned = AFFINE.copy()
    turned[:3, :3] = [[0, 2.0, 0], [-2.0, 0, 0], [0, 0, 3.0]]
    rng = np.random.default_rng(0)
    places = np.indices(SHAPE) + rng.normal(size=(3, *SHAPE))
    field = (
        np.moveaxis(displacements(places, turned), -1, 0)
        * np.array([-1, -1, 1])[:, None, None, None]
    )
    np.testing.assert_allclose(distorted_places(SHAPE, turned, field), places, atol=1e-5)


def test_the_worst_part_speaks_for_the_series():
    parts = [
        {"noise_sd": 2.0, "b0_snr": 30.0, "denoise": {"method": "mppca"}},
        {"noise_sd": 3.0, "b0_snr": 20.0, "denoise": {"method": "none"}},
    ]
    for part, after in zip(parts, (0.9, 0.8), strict=True):
        part |= {"distortion": {"after": after}, "distortion_agreement_before": 0.5}
        part |= {"distortion_agreement_after": after}
    joined = pool.join_numbers(parts)
    assert joined["noise_sd"] == 3 and joined["b0_snr"] == 20
    assert joined["distortion"] == {"after": 0.8} and joined["denoise"] == {"method": "mppca"}


def test_residuals_are_joined_over_all_volumes(tmp_path):
    for number, (level, count) in enumerate(((3.0, 1), (1.0, 3))):
        save(np.full(SHAPE, level), AFFINE, tmp_path / f"{number}.nii.gz")
        np.savetxt(tmp_path / f"{number}.bval", np.zeros((1, count)))
    files = {"in_files": "nii.gz", "bvals": "bval"}
    given = {key: [str(tmp_path / f"{n}.{end}") for n in (0, 1)] for key, end in files.items()}
    out = pool.JoinResiduals(**given).run(cwd=str(tmp_path)).outputs.out_file
    np.testing.assert_allclose(load(out)[0], np.sqrt((9 + 3) / 4), rtol=1e-5)
