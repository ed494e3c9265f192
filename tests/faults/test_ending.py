"""How the program ends before its work is done: in words, with a code, and without its workers."""

import errno
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from attacks import people, processes

from bids_sexclf import cli, stopping
from bids_sexclf.crashes import describe
from bids_sexclf.disk import whole
from bids_sexclf.errors import NO_MEMORY, OUR_FAULT, SYSTEM, InputError
from bids_sexclf.faults import explain, name_file


def test_outputs_that_were_closed_are_no_fault(monkeypatch, tmp_path):
    """As with ``>&- 2>&-``: Python then has None in their place, and libraries fail."""
    monkeypatch.setattr(cli, "_group", lambda *args, **kwargs: print("done") or 0)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main([str(tmp_path / "bids"), str(tmp_path / "out"), "group"]) == 0


@pytest.fixture
def fail(monkeypatch, tmp_path, capsys):
    """Give a function that runs the command line, which ends with a fault: code and words."""

    def run(fault, *more):
        def raise_it(*args, **kwargs):
            raise fault

        monkeypatch.setattr(cli, "_group", raise_it)
        code = cli.main([str(tmp_path), str(tmp_path / "derivatives/out"), "group", *more])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "room"),
        (errno.EDQUOT, "room"),
        (errno.EFBIG, "room"),
        (errno.EACCES, "permission"),
        (errno.EROFS, "permission"),
        (errno.ENOTDIR, "folder"),
        (errno.EISDIR, "folder"),
        (errno.ENOENT, "Found no"),
        (errno.ELOOP, "circle"),
        (errno.ENAMETOOLONG, "shorter"),
        (errno.EMFILE, "open files"),
        (errno.EIO, "disk that answers"),
    ],
)
def test_errors_of_the_system_are_named_with_their_file(fail, number, word):
    code, words = fail(OSError(number, os.strerror(number), "/data/map.nii"))
    assert code == SYSTEM
    assert word in words and "/data/map.nii" in words and "needed" in words
    assert "Traceback" not in words


def test_a_reader_of_the_output_that_has_ended_is_named(fail):
    code, words = fail(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert code == SYSTEM and "reads this output" in words


def test_memory_that_has_run_out_is_named(fail):
    code, words = fail(MemoryError("Unable to allocate 9 TiB"))
    assert code == NO_MEMORY and "--nprocs" in words and "9 TiB" in words
    assert fail(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"))[0] == NO_MEMORY


def test_a_full_disk_is_seen_behind_the_error_of_a_library(fail):
    class SafetensorError(Exception):
        """As safetensors raises it."""

    code, words = fail(SafetensorError("I/O error: No space left on device (os error 28)"))
    assert code == SYSTEM and "Found no room" in words
    wrapped = RuntimeError("could not save")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/out/x")
    assert explain(wrapped).exit_code == SYSTEM and "/out/x" in explain(wrapped).message


def test_a_write_that_fails_names_the_file_and_not_the_name_it_has_while_written(tmp_path):
    with pytest.raises(OSError) as caught, whole(tmp_path / "scores.tsv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert name_file(caught.value) == str(tmp_path / "scores.tsv")
    part = tmp_path / ".part-abcd_123-scores.tsv"
    assert name_file(OSError(errno.EACCES, "", str(part))) == str(tmp_path / "scores.tsv")


def test_a_file_in_the_way_of_a_folder_is_found(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(OSError) as caught, whole(tmp_path / "logs" / "deep" / "x.json"):
        pass
    told = explain(caught.value)
    assert f"Found {tmp_path / 'logs'}, which is a file where a folder is needed" in told.message


@pytest.mark.parametrize(
    ("name", "content"), [("x.json", b"{"), ("x.json", b"\xff\xfe"), ("x.json", b"[" * 99_999)]
)
def test_damaged_text_is_named_with_its_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    from bids_sexclf.layout import outputs

    source = "import json\ndef read(path):\n    return json.loads(path.read_text())\n"
    space = {}
    exec(compile(source, outputs.__file__, "exec"), space)  # as if a module of the package did it
    with pytest.raises((ValueError, RecursionError)) as caught:
        space["read"](path)
    told = explain(caught.value)
    assert told.exit_code == InputError.exit_code and str(path) in told.message
    assert re.match(r"InputError: Found .*; needed a .* file\. ", told.message)


def test_any_other_fault_is_told_as_the_programs_own_with_a_file_to_send(fail, tmp_path):
    fault = KeyError("smith_42")
    code, words = fail(fault, "--participant-label", "smith42")
    assert code == OUR_FAULT and "fault of bids_sexclf itself" in words
    assert "Traceback" not in words
    (path,) = (tmp_path / "derivatives/out/logs").glob("crash-*.txt")
    assert str(path) in words
    text = path.read_text()
    for needed in ("bids_sexclf ", "Python 3", "numpy ", "command: ", "Traceback", "KeyError"):
        assert needed in text
    assert "smith" not in text


def test_the_file_to_send_goes_elsewhere_where_the_output_cannot_be_written(
    fail, tmp_path, monkeypatch
):
    (tmp_path / "derivatives").mkdir()
    (tmp_path / "derivatives" / "out").write_text("a file")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    monkeypatch.setattr(cli, "_run", lambda arguments: 1 / 0)
    code, words = fail(ValueError("never raised"))
    (path,) = (tmp_path / "t").glob("crash-*.txt")
    assert code == OUR_FAULT and str(path) in words


def test_tracebacks_are_shown_when_asked_for(fail):
    code, words = fail(InputError("Found a, needed b. Do c."), "-v")
    assert code == 65 and "Traceback" in words and words.rstrip().endswith("Do c.")
    assert "Traceback" not in fail(InputError("Found a, needed b. Do c."))[1]


def test_what_describes_a_fault_holds_no_participant():
    try:
        try:
            float("34.5 years of sub-Miller")
        except ValueError as fault:
            raise RuntimeError("row 'Miller, F' of /data/sub-Miller/ses-2/x.nii") from fault
    except RuntimeError as fault:
        arguments = ["/d", "/o", "group", "--participant_label", "Miller", "Ex", "--maps", "FA"]
        text = describe(fault, [*arguments, "--session-label=Ex2"], {"numpy": "2"})
    assert "Miller" not in text and "34.5" not in text and "Ex" not in text.replace("Error", "")
    assert "--maps FA" in text and "RuntimeError" in text and "ValueError" in text


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("stopped")
    return root / "bids", people.write_study(root / "bids", n=8)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_workers_first_and_says_how_to_go_on(study, tmp_path, kind):
    told = tmp_path / "told.txt"
    command = people.group_command(*study, "--first", "cohort", nprocs=2)
    child = processes.start(command, told)
    assert processes.wait_for_worker(child)
    os.killpg(child.pid, kind)  # as a terminal and a scheduler do, to all processes
    assert child.wait(60) == 128 + kind
    words = told.read_text()
    assert "run the same command again" in words and kind.name in words
    assert "Traceback" not in words, words
    assert processes.survivors(child.pid) == {}


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_that_python_has_dropped_comes_again(monkeypatch):
    monkeypatch.setattr(stopping, "PATIENCE", 0.1)

    class Odd:
        """An object that is being taken apart when the signal comes."""

        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGALRM)]
    with pytest.raises(stopping.Stopped) as stopped, stopping.stoppable():
        odd = Odd()
        del odd
        time.sleep(20)
    assert stopped.value.exit_code == 143
    time.sleep(0.3)  # nothing comes later
    assert handlers == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGALRM)]


@pytest.mark.parametrize("reader", ["true", "head -c 1"])
def test_a_closed_pipe_gives_no_traceback(study, reader):
    command = [*people.group_command(*study), "--dry-run"]
    words = " ".join(f"'{word}'" for word in command)
    script = f"{words} | {reader}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=people.environment()
    )
    assert ended.returncode in (0, SYSTEM), ended.stderr
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr


def test_a_full_disk_behind_the_output_gives_no_traceback(study):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*people.group_command(*study), "--dry-run"], stdout=full, stderr=subprocess.PIPE,
            text=True, env=people.environment(),
        )  # fmt: skip
    assert ended.returncode == SYSTEM and "no room for what this command prints" in ended.stderr
    assert str(study[1]) not in ended.stderr
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr


def test_a_copy_without_room_names_where_it_should_lie():
    fault = OSError(errno.ENOSPC, "No space left on device", "/work/tmp1", None, "/out/last.ckpt")
    told = explain(fault)
    assert "no room to write /out/last.ckpt" in told.message and told.exit_code == SYSTEM
