"""The short form of the kills; ``benchmarks/chaos.py --part kills`` runs the long one.

``tests/participant/test_run.py`` kills the preparation of a participant.
"""

from attacks import kills


def check(outcome, tried):
    assert outcome.tried >= tried, outcome
    assert outcome.faults == [], "\n".join(outcome.faults)


def test_a_killed_study_leaves_no_process_and_ends_with_the_same_files(tmp_path):
    check(kills.run(tmp_path, count=2, levels=("group",)), 2)
