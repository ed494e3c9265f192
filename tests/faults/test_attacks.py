"""The short form of all attacks; ``benchmarks/chaos.py`` runs the long one."""

import pytest
from attacks import hostile, mutations, permissions, repeats, together, writes

pytestmark = pytest.mark.slow


def check(outcome, tried):
    assert outcome.tried >= tried, outcome
    assert outcome.faults == [], "\n".join(outcome.faults)


def test_damaged_files_are_refused_or_read_as_they_were(tmp_path):
    check(mutations.run(tmp_path, count=300, seed=11), 250)


def test_hostile_text_is_shown_and_never_run(tmp_path):
    check(hostile.run(tmp_path, count=6), 12)


def test_a_full_disk_and_no_permission_are_named_and_leave_nothing_half(tmp_path):
    check(writes.run(tmp_path, count=1, levels=("group",)), 4)


def test_places_that_may_not_be_read_or_written_are_named(tmp_path):
    check(permissions.run(tmp_path, count=2, levels=("group",)), 2)


def test_two_runs_of_one_study_do_not_disturb_each_other(tmp_path):
    check(together.run(tmp_path, count=1, parts=("groups",)), 1)


def test_processes_and_threads_change_no_byte_of_a_study(tmp_path):
    check(repeats.run(tmp_path, count=1, levels=("group",)), 1)
