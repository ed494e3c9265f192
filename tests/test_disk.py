"""Where temporary files lie, and that processes reach each other through it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bids_sexclf.disk import SOCKET_ROOM, temporary_files

READ = """
import sys, tempfile
from torch.utils.data import DataLoader
from bids_sexclf.disk import temporary_files

with temporary_files(sys.argv[1], sockets=True):
    print(sum(batch.sum().item() for batch in DataLoader(range(10), 2, num_workers=1)))
    print(tempfile.gettempdir())
"""


def test_temporary_files_lie_in_the_folder_and_later_where_they_did(tmp_path):
    folder = tmp_path / "work" / "tmp"
    before = dict(os.environ), tempfile.gettempdir()
    with pytest.raises(RuntimeError), temporary_files(folder):
        assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(folder)
        assert Path(tempfile.mkdtemp()).parent == folder
        raise RuntimeError
    assert (dict(os.environ), tempfile.gettempdir()) == before


def test_a_long_folder_goes_by_a_short_name_where_sockets_need_it(tmp_path):
    folder = tmp_path / ("long" * 30)
    with temporary_files(folder):
        assert tempfile.gettempdir() == str(folder)
    with temporary_files(folder, sockets=True):
        name = tempfile.gettempdir()
        assert len(name) <= SOCKET_ROOM and Path(name).resolve() == folder
    short = Path(tempfile.mkdtemp())
    with temporary_files(short, sockets=True):
        assert tempfile.gettempdir() == str(short.resolve())


def test_a_folder_without_a_short_name_keeps_its_own(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    folder = tmp_path / ("long" * 30)
    with temporary_files(folder, sockets=True):
        assert tempfile.gettempdir() == str(folder)


def test_readers_of_torch_answer_where_the_folder_is_long(tmp_path):
    folder = tmp_path / ("long" * 30)
    command = [sys.executable, "-c", READ, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    total, name = done.stdout.split()
    assert (total, done.stderr) == ("45", "")
    assert list(folder.glob("pymp-*")) == [] and not Path(name).parent.exists()
