"""Whether a file is the same is seen by content, and cheaply."""

import os
import shutil
import time

import pytest

from bids_sexclf import fingerprints
from bids_sexclf.fingerprints import fingerprint, is_same


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """Write a file whose last change counts as long ago."""
    monkeypatch.setattr(fingerprints, "SETTLED_NS", 20_000_000)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"one")
    time.sleep(0.05)
    return path


def test_a_file_is_the_same_without_being_read(scan, monkeypatch):
    known = fingerprint(scan)
    assert known["sha256"] == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"

    def refuse(path):
        raise AssertionError

    monkeypatch.setattr(fingerprints, "digest_file", refuse)
    assert is_same(scan, known)
    scan.write_bytes(b"three")
    assert not is_same(scan, known)


def test_a_file_that_was_touched_moved_or_copied_is_the_same(scan, tmp_path):
    known = fingerprint(scan)
    os.utime(scan, (1, 1))
    assert is_same(scan, known)
    assert is_same(shutil.copy(scan, tmp_path / "copy"), known)
    scan.rename(tmp_path / "moved")
    assert is_same(tmp_path / "moved", known)
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    assert is_same(tmp_path / "link", known)


@pytest.mark.parametrize("way", ["written in place", "replaced"])
def test_other_content_of_equal_size_and_equal_time_is_seen(scan, way):
    known, state = fingerprint(scan), scan.stat()
    time.sleep(0.02)
    path = scan if way == "written in place" else scan.with_name("new")
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    path.replace(scan)
    assert scan.stat().st_mtime_ns == state.st_mtime_ns
    assert not is_same(scan, known)


def test_a_change_on_the_same_tick_of_the_clock_is_seen(tmp_path):
    path = tmp_path / "scan"
    path.write_bytes(b"one")
    known = fingerprint(path)
    assert known["mtime_ns"] is None and known["ctime_ns"] is None
    path.write_bytes(b"two")
    assert not is_same(path, known)
    path.write_bytes(b"one")
    assert is_same(path, known)


@pytest.mark.parametrize("known", [None, {}, [], {"size": 3}, "damaged"])
def test_what_is_no_fingerprint_matches_nothing(scan, known):
    assert not is_same(scan, known)


def test_a_missing_file_is_not_the_same_and_has_no_fingerprint(scan):
    known = fingerprint(scan)
    scan.unlink()
    assert not is_same(scan, known)
    with pytest.raises(FileNotFoundError):
        fingerprint(scan)
