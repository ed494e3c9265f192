"""Damaged image files: none is read with other voxels, none ends in a traceback or without end."""

import gzip
import os
import subprocess
import sys
import zlib

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import volumes
from bids_sexclf.errors import InputError

SHAPE = (12, 11, 10)
MUTATIONS = 1500


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(5).integers(0, 900, SHAPE).astype(np.int16)


@pytest.fixture
def whole(values, tmp_path):
    path = tmp_path / "sub-1_T1w.nii.gz"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


def flip(content, rng):
    place = rng.integers(len(content))
    changed = content[place] ^ (1 << rng.integers(8))
    return content[:place] + bytes([changed]) + content[place + 1 :]


def blank(content, rng):
    start, size = rng.integers(len(content)), rng.integers(1, 400)
    return content[:start] + bytes(min(size, len(content) - start)) + content[start + size :]


def cut(content, rng):
    return content[: rng.integers(len(content))]


def drop(content, rng):
    start = rng.integers(len(content))
    return content[:start] + content[start + rng.integers(1, 60) :]


def insert(content, rng):
    start = rng.integers(len(content))
    return content[:start] + rng.bytes(rng.integers(1, 60)) + content[start:]


def append(content, rng):
    return content + rng.bytes(rng.integers(1, 60))


def append_zeros(content, rng):
    return content + bytes(int(rng.integers(1, 600)))


def append_member(content, rng):
    return content + gzip.compress(rng.bytes(rng.integers(0, 60)))


def double(content, rng):
    return content * 2


def split(content, rng):
    plain = gzip.decompress(content)
    start = rng.integers(len(plain))
    return gzip.compress(plain[:start]) + gzip.compress(plain[start:])


def spoil_header(content, rng):
    """Change the header within, and make a gzip file whose checksums are right."""
    plain = bytearray(gzip.decompress(content))
    plain[rng.integers(352)] = rng.integers(256)
    return gzip.compress(bytes(plain))


CHANGES = (flip, blank, cut, drop, insert, append, append_zeros, append_member, double, split)


def read_all(path, folder):
    """Give what each way of reading gives; None for a refusal."""
    read = []
    for way in (
        lambda: volumes.load(path, ndim=3)[0],
        lambda: volumes.load(path)[0],
    ):
        try:
            read.append(way())
        except InputError as fault:
            assert "Found" in str(fault) and "needed" in str(fault)
            read.append(None)
    return read


def test_no_mutation_is_read_with_other_voxels(whole, values, tmp_path):
    content, rng = whole.read_bytes(), np.random.default_rng(11)
    passed = 0
    for number in range(MUTATIONS):
        change = CHANGES[number % len(CHANGES)]
        whole.write_bytes(change(content, rng))
        seen = volumes.inspect(whole)
        for array in read_all(whole, tmp_path):
            assert (array is None) == bool(seen.faults), (number, change.__name__, seen.faults)
            assert array is None or np.array_equal(array, values), (number, change.__name__)
        passed += not seen.faults
    # What changes no voxel may pass: the time of compression, a file in two members.
    assert passed < MUTATIONS / 5


def test_no_header_ends_in_a_traceback(whole, tmp_path):
    content, rng = whole.read_bytes(), np.random.default_rng(12)
    for _ in range(400):
        whole.write_bytes(spoil_header(content, rng))
        volumes.inspect(whole)
        read_all(whole, tmp_path)


@pytest.mark.parametrize("change", [flip, blank, cut, append, double])
def test_series_are_read_to_their_end_too(tmp_path, change):
    series = np.random.default_rng(1).integers(1, 90, (8, 8, 8, 5)).astype(np.float32)
    path = tmp_path / "sub-1_dwi.nii.gz"
    volumes.save(series, np.eye(4), path)
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(20):
        path.write_bytes(change(whole, rng))
        if not volumes.inspect(path).faults:
            continue
        with pytest.raises(InputError, match="sub-1_dwi"):
            list(volumes.volumes(path))
        with pytest.raises(InputError, match="sub-1_dwi"):
            volumes.load_series(path)
        with pytest.raises(InputError, match="sub-1_dwi"), volumes.open_slabs(path, tmp_path):
            pass
        assert not list(tmp_path.glob("unpacked*"))


def test_a_file_in_several_members_is_read(whole, values):
    whole.write_bytes(split(whole.read_bytes(), np.random.default_rng(0)) + gzip.compress(b""))
    assert volumes.inspect(whole).faults == ()
    assert np.array_equal(volumes.load(whole)[0], values)


def field(name, value):
    """Change one field of the header."""

    def change(plain):
        header = nib.Nifti1Header(plain[:348], check=False)
        header[name] = value
        return header.binaryblock + plain[348:]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (field("vox_offset", 1e9), "first voxel at byte"),
        (field("vox_offset", np.nan), "first voxel at byte"),
        (field("vox_offset", 100), "header"),
        (field("vox_offset", 368), "promises"),
        (field("scl_slope", np.inf), "scl_slope"),
        (field("scl_slope", np.nan), "scl_slope"),
        (field("scl_inter", np.inf), "scl_inter"),
        (field("scl_slope", 1e37), "beyond"),
        (field("dim", [3, 12, 11, 10000, 1, 1, 1, 1]), "promises"),
        (field("dim", [3, 12, -11, 10, 1, 1, 1, 1]), "dimensions"),
        (field("dim", [0, 12, 11, 10, 1, 1, 1, 1]), "dimensions"),
        (field("dim", [7, 30000, 30000, 30000, 1, 1, 1, 1]), "too large"),
        (field("dim", [3, 12, 11, 9, 1, 1, 1, 1]), "more than"),
        (field("datatype", 77), "damaged header"),
        (field("magic", b"ni1"), "pair"),
        (lambda plain: plain[:348] + b"\1\0\0\0" + plain[352:], None),
        (lambda plain: plain[:200], "truncated"),
        (lambda plain: plain + b"\0", "more than"),
        (lambda plain: b"", "begin with a header"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_header_is_named(whole, change, words, packed):
    plain = change(gzip.decompress(whole.read_bytes()))
    path = whole if packed else whole.with_suffix("")
    path.write_bytes(gzip.compress(plain) if packed else plain)
    told = "; ".join(volumes.inspect(path).faults)
    if words is None:
        assert told == ""
    elif packed and words == "promises":
        assert "promises" in told or "truncated" in told
    else:
        assert words in told


def test_extensions_stay_within_their_room(whole):
    image = nib.load(whole)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"told by a scanner"))
    path = whole.with_name("other.nii")
    nib.save(image, path)
    assert volumes.inspect(path).faults == ()
    plain = bytearray(path.read_bytes())
    plain[352:356] = (10**6).to_bytes(4, "little")
    path.write_bytes(plain)
    assert "extension of 1000000 bytes" in volumes.inspect(path).faults[0]


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ([("R", "u1"), ("G", "u1"), ("B", "u1")], "colours"),
        (np.complex64, "magnitude"),
    ],
)
def test_values_that_are_no_numbers_are_named(tmp_path, dtype, words):
    image = nib.Nifti1Image(np.ones(SHAPE, np.dtype(dtype)), np.eye(4))
    nib.save(image, tmp_path / "a.nii.gz")
    assert words in volumes.inspect(tmp_path / "a.nii.gz").faults[0]
    with pytest.raises(InputError, match=words):
        volumes.load(tmp_path / "a.nii.gz")


def test_what_is_not_there_is_said(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / ".git/annex/objects/x")
    assert "datalad get" in volumes.inspect(tmp_path / "a.nii.gz").faults[0]
    os.mkfifo(tmp_path / "b.nii.gz")
    assert "no file" in volumes.inspect(tmp_path / "b.nii.gz").faults[0]
    (tmp_path / "c.mgz").write_bytes(b"")
    assert "mri_convert" in volumes.inspect(tmp_path / "c.mgz").faults[0]


def test_a_scaled_image_keeps_its_numbers(tmp_path):
    values = np.random.default_rng(0).normal(50, 20, SHAPE)
    image = nib.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii.gz")
    expected = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj, dtype=np.float32)
    assert np.array_equal(volumes.load(tmp_path / "a.nii.gz")[0], expected)


BOMB = """
import resource, sys
from bids_sexclf import volumes
import nibabel, numpy
def peak():
    return int([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1])
before = peak()
print(volumes.inspect(sys.argv[1]).faults)
try:
    volumes.load(sys.argv[1])
except ValueError as fault:
    print(fault)
print((peak() - before) // 1024)
"""


@pytest.mark.parametrize("where", ["behind", "within"])
def test_a_bomb_costs_neither_memory_nor_time(whole, where):
    content = gzip.decompress(whole.read_bytes())
    if where == "within":  # a header that promises 2 GB, of which a tenth is there
        content = field("dim", [3, 1000, 1000, 1000, 1, 1, 1, 1])(content)
    packer, blocks = zlib.compressobj(1, wbits=31), []
    blocks.append(packer.compress(content))
    for _ in range(200):
        blocks.append(packer.compress(bytes(2**20)))
    packed = b"".join(blocks) + packer.flush()
    # Bytes of no use make the file large enough for what it promises.
    whole.write_bytes(packed + (os.urandom(2 * 2**20) if where == "within" else b""))
    done = subprocess.run(
        [sys.executable, "-c", BOMB, whole], capture_output=True, text=True, timeout=60, check=True
    )
    *told, megabytes = done.stdout.splitlines()
    words = "holds more" if where == "behind" else "holds bytes behind"
    assert len(told) == 2 and all(words in line for line in told), told
    # As float32, what was there takes twice its room before the end of the file is met.
    assert int(megabytes) < (600 if where == "within" else 60)
