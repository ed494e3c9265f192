import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from bids_sexclf.errors import GridError
from bids_sexclf.interfaces import given
from bids_sexclf.volumes import same_grid, save, turn_axes

AFFINE = np.array([[2.0, 0, 0, -30], [0, 2.5, 0, -20], [0, 0, 3, 10], [0, 0, 0, 1]])
RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, array, affine=AFFINE):
    save(array, affine, name)
    return name


def read(path):
    return np.asarray(nib.load(path).dataobj)


def test_a_mask_follows_its_scan_to_other_axes(inside):
    scan, mask = RNG.random((9, 9, 9)) + 1, RNG.random((9, 9, 9)) > 0.5
    turned = nib.Nifti1Image(mask.astype(np.uint8), AFFINE).as_reoriented(
        [[2, -1], [0, 1], [1, -1]]
    )
    turned.to_filename("mask.nii.gz")
    files = {
        "in_file": str(inside / write("scan.nii.gz", scan)),
        "mask": str(inside / "mask.nii.gz"),
    }
    made = given.TakeMask(**files).run().outputs
    np.testing.assert_array_equal(read(made.mask_file), mask)
    np.testing.assert_allclose(read(made.out_file), scan * mask, rtol=1e-6)


def test_a_mask_of_another_grid_is_refused(inside):
    away = AFFINE.copy()
    away[0, 3] += 5
    write("scan.nii.gz", RNG.random((9, 9, 9))), write("mask.nii.gz", np.ones((9, 9, 9)), away)
    with pytest.raises(GridError, match="differ by 5"):
        given.TakeMask(in_file=str(inside / "scan.nii.gz"), mask=str(inside / "mask.nii.gz")).run()


def test_axes_turn_without_moving_a_voxel():
    array = RNG.random((4, 5, 6))
    like = np.diag([-1.0, 1, 1, 1])[[2, 0, 1, 3]]
    turned, affine = turn_axes(array, AFFINE, like)
    voxel = np.array([1, 2, 3, 1.0])
    there = np.linalg.solve(affine, AFFINE @ voxel).round().astype(int)
    assert turned[tuple(there[:3])] == array[1, 2, 3]
    back, again = turn_axes(turned, affine, AFFINE)
    np.testing.assert_array_equal(back, array)
    assert same_grid((back.shape, again), (array.shape, AFFINE))


def test_the_mean_b0_is_that_of_the_low_volumes_alone(inside):
    data = RNG.random((8, 8, 8, 5))
    write("dwi.nii.gz", data)
    (inside / "bvals").write_text("5 1000 5 995 2000\n")
    files = {"in_file": str(inside / "dwi.nii.gz"), "bval": str(inside / "bvals")}
    made = given.MeanB0(**files).run().outputs.out_file
    np.testing.assert_allclose(read(made), data[..., [0, 2]].mean(-1), rtol=1e-5)


def test_joined_runs_keep_volumes_and_gradients_in_order(inside):
    parts = [RNG.random((8, 8, 8, n)) for n in (2, 3)]
    for run, part in enumerate(parts):
        write(f"{run}.nii.gz", part)
        np.savetxt(f"{run}.bval", np.full((1, part.shape[3]), 1000 * run))
        np.savetxt(f"{run}.bvec", np.full((3, part.shape[3]), run + 0.5))
    files = {
        name: [str(inside / f"{run}.{end}") for run in (0, 1)]
        for name, end in (("in_files", "nii.gz"), ("bvals", "bval"), ("bvecs", "bvec"))
    }
    made = given.TakeSeries(**files).run().outputs
    np.testing.assert_allclose(read(made.dwi), np.concatenate(parts, -1), rtol=1e-6)
    assert np.loadtxt(made.bval).tolist() == [0, 0, 1000, 1000, 1000]
    assert np.loadtxt(made.bvec)[0].tolist() == [0.5, 0.5, 1.5, 1.5, 1.5]


def test_maps_come_out_in_our_units_and_names(inside):
    values = RNG.random((8, 8, 8))
    values[0, 0, 0] = np.nan
    write("fa.nii.gz", values), write("md.nii.gz", values + 0.5)
    files = [str(inside / f"{name}.nii.gz") for name in ("fa", "md", "fa")]
    made = given.TakeMaps(in_files=files, names=["FA", "MD", "MK"]).run().outputs.out_files
    assert [path.rsplit("/", 1)[1] for path in made] == [
        "tensor_FA.nii.gz", "tensor_MD.nii.gz", "dki_MK.nii.gz",
    ]  # fmt: skip
    np.testing.assert_allclose(read(made[1])[1:], (values + 0.5)[1:] / 1000, rtol=1e-5)
    assert read(made[0])[0, 0, 0] == 0


def test_an_average_of_moved_runs_is_sharp_and_quieter(inside):
    head = gaussian_filter((RNG.random((32, 32, 32)) > 0.97).astype(float), 2)
    head /= head.max()
    edge = np.zeros_like(head)
    edge[6:-6, 6:-6, 6:-6] = head[6:-6, 6:-6, 6:-6] + 0.5
    noisy = [edge + 0.05 * RNG.standard_normal(edge.shape) for _ in range(2)]
    noisy[1] = 7 * shift(noisy[1], (3, -2, 1), order=1)
    files = [str(inside / write(f"{i}.nii.gz", run)) for i, run in enumerate(noisy)]
    made = given.UniteRuns(in_files=files, how="average").run().outputs
    middle = (slice(8, -8),) * 3
    errors = [np.std(volume[middle] - edge[middle]) for volume in (read(made.out_file), noisy[0])]
    assert errors[0] < 0.9 * errors[1]
    assert json.loads(open(made.record).read())["how"] == "average"


def test_a_series_is_taken_in_without_its_trace_volumes(inside):
    data = RNG.random((8, 8, 8, 5)).astype(np.float32)
    write("a.nii.gz", data)
    (inside / "a.bval").write_text("0, 60, 1000, 1000, 1000\n")
    bvecs = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]], float)
    np.savetxt(inside / "a.bvec", bvecs.T)
    files = {"in_files": [str(inside / "a.nii.gz")], "bvals": [str(inside / "a.bval")]}
    files["bvecs"] = [str(inside / "a.bvec")]
    made = given.TakeSeries(**files, b0_threshold=60).run().outputs
    np.testing.assert_array_equal(read(made.dwi), data[..., [0, 1, 2, 4]])
    assert np.loadtxt(made.bval).tolist() == [0, 60, 1000, 1000]
    np.testing.assert_array_equal(np.loadtxt(made.bvec).T, bvecs[[0, 1, 2, 4]])
    bvecs[3] = [0, 0, 1]
    np.savetxt(inside / "a.bvec", bvecs.T)
    made = given.TakeSeries(**files, b0_threshold=60).run().outputs
    assert made.dwi == files["in_files"][0]
