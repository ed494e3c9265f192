"""The page of all participants: everybody is on it, and nothing in it runs that is not ours."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

from bids_sexclf import layout
from bids_sexclf.participant.index import THUMBNAILS, write_index
from bids_sexclf.ratings import read_ratings
from bids_sexclf.tables import write_table

HOSTILE = "</script><script>alert(1)</script> <img src=x onerror=alert(1)> $\\alpha_{1$ \u2028 end"


def write_quality(out, person, session=None, **numbers):
    path = out / layout.derivative("quality", person, session)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers))


def write_excluded(out, *rows):
    columns = ["participant_id", "session_id", "stage", "reason"]
    write_table(pd.DataFrame(rows, columns=columns, dtype=object), out / "excluded.tsv", "excluded")


def read_data(out):
    page = write_index(out).read_text(encoding="utf-8")
    return page, json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.S)[1])


def test_everybody_is_on_the_page_with_state_and_reason(tmp_path):
    for number in range(1, 9):
        write_quality(tmp_path, f"sub-{number}", registration_agreement=0.95 + number / 1000)
    write_quality(tmp_path, "sub-9", registration_agreement=0.2)
    write_quality(tmp_path, "sub-90", "ses-2", registration_agreement=0.9)
    write_excluded(tmp_path, ["sub-91", None, "participant", "the mask holds 3000 mL"])
    picture = (
        tmp_path / "sub-1/figures" / layout.figure_name("sub-1", None, [*THUMBNAILS][0], ".png")
    )
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"png")
    (tmp_path / "ratings.tsv").write_text(
        "participant_id\tsession_id\tverdict\tcomment\nsub-3\tn/a\texclude\ttumour\n"
    )
    rows = {row["participant_id"]: row for row in read_data(tmp_path)[1]["rows"]}
    assert len(rows) == 11
    states = {name: row["state"] for name, row in rows.items()}
    assert states["sub-1"] == "passed" and states["sub-9"] == "refused"
    assert states["sub-3"] == "rejected" and states["sub-90"] == "odd"
    assert states["sub-91"] == "left out" and "3000 mL" in rows["sub-91"]["reason"]
    assert rows["sub-90"]["session_id"] == "ses-2" and rows["sub-3"]["comment"] == "tumour"
    assert rows["sub-1"]["pictures"] == [str(picture.relative_to(tmp_path)), ""]


def test_hostile_words_stay_words(tmp_path):
    write_quality(tmp_path, "sub-1", snr=3.0)
    write_excluded(tmp_path, ["sub-2", None, "participant", HOSTILE])
    page, data = read_data(tmp_path)
    assert [row["reason"] for row in data["rows"]] == ["", HOSTILE]
    # Two elements of our own, and no tag of theirs: the list without scripts is escaped too.
    assert page.count("<script") == 2 and page.count("</script>") == 2 and "<img" not in page


def test_damaged_files_are_named_and_stop_nothing(tmp_path):
    write_quality(tmp_path, "sub-1", snr=3.0)
    path = tmp_path / layout.derivative("quality", "sub-2")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    (tmp_path / "ratings.tsv").write_text("participant_id\tverdict\nsub-1\tperhaps\n")
    (tmp_path / "excluded.tsv").write_text("\x00")
    page, data = read_data(tmp_path)
    assert [row["participant_id"] for row in data["rows"]] == ["sub-1"]
    for word in ("sub-2_quality.json", "ratings.tsv", "excluded.tsv"):
        assert any(word in note for note in data["notes"]) and word in page


def test_an_empty_output_folder_gives_an_empty_page(tmp_path):
    assert read_data(tmp_path)[1]["rows"] == []


@pytest.mark.skipif(not shutil.which("node"), reason="needs node to run the page's script")
def test_a_comment_with_quotation_marks_is_saved_so_that_it_can_be_read(tmp_path):
    write_index(tmp_path)
    page = (tmp_path / "index.html").read_text()
    function = re.search(r"function cellText.*?\n}\n", page, re.S)[0]
    comment = '"odd" mask, 5" too low'
    script = f"{function}process.stdout.write(cellText({json.dumps(comment)}))"
    cell = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout
    path = tmp_path / "ratings.tsv"
    path.write_text(f"participant_id\tsession_id\tverdict\tcomment\nsub-1\tn/a\tuse\t{cell}\n")
    assert read_ratings(path) == {("sub-1", None): ("use", comment)}
