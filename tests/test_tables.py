import json

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import tables
from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError


def splits():
    return pd.DataFrame(
        {"repeat": [1, 1], "fold": [1, 1], "participant_id": ["sub-001", "sub-1"]}
        | {"part": ["train", "test"]}
    )


def test_a_table_comes_back_as_it_was_written(tmp_path):
    tables.write_table(splits(), tmp_path / "splits.tsv", "splits")
    pd.testing.assert_frame_equal(tables.read_table(tmp_path / "splits.tsv", "splits"), splits())


def test_the_data_dictionary_lies_beside_the_table(tmp_path):
    tables.write_table(splits(), tmp_path / "splits.tsv", "splits")
    assert json.loads((tmp_path / "splits.json").read_text()) == tables.schema("splits")


def test_unknown_is_written_as_na_and_read_as_unknown(tmp_path):
    frame = pd.DataFrame({"participant_id": ["sub-01"], "note": [np.nan]})
    tables.write_tsv(frame, tmp_path / "t.tsv")
    assert "n/a" in (tmp_path / "t.tsv").read_text()
    assert tables.read_tsv(tmp_path / "t.tsv")["note"].isna().all()


def test_every_fault_of_a_table_is_told_at_once():
    bad = splits().drop(columns="fold").assign(part=["train", "exam"], repeat=[0, 1])
    with pytest.raises(InputError, match="'fold' is missing") as told:
        tables.check_table(bad, "splits")
    assert "exam" in str(told.value) and "'repeat' falls to 0" in str(told.value)


@pytest.mark.parametrize("name", tables.schemas())
def test_every_column_of_every_dictionary_is_described(name):
    for column, entry in tables.schema(name).items():
        assert entry.get("Description"), (name, column)


def test_what_fails_half_way_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole(tmp_path / "a.tsv") as part:
        part.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rewrite_keeps_the_file_that_was_there(tmp_path):
    (tmp_path / "a.tsv").write_text("before")
    with pytest.raises(RuntimeError), whole(tmp_path / "a.tsv") as part:
        part.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.tsv").read_text() == "before"


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="cannot be read as a table"):
        tables.read_tsv(tmp_path / "a.tsv")
