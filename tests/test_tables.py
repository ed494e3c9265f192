import json
import random

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


def written(tmp_path, content, name="t.tsv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "participant_id\tsite\tx\n01\tA\t1\n02\tn/a\t2.5\n",
        "\ufeffparticipant_id\tsite\tx\n01\tA\t1\n02\tn/a\t2.5\n",
        "Participant_ID \t SITE\tx\r\nsub-01 \tA\u00a0\t 1\r\n02\tNA\t2.5 \r\n\r\n",
        'participant ID\t"site"\tx\nSub-01\t"A"\t"1"\n"02"\t""\t"2.5"\n\t\t\n',
        "participant_id\tsite\tx\r01\tA\t1.0\r02\tNaN\t2.5\r",
        "participant_id\tsite\tx\t\t\n01\tA\t1\t\t\n02\t<NA>\t2.5\t\t\n",
    ],
)
def test_one_table_in_many_spellings_is_one_table(tmp_path, content):
    table = tables.read_tsv(written(tmp_path, content))
    expected = {"participant_id": ["sub-01", "sub-02"], "site": ["A", None], "x": [1.0, 2.5]}
    assert table.astype(object).where(table.notna(), None).to_dict("list") == expected


@pytest.mark.parametrize("content", ["participant_id,x\n01,1\n", "participant_id;x\n01;1\n"])
def test_csv_is_read_where_the_name_says_so(tmp_path, content):
    table = tables.read_tsv(written(tmp_path, content, "t.csv"))
    assert table.to_dict("list") == {"participant_id": ["sub-01"], "x": [1]}


def test_identifiers_are_text_in_one_spelling(tmp_path):
    rows = ["001\t12\t3", "1\t12.0\t3.0", "1e2\t1e+05\tsite  A", "sub-2\t012\tsite\u00a0A"]
    table = tables.read_tsv(
        written(tmp_path, "participant_id\tfamily_id\tsite\n" + "\n".join(rows))
    )
    assert table["participant_id"].tolist() == ["sub-001", "sub-1", "sub-1e2", "sub-2"]
    assert table["family_id"].tolist() == ["12", "12", "100000", "012"]
    assert table["site"].tolist() == ["3", "3", "site A", "site A"]


@pytest.mark.parametrize(
    "marker", ["n/a", "N/A", "NA", "NaN", "nan", "None", "null", "", "-", " NA "]
)
def test_what_tools_write_for_unknown_is_unknown(tmp_path, marker):
    text = f"participant_id\tfamily_id\tx\n1\t{marker}\t{marker}\n2\tf\t5\n"
    table = tables.read_tsv(written(tmp_path, text))
    assert table["family_id"].isna().tolist() == table["x"].isna().tolist() == [True, False]
    assert table["x"][1] == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\tb\n1\t2\n3\n", "2 columns, but 1 cells in line 3"),
        ("a\tb\n1\t2\t3\n1\t2\t3\n", "names of rows.* in line 2, and 1 other"),
        ("sex\tSex \n1\t2\n", "two columns of one name: 'sex'"),
        ('a\tb\n"1\t2\n3\t4\n', "cannot be read as a table"),
        ('a\tb\n"1\t2\n3"\t4\n', "a cell goes over several lines"),
        ("a\tb\n1\t\0\n", "NUL bytes"),
        ("a\tb\nM\u00fcller\t1\n".encode("latin-1"), "byte 5 in line 2 is no UTF-8.*iconv"),
        (b"PK\x03\x04...", "Excel workbook"),
        ("\n \n", "it is empty"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        tables.read_tsv(written(tmp_path, content), ("sex",))


def test_columns_keep_their_spelling_unless_they_are_asked_for(tmp_path):
    path = written(tmp_path, " Left  Thing\tPART\n1\tTrain\n")
    assert list(tables.read_tsv(path, ("part",))) == ["Left  Thing", "part"]


def test_our_own_tables_keep_the_words_that_others_write_for_unknown(tmp_path):
    frame = splits().assign(part=["train", "test"])
    reasons = pd.DataFrame(
        {"participant_id": ["sub-1"], "session_id": ["ses-NA"], "stage": "cohort"}
        | {"reason": ["None"]}
    )
    tables.write_table(reasons, tmp_path / "excluded.tsv", "excluded")
    back = tables.read_table(tmp_path / "excluded.tsv", "excluded")
    assert back.to_dict("list") == reasons.to_dict("list")
    tables.write_table(frame, tmp_path / "splits.tsv", "splits")
    before = (tmp_path / "splits.tsv").read_bytes()
    tables.write_tsv(tables.read_table(tmp_path / "splits.tsv", "splits"), tmp_path / "splits.tsv")
    assert (tmp_path / "splits.tsv").read_bytes() == before


def test_a_long_cell_is_read_also_beside_quotation_marks(tmp_path):
    table = pd.DataFrame({"reason": ["x" * 3_000_000, 'needed "M"']})
    tables.write_tsv(table, tmp_path / "a.tsv")
    pd.testing.assert_frame_equal(tables.read_tsv(tmp_path / "a.tsv"), table)


def test_numbers_come_back_to_the_last_bit(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**62, 5000).view(np.float64)
    frame = pd.DataFrame({"x": bits, "n": np.arange(5000), "yes": np.arange(5000) % 2 == 0})
    tables.write_tsv(frame, tmp_path / "t.tsv")
    pd.testing.assert_frame_equal(tables.read_tsv(tmp_path / "t.tsv"), frame, check_exact=True)


def test_control_characters_inside_a_cell_cannot_break_a_table(tmp_path):
    frame = pd.DataFrame({"participant_id": ["sub-1"], "reason": ['a\tb\n"c"\0d'], "n": [1]})
    tables.write_tsv(frame, tmp_path / "t.tsv")
    assert tables.read_tsv(tmp_path / "t.tsv")["reason"].tolist() == ['a b "c" d']


def spoil(content, rng):
    """Change a table as accidents do; the content is bytes."""
    place, lines = rng.randrange(len(content)), content.split(b"\n")
    kind = rng.randrange(8)
    if kind == 0:
        return content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
    if kind == 1:
        return content[:place]
    if kind == 2:
        row = rng.randrange(len(lines))
        cut = lines[row][: rng.randrange(len(lines[row]) + 1)]
        return b"\n".join([*lines[:row], cut, *lines[row + 1 :]])
    if kind == 3:
        return b"\n".join(line + b"\t" + line.split(b"\t")[-1] for line in lines)
    if kind == 4:
        return content[:place] + b"\0" * rng.randrange(1, 9) + content[place:]
    if kind == 5:
        return content[:place] + b"9" * 300_000 + content[place:]
    if kind == 6:
        return content.decode().encode(rng.choice(["utf-16", "utf-32", "cp500", "utf-8-sig"]))
    return content[:place] + rng.choice([b'"', b"\t", b"\r", b"\xe4", b"_", b"-"]) + content[place:]


def numbers_of(text):
    """Return every cell that Python's own rules read as a number."""
    cells = {cell.strip() for line in text.splitlines() for cell in line.split("\t")}
    found = set()
    for cell in cells:
        try:
            found.add(float(cell))
        except ValueError:
            continue
    return found


def test_a_spoiled_table_is_refused_or_holds_the_numbers_that_it_shows(tmp_path):
    rng = random.Random(0)
    rows = [f"sub-{i:02d}\tsite{i % 3}\t{1 + i / 7!r}\t{i}" for i in range(12)]
    whole = ("\n".join(["participant_id\tsite\tsize\tcount", *rows]) + "\n").encode()
    refused = 0
    for _ in range(400):
        content = spoil(whole, rng)
        path = written(tmp_path, content)
        try:
            table = tables.read_tsv(path)
        except InputError:
            refused += 1
            continue
        shown = numbers_of(content.decode("utf-8-sig").replace('"', ""))
        for name in table.select_dtypes("number"):
            assert set(table[name].dropna()) <= shown, content[:500]
    assert 100 < refused < 350


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"participant_id;sex;age\n1;F;20\n", "cells are separated by ';', and not by tabs"),
        (b"participant_id,sex,age\n1,F,20\n", "cells are separated by ',', and not by tabs"),
        ("participant_id\tsex\n1\tF\n".encode("utf-16"), "it is UTF-16; 'iconv -f utf-16"),
    ],
)
def test_a_table_of_another_kind_is_told_by_its_kind(tmp_path, content, words):
    (tmp_path / "participants.tsv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        tables.read_tsv(tmp_path / "participants.tsv")
