"""A scan lies in one place for every program that reads it, or its sides are called unknown."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from bids_sexclf.errors import InputError
from bids_sexclf.interfaces.given import TakeSeries, UniteRuns
from bids_sexclf.interfaces.images import Conform
from bids_sexclf.participant.series_checks import orientation_notes
from bids_sexclf.volumes import is_clear, knows_sides, load, save, straighten

SHAPE, SPOT = (40, 48, 36), (30, 8, 20)
"""A spot off the middle of every axis, so that any flip moves it."""

PLAIN = np.diag([2.0, 2, 2, 1])
SHEARED = PLAIN + np.array([[0, 0.5, 0, -30], [0, 0, 0, 10], [0, 0, 0, 5], [0, 0, 0, 0]])
TURNED = np.array([[0, -2.0, 0, 50], [2, 0, 0, -40], [0, 0, 2, 3], [0, 0, 0, 1]])


def spot_values():
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    away = ((grid - np.reshape(SPOT, (3, 1, 1, 1))) ** 2).sum(0)
    return (100 * np.exp(-away / 18)).astype(np.float32)


def write(path, sform=None, qform=None, volumes=None):
    """Write a spot, and in its header what is given; nothing else."""
    values = spot_values()
    values = values if volumes is None else np.stack([values] * volumes, -1)
    image = nib.Nifti1Image(values, PLAIN)
    image.set_sform(sform, 1 if sform is not None else 0)
    image.set_qform(qform, 1 if qform is not None else 0)
    nib.save(image, path)
    return str(path)


def place(values, affine):
    """Give the centre of the spot, mm."""
    values = np.where(values > 10, values, 0)
    voxels = [(values * index).sum() / values.sum() for index in np.indices(values.shape)]
    return (affine @ [*voxels, 1])[:3]


def by_nibabel(path):
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    return place(values[..., 0] if values.ndim == 4 else values, image.affine)


def by_itk(path):
    image = SimpleITK.ReadImage(str(path))
    values = SimpleITK.GetArrayFromImage(image)
    values = (values[0] if values.ndim == 4 else values).transpose(2, 1, 0)
    size = image.GetDimension()
    turn = np.reshape(image.GetDirection(), (size, size))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    return place(values, np.diag([-1, -1, 1, 1]) @ affine)


HEADERS = {
    "none": {},
    "sheared": {"sform": SHEARED},
    "contradicting": {"sform": PLAIN, "qform": TURNED},
    "qform": {"qform": TURNED},
    "both": {"sform": TURNED, "qform": TURNED},
}


def truth(path):
    """Where the spot lies by the header that nibabel takes, shear included."""
    return (nib.load(path).affine @ [*SPOT, 1])[:3]


@pytest.mark.parametrize("kind", HEADERS)
def test_every_program_reads_a_conformed_scan_alike(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = write(tmp_path / "raw.nii.gz", **HEADERS[kind])
    made = Conform(in_file=raw).run().outputs.out_file
    for read in (by_nibabel, by_itk):
        assert np.abs(read(made) - truth(raw)).max() < 0.3
    assert is_clear(made) and np.abs(place(*load(raw)) - truth(raw)).max() < 0.3


@pytest.mark.parametrize("kind", HEADERS)
def test_every_program_reads_a_series_alike(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = write(tmp_path / "raw.nii.gz", volumes=3, **HEADERS[kind])
    (tmp_path / "bval").write_text("0 1000 1000\n")
    (tmp_path / "bvec").write_text("0 1 0\n0 0 1\n0 0 0\n")
    made = TakeSeries(in_files=[raw], bvals=["bval"], bvecs=["bvec"]).run().outputs.dwi
    assert (made == raw) == (kind in ("qform", "both"))
    for read in (by_nibabel, by_itk):
        assert np.abs(read(made) - truth(raw)).max() < 0.3


def test_runs_of_unknown_orientation_are_averaged_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [write(tmp_path / f"run-{run}.nii.gz") for run in (1, 2)]
    made = UniteRuns(in_files=runs, how="average").run().outputs.out_file
    for read in (by_nibabel, by_itk):
        assert np.abs(read(made) - truth(runs[0])).max() < 0.5


def test_a_header_that_does_not_tell_the_sides_is_named(tmp_path):
    silent, sheared, sound = (
        write(tmp_path / f"{kind}.nii.gz", **HEADERS[kind]) for kind in ("none", "sheared", "both")
    )
    assert [knows_sides(path) for path in (silent, sheared, sound)] == [False, True, True]
    assert "its left and right are unknown" in orientation_notes(silent)[0]
    assert "sheared axes" in orientation_notes(sheared)[0] and orientation_notes(sound) == []


def test_a_mask_stays_a_mask_and_shear_is_never_written(tmp_path):
    image = nib.Nifti1Image((spot_values() > 50).astype(np.uint8), SHEARED)
    nib.save(image, tmp_path / "mask.nii.gz")
    mask, affine = load(tmp_path / "mask.nii.gz")
    assert set(np.unique(mask)) == {0, 1}
    assert mask.sum() == pytest.approx(np.sum(spot_values() > 50) * 1, rel=0.1)
    assert np.allclose(affine, straighten(SHAPE, SHEARED).affine)
    with pytest.raises(InputError, match="not at right angles"):
        save(mask, SHEARED, tmp_path / "again.nii.gz")


def test_a_t1w_of_one_volume_is_read_and_one_of_several_refused(tmp_path, monkeypatch):
    from bids_sexclf.participant.preflight import _shape_faults

    monkeypatch.chdir(tmp_path)
    raw = write(tmp_path / "one.nii.gz", PLAIN, PLAIN, volumes=1)
    assert load(Conform(in_file=raw).run().outputs.out_file)[0].shape == SHAPE
    assert _shape_faults((*SHAPE, 1), 3, "t1w") == []
    assert "holds 4 volumes, needed one" in _shape_faults((*SHAPE, 4), 3, "t1w")[0]
