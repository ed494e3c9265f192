"""Processes started one per device: one runs the study, the others train along and end with it."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bids_sexclf import cli
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.training import team

pytestmark = pytest.mark.slow


def seat(rank, *numbers):
    """Give a seat; what its module imports would slow each child here."""
    from bids_sexclf.training.nodes import Seat

    return Seat(rank, *(numbers or (0, 1, 3)))


@pytest.fixture
def teams(monkeypatch):
    """Give three processes of one team, each to be moved by a thread."""
    from torch.distributed import HashStore

    store = HashStore()
    made = [team.Team(seat(rank), store) for rank in range(3)]
    in_turn(made, lambda member: member.gather(60))
    return made


def in_turn(teams, move):
    """Let all move at once; give what each gave."""
    with ThreadPoolExecutor(len(teams)) as pool:
        return [future.result() for future in [pool.submit(move, member) for member in teams]]


def play(job, tell):
    """Be one part of a fit: the job says what becomes of each process."""
    rank, fates = job
    fate = fates[rank]
    tell({"epoch": 0})
    if fate == "wait":  # as one waits for gradients of another that will never come
        time.sleep(600)
    if fate == "die":
        os._exit(9)
    if fate is not None:
        raise ValueError(fate)


def fit(teams, fates, told=None):
    def move(member):
        if member.leads:
            member.call({"job": fates})
        else:
            assert member.listen() == {"job": fates}
        hear = (told.append,) if told is not None and member.leads else ()
        return member.work(play, (member.seat.rank, fates), 1, *hear)

    return in_turn(teams, move)


def test_a_fault_in_one_process_ends_the_job_and_not_the_team(teams):
    fault, *others = fit(teams, ["wait", "no memory", "wait"])
    assert "ValueError: no memory (process 1 on" in str(fault) and others == [None, None]
    assert "process 0" not in str(fault)
    told = []
    assert fit(teams, [None, None, None], told) == [None, None, None]
    assert told == [{"epoch": 0}]


def test_a_fault_in_all_is_told_once(teams):
    # Who is ended before its own fault was heard tells none.
    fault = fit(teams, ["same", "same", "same"])[0]
    assert str(fault).count("ValueError: same") == 1 and "(process" in str(fault)


def test_faults_that_read_alike_are_told_with_all_who_had_them(teams):
    store, lead = teams[0].store, teams[0]
    for rank, told in enumerate(["same", "other", "same"]):
        store.set(f"7/fault/{rank}", json.dumps([f"node{rank}", told]))
    store.add("7/failed", 3)
    assert str(lead._sum_up(7)) == (
        "same (process 0 on node0, process 2 on node2); other (process 1 on node1)"
    )


def test_a_child_that_dies_ends_the_job(teams):
    fault = fit(teams, ["wait", "wait", "die"])[0]
    assert str(fault).startswith("ended with code 9 (process 2 on")


def test_each_job_has_a_group_of_its_own(teams):
    groups = []
    for _ in range(2):
        teams[0].call({})
        for member in teams[1:]:
            member.listen()
        groups.append({member.place().group for member in teams})
    assert [len(names) for names in groups] == [1, 1] and groups[0] != groups[1]


def test_all_end_with_the_exit_code_of_the_first(teams):
    def end(member):
        if member.leads:
            return member.dismiss(65)
        word = member.listen()
        member.leave()
        return word

    assert in_turn(teams, end) == [None, {"end": 65}, {"end": 65}]


def test_a_process_that_falls_silent_is_named(teams, monkeypatch):
    monkeypatch.setattr(team, "LOST", 4)
    fates, ended = ["wait", "wait", "wait"], []

    def move(member):
        if member.leads:
            member.call({"job": fates})
            with pytest.raises(ToolError, match="no sign of life of process 2"):
                member.work(play, (member.seat.rank, fates), 1)
        elif member.seat.rank == 1:
            member.listen()
            member.work(play, (member.seat.rank, fates), 1)
        ended.append(member.seat.rank)

    in_turn(teams, move)
    assert sorted(ended) == [0, 1, 2]


def test_other_commands_and_missing_processes_are_refused():
    from torch.distributed import HashStore

    store, refused = HashStore(), []

    def come(own):
        try:
            team.Team(own, store).gather(30)
        except InputError as fault:
            refused.append(str(fault))

    in_turn([seat(0, 0, 1, 2), seat(1, 1, 2, 2)], come)
    assert len(refused) == 2 and all("one command for all" in told for told in refused)
    with pytest.raises(ToolError, match="no process 1, 2 of 0 to 2"):
        team.Team(seat(0), HashStore()).gather(0)


# A whole study

CHOICES = (
    "--split fixed --voxel-size 7 --epochs 2 --bootstraps 100 --permutations 100 --nprocs 1 "
    "--baselines brain_size --residualize age --last evaluate"
).split()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_study_over_two_machines_is_that_of_two_devices(
    write_derivatives, tmp_path, monkeypatch, capsys
):
    root = write_derivatives(tmp_path / "bids", n=16, effect=8.0)
    given = ["group", f"--derivatives=bids_sexclf={root / 'derivatives' / 'out'}", *CHOICES]
    assert cli.main([str(root), str(tmp_path / "one"), *given, "--devices", "2"]) == 0

    given = [str(root), str(tmp_path / "two"), *given, "--num-nodes", "2"]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "LOCAL_RANK": "0"}
    for name, value in (place | {"NODE_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    other = subprocess.Popen(
        [sys.executable, "-m", "bids_sexclf.cli", *given],
        env=os.environ | place | {"NODE_RANK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert cli.main(given) == 0
    told, _ = other.communicate(timeout=120)
    assert (other.returncode, told) == (0, "")
    for name in ("predictions", "history", "scores"):
        one, two = (tmp_path / out / "study-default" / f"{name}.tsv" for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), name
