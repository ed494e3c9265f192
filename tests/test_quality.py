"""Who is broken, who is odd, and what a person's verdict changes."""

import json

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import layout
from bids_sexclf.errors import InputError
from bids_sexclf.quality import (
    flag,
    judge,
    numbers,
    read_limits,
    read_quality,
)
from bids_sexclf.ratings import read_ratings

GOOD = {"brain_volume_ml": 1300.0, "registration_agreement": 0.96, "snr": 12.0}


def make_table(*changes):
    """Eight ordinary participants, and one more for each set of changed numbers."""
    rows = []
    for place, change in enumerate([{}] * 8 + list(changes), start=1):
        row = dict.fromkeys(numbers(), np.nan) | GOOD | change
        row["brain_volume_ml"] += place if not change else 0
        rows.append({"participant_id": f"sub-{place:02}", "session_id": None} | row)
    return pd.DataFrame(rows)


def write_quality(out, person, content):
    path = out / layout.derivative("quality", person)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_damaged_file_costs_its_participant_only(tmp_path):
    write_quality(tmp_path, "sub-01", GOOD)
    damaged_files = {"sub-02": '{"snr": ', "sub-03": "[1]", "sub-04": {"snr": "high"}, "sub-05": {}}
    for person, content in damaged_files.items():
        write_quality(tmp_path, person, content)
    table, damaged = read_quality(tmp_path)
    assert table["participant_id"].tolist() == ["sub-01"] and table["snr"].tolist() == [12.0]
    assert sorted(person for person, _ in damaged) == list(damaged_files)
    assert "sub-02_quality.json" in damaged["sub-02", None]


def test_a_mask_on_the_face_is_refused_by_its_numbers():
    face = {"registration_agreement": 0.285, "brain_volume_ml": 1073.0, "snr": 2.2}
    verdicts = judge(make_table(face), read_limits())
    assert verdicts.gate == ["passed"] * 8 + ["refused"]
    assert "registration_agreement 0.285" in verdicts.reasons[-1]
    assert verdicts.reasons[:8] == [None] * 8


def test_what_is_odd_is_flagged_and_refused_only_on_request():
    table = make_table({"registration_agreement": 0.9})
    table.loc[:7, "registration_agreement"] += np.arange(8) / 1000
    assert judge(table, read_limits()).gate == ["passed"] * 9
    assert "robust SD below the median" in judge(table, read_limits()).flags[-1]
    asked = judge(table, read_limits(), outliers=6.0)
    assert asked.gate == ["passed"] * 8 + ["refused"] and "at most 6" in asked.reasons[-1]


def test_only_the_bad_direction_counts():
    table = make_table({"snr": 400.0})
    table.loc[:7, "snr"] += np.arange(8) / 10
    assert flag(table)[0][-1] == {}
    assert judge(table, read_limits(), outliers=6.0).gate == ["passed"] * 9


def test_a_persons_verdict_counts_before_every_number(tmp_path):
    path = tmp_path / "ratings.tsv"
    path.write_text(
        "participant_id\tsession_id\tverdict\tcomment\n"
        "sub-01\tn/a\texclude\ttumour\n02\tn/a\tunsure\tn/a\nsub-09\tn/a\tuse\tcropped, but whole\n"
    )
    face = {"registration_agreement": 0.285}
    verdicts = judge(make_table(face), read_limits(), read_ratings(path))
    assert verdicts.gate == ["rejected", *["passed"] * 7, "accepted"]
    assert "tumour" in verdicts.reasons[0] and "cropped, but whole" in verdicts.reasons[-1]
    assert "a person is unsure" in verdicts.flags[1]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("sub-01\tn/a\tbad\tn/a\n", "needed one of"),
        ("sub-01\tn/a\tuse\tn/a\nsub-01\tn/a\texclude\tn/a\n", "two verdicts on sub-01"),
    ],
)
def test_ratings_that_cannot_be_used_are_refused(tmp_path, rows, words):
    path = tmp_path / "ratings.tsv"
    path.write_text("participant_id\tsession_id\tverdict\tcomment\n" + rows)
    with pytest.raises(InputError, match=words):
        read_ratings(path)


def test_limits_of_a_study_replace_those_by_default():
    lowest = read_limits()["registration_agreement"][0]
    assert 0 < lowest < 0.9
    changed = read_limits(["registration_agreement >= 0.9", "motion_mm<=2", "snr >= none"])
    assert changed["registration_agreement"] == (0.9, np.inf)
    assert changed["motion_mm"] == (-np.inf, 2.0) and changed["snr"] == (-np.inf, np.inf)


@pytest.mark.parametrize(
    "wrong",
    ["moton_mm <= 2", "motion_mm < 2", "motion_mm <= two", "", "=1", "snr >= 1.2.3", "snr >= ."],
)
def test_limits_that_cannot_be_read_are_refused(wrong):
    with pytest.raises(InputError, match="quality_limits"):
        read_limits([wrong])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["snr >= 5", "snr >= 9"], "one limit on that side of snr"),
        (["brain_volume_ml >= 1200", "brain_volume_ml <= 1000"], "at least 1200 and at most 1000"),
        (["brain_volume_ml >= 9000"], "at least 9000 and at most 2300"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        read_limits(wrong)


def test_a_verdict_without_a_session_is_on_all_sessions(tmp_path):
    path = tmp_path / "ratings.tsv"
    path.write_text("participant_id\tsession_id\tverdict\n1\tn/a\texclude\n1\t2\tuse\n")
    table = make_table().head(3)
    table["participant_id"], table["session_id"] = "sub-1", ["ses-1", "ses-2", "ses-3"]
    gate = judge(table, read_limits(), read_ratings(path)).gate
    assert gate == ["rejected", "passed", "rejected"]


def test_every_limit_lets_ordinary_adults_pass():
    for name, (lowest, highest) in read_limits().items():
        assert not lowest > GOOD.get(name, np.nan) and not highest < GOOD.get(name, np.nan)
