"""The short form of the kills; ``benchmarks/chaos.py --part kills`` runs the long one."""

from attacks import kills


def check(outcome, tried):
    assert outcome.tried >= tried, outcome
    assert outcome.faults == [], "\n".join(outcome.faults)


def test_a_killed_study_leaves_no_process_and_ends_with_the_same_files(tmp_path):
    check(kills.run(tmp_path, count=2, levels=("group",)), 2)


def test_a_killed_participant_leaves_no_process_and_ends_with_the_same_files(tmp_path):
    check(kills.run(tmp_path, count=1, levels=("participant",)), 1)
