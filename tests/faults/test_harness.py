"""The attacks see what is wrong: each is tried on something that is."""

import sys
import time

import pytest
from attacks import Outcome, damage, hostile, mutations, processes, writes
from attacks.contents import contents, differences, leftovers
from attacks.readers import Reader

from bids_sexclf.errors import InputError


def write(folder):
    (folder / "file").write_text("1 2 3\n")


def crash(path):
    raise_on_damage(path, KeyError("x"))


def refuse(path):
    raise_on_damage(path, InputError("Found a, needed b. Do c."))


def swallow_memory(path):
    return bytearray(0 if path.read_text() == "1 2 3\n" else 50 * 2**20)[:1]


def hang(path):
    if path.read_bytes() != b"1 2 3\n":
        time.sleep(5)


def raise_on_damage(path, fault):
    if path.read_bytes() != b"1 2 3\n":
        raise fault


@pytest.mark.parametrize(
    ("read", "verdict"),
    [
        (lambda path: path.read_bytes(), "accepted with other content"),
        (crash, "traceback"),
        (swallow_memory, "MB, honest"),
        (hang, "hang"),
        (refuse, None),
    ],
)
def test_damage_that_a_reader_does_not_answer_in_words_is_seen(
    tmp_path, monkeypatch, read, verdict
):
    monkeypatch.setattr(mutations, "PATIENCE", 1)
    reader = Reader("one", "file", write, read, (damage.more_cells,))
    outcome = mutations.run(tmp_path, count=2, readers=(reader,))
    assert outcome.tried == 2
    if verdict is None:
        assert outcome.faults == []
    else:
        assert verdict in " ".join(outcome.faults)


@pytest.mark.parametrize(
    ("page", "word"),
    [
        ("<script>x</script></html>", "executes"),
        ("<p onclick='x'></p></html>", "executes"),
        ("<p><a href=' java\nscript:x'></a></p></html>", "executes"),
        ("<p></p><marquee></html>", "elements that the page does not have"),
        ("<p>", "does not end"),
        ("<p>a\x1b</p></html>", "control characters"),
        (f"<p>{'x' * 500_000}</p></html>", "characters longer"),
    ],
)
def test_pages_that_execute_or_break_are_seen(page, word):
    outcome = Outcome("hostile")
    hostile.check(outcome, "page", page, *hostile.parse("<p><a href='#x'></a></p></html>"))
    assert len(outcome.faults) >= 1 and word in outcome.faults[0]
    fine = Outcome("hostile")
    hostile.check(fine, "page", "<p></p></html>", *hostile.parse("<p></p></html>"))
    assert fine.faults == []


def test_files_that_differ_are_missing_or_half_written_are_seen(tmp_path):
    for name, text in {"a/x": "1", "b/x": "2", "a/y": "1", "b/.part-q": "", "b/work/z": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = differences(contents(tmp_path / "a"), contents(tmp_path / "b"))
    assert lines == ["only in the first: y", "only in the second: .part-q", "differs: x"]
    assert leftovers(tmp_path / "b") == [".part-q"]


def test_a_process_that_outlives_its_parent_is_seen(tmp_path):
    script = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {!r}])"
    child = processes.start(
        [sys.executable, "-c", script.format("import time; time.sleep(60)")], tmp_path / "told"
    )
    child.wait()
    assert len(processes.survivors(child.pid, 0.2)) == 1
    time.sleep(0.2)
    assert processes.living(child.pid) == {}


def test_runs_that_end_without_a_word_are_seen(tmp_path):
    for code, told in ((1, ""), (-7, "Bus error"), (74, "no"), (0, "Traceback (most recent")):
        outcome = Outcome("writes")
        writes.judge(outcome, "x", code, told, tmp_path)
        assert len(outcome.faults) >= 1, code
    outcome = Outcome("writes")
    writes.judge(outcome, "x", 74, "Found no room, needed some.", tmp_path)
    assert outcome.faults == []
