"""Tables of features that users give: one participant in every spelling, and what is refused."""

import pandas as pd
import pytest

from bids_sexclf.cohort.features import read_features
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study

COHORT = pd.DataFrame(
    {"participant_id": ["sub-001", "sub-2"], "session_id": ["ses-1", None], "sex": "female"}
)


def read(tmp_path, content, name="mine.tsv", **choices):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return read_features(Study(features=str(path), **choices), tmp_path, COHORT)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.tsv", "participant_id\tleft\tright\nsub-001\t1\t2\nsub-2\t3\tn/a\n"),
        ("mine.tsv", "Participant_ID \tleft \tright\r\n2.0\t3\tNA\r\n001 \t 1\t2\r\n"),
        ("mine.csv", "\ufeffparticipant_id,left,right\n001,1,2\nSub-2,3.0,\n"),
        ("mine.tsv", "participant_id\tsession_id\tleft\tright\n001\t1\t1\t2\n2\tNA\t3\t-\n"),
    ],
)
def test_one_participant_in_many_spellings_is_one_participant(tmp_path, name, content):
    features, about = read(tmp_path, content, name)
    assert features.names == ("left", "right") and about["feature"].tolist() == ["left", "right"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(features.values), pd.DataFrame([[1.0, 2.0], [3.0, float("nan")]])
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("participant_id\tx\nsub-2\t1\n2\t5\n", "sub-2 spelled 'sub-2' and '2'"),
        ("participant_id\tx\n", "a header and no row below it"),
        ("participant_id\tx\n001\tinf\n2\t1\n", "infinite numbers .x."),
        ("participant_id\tx\n001\t1e999\n2\t1\n", "infinite numbers .x."),
        ("participant_id\tx\n001\t1,5\n2\t1\n", "hold text .x."),
        ("\tparticipant_id\tx\n0\t001\t1\n1\t2\t5\n", "without a name .unnamed column 1."),
        ("participant_id\tx\nNA\t1\n2\t1\n", "1 rows without participant_id"),
        ("participant_id\tx\t SEX\n001\t1\t0\n2\t1\t1\n", "tell the answer .SEX."),
        ("participant_id\tx\tGender code\n001\t1\t0\n2\t1\t1\n", "answer .Gender code."),
        ("id\tx\n001\t1\n", "no column participant_id"),
    ],
)
def test_a_table_of_no_use_says_why(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, content, sex_column="gender_code")
