import gzip

import numpy as np
import pytest

from bids_sexclf import volumes
from bids_sexclf.errors import GridError, InputError


@pytest.fixture
def scan(tmp_path):
    """Write a small float image and give its path."""
    path = tmp_path / "scan.nii.gz"
    volumes.save(np.random.default_rng(0).random((10, 11, 12, 3)), np.eye(4), path)
    return path


def test_a_whole_image_has_no_fault(scan):
    seen = volumes.inspect(scan)
    assert seen.faults == () and seen.shape == (10, 11, 12, 3)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_cut_stream_is_found(scan, share):
    held = scan.read_bytes()
    scan.write_bytes(held[: int(len(held) * share)])
    assert "truncated" in " ".join(volumes.inspect(scan).faults)


def test_half_the_voxels_in_a_whole_gzip_stream_are_found(scan):
    held = gzip.decompress(scan.read_bytes())
    scan.write_bytes(gzip.compress(held[: len(held) // 2]))
    assert "truncated" in " ".join(volumes.inspect(scan).faults)


def test_a_flipped_byte_fails_the_checksum(scan):
    held = bytearray(scan.read_bytes())
    held[-6] ^= 0xFF
    scan.write_bytes(bytes(held))
    assert "damaged" in " ".join(volumes.inspect(scan).faults)


def test_values_that_are_not_finite_are_counted_by_volume(tmp_path):
    array = np.random.default_rng(0).random((8, 8, 8, 2))
    array[0, 0, :3, 1] = np.nan
    volumes.save(array, np.eye(4), tmp_path / "a.nii.gz")
    assert (
        "holds 3 non-finite values in volume(s) 1" in volumes.inspect(tmp_path / "a.nii.gz").faults
    )


def test_a_constant_volume_is_found(tmp_path):
    volumes.save(np.full((8, 8, 8), 7.0), np.eye(4), tmp_path / "a.nii.gz")
    assert "constant" in " ".join(volumes.inspect(tmp_path / "a.nii.gz").faults)


def test_what_is_no_image_is_a_fault_and_no_crash(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"not an image")
    assert "is no gzip file" in " ".join(volumes.inspect(tmp_path / "a.nii.gz").faults)


def test_copies_share_a_fingerprint_and_other_scans_do_not(tmp_path, scan):
    copy = tmp_path / "copy.nii"
    copy.write_bytes(gzip.decompress(scan.read_bytes()))
    other = tmp_path / "other.nii.gz"
    volumes.save(np.random.default_rng(1).random((10, 11, 12, 3)), np.eye(4), other)
    prints = [volumes.inspect(path).fingerprint for path in (scan, copy, other)]
    assert prints[0] == prints[1] != prints[2]


def test_grids_that_differ_are_refused_with_what_differs():
    with pytest.raises(GridError, match="shape"):
        volumes.check_same_grid((4, 4, 4), np.eye(4), (4, 4, 5), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 0.5
    with pytest.raises(GridError, match="affines that differ by 0.5"):
        volumes.check_same_grid((4, 4, 4), np.eye(4), (4, 4, 4), moved)


def test_a_rescaled_grid_covers_the_same_field_of_view():
    grid = volumes.Grid((91, 109, 91), np.diag([-2.0, 2, 2, 1]))
    coarse = volumes.rescale_grid(grid, 4.0)
    edge = lambda g: g.affine @ np.array([-0.5, -0.5, -0.5, 1])  # noqa: E731
    np.testing.assert_allclose(edge(coarse), edge(grid))
    assert coarse.shape == (46, 55, 46)


def test_resampling_keeps_a_linear_ramp_where_it_is_in_the_world():
    affine = np.diag([2.0, 2, 2, 1])
    x = np.arange(40)[:, None, None] * 2.0 + np.zeros((40, 40, 40))
    coarse = volumes.rescale_grid(volumes.Grid(x.shape, affine), 4.0)
    carried = volumes.resample(x, affine, coarse)
    world = coarse.affine[0, 0] * np.arange(20) + coarse.affine[0, 3]
    np.testing.assert_allclose(carried[3:-3, 10, 10], world[3:-3], atol=0.05)


def test_labels_are_never_blended():
    labels = np.random.default_rng(0).integers(0, 3, (20, 20, 20)) * 50
    coarse = volumes.rescale_grid(volumes.Grid(labels.shape, np.eye(4)), 2.0)
    carried = volumes.resample(labels, np.eye(4), coarse, order=0)
    assert set(np.unique(carried)) <= {0, 50, 100}


def test_a_cropped_grid_holds_the_mask_at_the_same_world_place():
    mask = np.zeros((20, 20, 20), bool)
    mask[5:9, 6:10, 7:11] = True
    grid, box = volumes.crop_grid(volumes.Grid(mask.shape, np.diag([3.0, 3, 3, 1])), mask)
    assert mask[box].sum() == mask.sum() and grid.shape == (6, 6, 6)
    np.testing.assert_allclose(grid.affine[:3, 3], [12, 15, 18])


def test_a_cohort_array_that_is_damaged_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(InputError, match="no cohort array"):
        volumes.open_cohort(tmp_path / "a.npy")


def test_resident_memory_does_not_grow_with_the_participants(tmp_path):
    psutil = pytest.importorskip("psutil")
    with volumes.new_cohort(tmp_path / "a.npy", (1500, 32, 32, 32)) as array:
        for row in range(len(array)):
            array[row] = row
            volumes.release(array)
    rows = volumes.Rows(volumes.open_cohort(tmp_path / "a.npy"), np.arange(1500))
    assert rows[[3, 7]].mean() == 5
    before = psutil.Process().memory_info().rss
    total = sum(float(rows[[row]].mean()) for row in range(1500))
    grown = psutil.Process().memory_info().rss - before
    assert total == pytest.approx(1499 * 750, rel=1e-6)
    assert grown < 0.1 * array.nbytes
