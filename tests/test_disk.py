"""Where temporary files lie, that processes reach each other through it, and what is removed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bids_sexclf.disk import (
    PART,
    SOCKET_ROOM,
    lies_in,
    remove_folder,
    remove_parts,
    temporary_files,
    whole,
)
from bids_sexclf.errors import InputError

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


def test_a_folder_lies_in_itself_and_in_those_above_by_any_spelling(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert lies_in(tmp_path / "a", tmp_path / "a") and lies_in(tmp_path / "a/new/er", tmp_path)
    assert lies_in(tmp_path / "link" / "b", tmp_path / "a") and lies_in(tmp_path / "a/b/../x", "/")
    assert not lies_in(tmp_path, tmp_path / "a") and not lies_in(tmp_path / "ab", tmp_path / "a")


def test_only_folders_below_the_one_named_are_removed(tmp_path):
    for name in ("work/graph/one", "work/graph/two", "data"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("x")
    graph = tmp_path / "work" / "graph"
    (graph / "link").symlink_to(tmp_path / "data")
    for folder in (graph, tmp_path, tmp_path / "data", graph / "..", graph / "link"):
        with pytest.raises(InputError, match="Nothing was removed"):
            remove_folder(folder, graph)
    (tmp_path / "work" / "away").symlink_to(tmp_path / "data")
    with pytest.raises(InputError, match="Nothing was removed"):
        remove_folder(tmp_path / "work" / "away" / "x", graph)
    remove_folder(graph / "one", graph)
    remove_folder(graph / "absent", graph)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("file"))
    assert left == ["data/file", "work/graph/two/file"]


def test_what_a_dead_process_was_writing_is_removed_and_what_is_being_written_stays(tmp_path):
    script = (
        "import os, sys; from bids_sexclf.disk import whole\n"
        "with whole(sys.argv[1]) as part:\n    part.write_text('half'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "dead.txt"], check=False)
    with whole(tmp_path / "living.txt") as part:
        part.write_text("half")
        assert len(list(tmp_path.glob(f"{PART}*"))) == 2
        (tmp_path / "result.txt").touch()
        remove_parts(tmp_path.iterdir())
        assert list(tmp_path.glob(f"{PART}*")) == [part]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["living.txt", "result.txt"]
