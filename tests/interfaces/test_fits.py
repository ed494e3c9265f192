"""Tests of the node that fits maps: memory, engines, what is written and counted."""

import json

import numpy as np
import pytest

from bids_sexclf.diffusion.families import FAMILIES, why_not
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.interfaces.fits import FitMaps
from bids_sexclf.volumes import load, open_slabs, save, save_volumes


def directions(n, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Write a noisy series of bundles and one voxel of water; give the node's inputs."""
    folder = tmp_path_factory.mktemp("scan")
    bvals = np.repeat([0.0, 1000, 2000], [5, 30, 30])
    bvecs = np.vstack([np.zeros((5, 3)), directions(60)])
    rng = np.random.default_rng(1)
    axes = directions(6 * 5 * 4, seed=2)
    square = (axes @ bvecs.T) ** 2
    part = rng.uniform(0.3, 0.7, (len(axes), 1))
    signal = part * np.exp(-bvals * (0.2e-3 + 1.8e-3 * square))
    signal += (1 - part) * np.exp(-bvals * (0.7e-3 + 0.6e-3 * square))
    signal[-1] = np.exp(-bvals * 3e-3)
    noise = rng.normal(scale=0.02, size=(2, *signal.shape))
    signal = 500 * np.hypot(signal + noise[0], noise[1])
    given = {"in_file": "dwi.nii.gz", "mask": "mask.nii.gz", "bval": "dwi.bval", "bvec": "dwi.bvec"}
    given = {field: str(folder / name) for field, name in given.items()}
    affine = np.diag([-2.0, 2, 2, 1])
    save(signal.reshape(6, 5, 4, -1), affine, given["in_file"])
    save(np.indices((6, 5, 4))[0] > 0, affine, given["mask"])
    np.savetxt(given["bval"], bvals[None])
    np.savetxt(given["bvec"], bvecs.T)
    return given | {"clip": (-3 / 7, 10.0)}


def run(tmp_path, scan, **choices):
    out = FitMaps(**(scan | choices)).run(cwd=str(tmp_path)).outputs
    files = out.out_files if isinstance(out.out_files, list) else [out.out_files]
    maps = {path.split("/")[-1].removesuffix(".nii.gz"): load(path, ndim=3)[0] for path in files}
    return maps, json.loads(open(out.counts).read())


def test_every_family_asked_for_is_written_under_its_label(tmp_path, scan):
    maps, counts = run(tmp_path, scan, models=["tensor", "kurtosis", "noddi"])
    labels = [(family.label, name) for family in FAMILIES.values() for name in family.records]
    assert list(maps) == [f"{label}_{name}" for label, name in labels]
    assert counts.keys() == {"tensor", "dki", "noddi"}
    for values in maps.values():
        assert not values[0].any()
        assert values[1:].any()
    assert not list(tmp_path.glob("unpacked*"))


def test_a_model_that_one_shell_leaves_open_is_left_out_with_the_reason(tmp_path, scan):
    low = np.loadtxt(scan["bval"]) < 1500
    dwi, affine = load(scan["in_file"])
    changed = {name: str(tmp_path / name) for name in ("dwi.nii.gz", "one.bval", "one.bvec")}
    save(dwi[..., low], affine, changed["dwi.nii.gz"])
    np.savetxt(changed["one.bval"], np.loadtxt(scan["bval"])[None, low])
    np.savetxt(changed["one.bvec"], np.loadtxt(scan["bvec"])[:, low])
    given = scan | dict(zip(("in_file", "bval", "bvec"), changed.values(), strict=True))
    maps, counts = run(tmp_path, given, models=["tensor", "kurtosis", "noddi"])
    assert {name.split("_")[0] for name in maps} == {"tensor"}
    assert "kurtosis needs two or more" in counts["dki"]["left_out"]
    assert "NODDI needs" in counts["noddi"]["left_out"]


def test_threads_change_no_map(tmp_path, scan):
    one, two = (run(tmp_path, scan, num_threads=n)[0] for n in (1, 2))
    for name, values in one.items():
        np.testing.assert_array_equal(two[name], values, err_msg=name)


def test_dipys_engine_agrees_with_ours(tmp_path, scan):
    ours, _ = run(tmp_path, scan)
    dipys, counts = run(tmp_path, scan, engine="dipy")
    assert list(ours) == list(dipys)
    for name, values in ours.items():
        top = 3e-3 if name.endswith("D") else 1
        allowed = 1e-2 if name.endswith("K") else 1e-4 * top
        assert np.median(np.abs(dipys[name] - values)) < allowed, name
    assert counts["tensor"]["empty_voxels"] == 0


DTIFIT = """
import nibabel as nib, numpy as np
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
dwi, mask = nib.load(given["-k"]), nib.load(given["-m"])
assert np.loadtxt(given["-b"]).shape == (dwi.shape[3],)
assert np.loadtxt(given["-r"]).shape == (3, dwi.shape[3])
b0 = np.asarray(dwi.dataobj[..., 0]) * np.asarray(mask.dataobj)
for name, value in {"FA": .5, "MD": 1e-3, "L1": 2e-3, "L2": 6e-4, "L3": 4e-4, "MO": 1,
                    "V1": [1, 0, 0], "V2": [0, 1, 0], "V3": [0, 0, 1], "S0": b0}.items():
    inside = b0 > 0
    values = np.where(inside[..., None], value, 0) if name[0] == "V" else value * inside
    image = nib.Nifti1Image(np.float32(values), dwi.affine)
    nib.save(image, f"{given['-o']}_{name}.nii.gz")
"""


def test_dtifit_sees_the_low_shell_and_kurtosis_stays_native(tmp_path, scan, programs):
    record = programs(dtifit=DTIFIT)
    maps, _ = run(tmp_path, scan, engine="fsl")
    native, _ = run(tmp_path, scan)
    command = json.loads(record.read_text())
    assert command[0] == "dtifit" and command[-1] == "--wls"
    assert maps["tensor_RD"][1:].mean() == pytest.approx(5e-4)
    assert maps["tensor_AD"][1:].mean() == pytest.approx(2e-3)
    np.testing.assert_array_equal(maps["dki_MK"], native["dki_MK"])


def test_dtifit_that_fails_is_told_in_its_own_words(tmp_path, scan, programs):
    programs(dtifit="sys.exit('no licence')")
    with pytest.raises(ToolError, match="dtifit failed.*no licence"):
        run(tmp_path, scan, engine="fsl")


@pytest.mark.needs_fsl
def test_dtifit_agrees_with_ours(tmp_path, scan):
    from shutil import which

    if which("dtifit") is None:
        pytest.skip("FSL is not installed")
    ours, _ = run(tmp_path, scan)
    theirs, _ = run(tmp_path, scan, engine="fsl")
    assert np.median(np.abs(theirs["tensor_FA"] - ours["tensor_FA"])) < 0.01


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_series_is_read_in_slabs_with_its_scaling(tmp_path, suffix):
    import nibabel as nib

    values = np.random.default_rng(0).normal(size=(5, 4, 3, 6)) * 100
    image = nib.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / f"scan{suffix}")
    with open_slabs(tmp_path / f"scan{suffix}", tmp_path) as (series, _):
        assert series.shape == values.shape
        np.testing.assert_allclose(series[:, :, 1:2], values[:, :, 1:2], atol=0.02)
    assert [path.name for path in tmp_path.iterdir()] == [f"scan{suffix}"]


def test_half_a_series_is_refused_and_leaves_nothing_behind(tmp_path, scan):
    whole = open(scan["in_file"], "rb").read()
    (tmp_path / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="half.nii.gz, which is truncated.*Copy it again"):
        with open_slabs(tmp_path / "half.nii.gz", tmp_path):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["half.nii.gz"]


def test_volumes_saved_one_by_one_are_the_series(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype(np.float32)
    affine = np.diag([-2.0, 2, 3, 1])
    save_volumes(iter(np.moveaxis(values, -1, 0)), 5, affine, tmp_path / "a.nii")
    read, found = load(tmp_path / "a.nii", ndim=4)
    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(found, affine)


def test_kurtosis_is_fitted_where_shells_allow_it_and_only_there():
    from scipy.spatial.transform import Rotation

    directions = np.vstack([np.zeros(3), Rotation.random(40, random_state=0).as_matrix()[:, 0]])
    one, two = np.r_[0, np.full(40, 1000.0)], np.r_[0, np.repeat([1000.0, 2000.0], 20)]
    assert "shell" in why_not("kurtosis", one, directions)
    assert why_not("kurtosis", two, directions) is None
    # Three directions, again and again.
    assert why_not("kurtosis", two, np.vstack([np.zeros(3), np.tile(np.eye(3), (14, 1))[:40]]))
