"""The page of a participant-session: verdict first, one note, words in place of empty pictures."""

import json
import re
from types import SimpleNamespace

import pytest

from bids_sexclf import layout
from bids_sexclf.layout import SCANS, figure_name
from bids_sexclf.participant import failures, run
from bids_sexclf.participant.plan import with_checked
from bids_sexclf.participant.report import methods, state_on, write_report
from bids_sexclf.participant.summary import judge_all, split_note, what_ran
from bids_sexclf.settings import Preparation

WHO = "sub-01"
SOURCES = {"t1w": "sub-01/anat/sub-01_T1w.nii.gz"}
SERIES = {
    "dwi": "sub-01/dwi/sub-01_dwi.nii.gz",
    "bval": "sub-01/dwi/sub-01_dwi.bval",
    "bvec": "sub-01/dwi/sub-01_dwi.bvec",
}
SOUND = {"brain_volume_ml": 1200.0, "registration_agreement": 0.9, "snr": 12.0}
VERSIONS = {"bids-sexclf": "0.9", "antspyx": "0.5.4", "picsl_greedy": "1.3", "dipy": "1.9"}


def write(out, numbers=None, sources=SOURCES, **more):
    provenance = Preparation(template="T").provenance()
    path = write_report(out, WHO, numbers=numbers, provenance=provenance, sources=sources, **more)
    return path.read_text()


def text_of(page):
    """Return the words of a page without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def write_quality(out, who, numbers):
    path = out / layout.derivative("quality", who, None)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers))


def test_a_number_beyond_its_limit_makes_the_page_red_with_the_reason(tmp_path):
    page = write(tmp_path, SOUND | {"registration_agreement": 0.3})
    assert state_on(tmp_path / "sub-01.html") == "refused" and '<body class="refused">' in page
    assert "registration_agreement 0.3, needed at least 0.5" in page
    assert 'class="broken"' in page  # the number's own tile
    assert page.index("registration_agreement 0.3") < page.index('id="quality"')


def test_a_sound_participant_is_green_and_its_box_comes_before_all_else(tmp_path):
    picture = tmp_path / WHO / "figures" / figure_name(WHO, None, "t1wmask")
    picture.parent.mkdir(parents=True)
    picture.write_text("<svg/>")
    page = write(tmp_path, SOUND)
    assert state_on(tmp_path / "sub-01.html") == "passed"
    assert 0 < page.index('id="summary"') < page.index('id="quality"') < page.index("<object")


def test_a_participant_who_stands_out_becomes_brown_once_all_are_there(tmp_path):
    people = [f"sub-{number:02d}" for number in range(1, 9)]
    rows = []
    for number, who in enumerate(people):
        numbers = SOUND | {"brain_volume_ml": 1200.0 + 10 * number, "Scans": SOURCES, "Note": ""}
        numbers["snr"] = 1.0 if who == "sub-08" else 12.0 + 0.1 * number
        write_quality(tmp_path, who, numbers)
        write_report(
            tmp_path, who, numbers=numbers, provenance=Preparation().provenance(), sources=SOURCES
        )
        rows.append(dict.fromkeys(SCANS) | {"participant_id": who, "session_id": None})
    before = (tmp_path / "sub-02.html").stat().st_mtime_ns
    assert state_on(tmp_path / "sub-08.html") == "passed"  # alone nothing stands out
    run._write_pages(tmp_path, rows, Preparation(), pytest.fail)
    assert state_on(tmp_path / "sub-08.html") == "odd"
    assert "robust SD below the median" in (tmp_path / "sub-08.html").read_text()
    assert (tmp_path / "sub-02.html").stat().st_mtime_ns == before  # nothing new to tell


@pytest.mark.parametrize(("verdict", "state"), [("exclude", "rejected"), ("use", "accepted")])
def test_a_persons_verdict_is_on_the_page(tmp_path, verdict, state):
    write_quality(tmp_path, WHO, SOUND | {"registration_agreement": 0.3})
    (tmp_path / "ratings.tsv").write_text(
        f"participant_id\tsession_id\tverdict\tcomment\nsub-01\tn/a\t{verdict}\tlooked at it\n"
    )
    assert judge_all(tmp_path)[WHO, None].state == state
    page = write(tmp_path, SOUND | {"registration_agreement": 0.3})
    assert state_on(tmp_path / "sub-01.html") == state and "looked at it" in page


def test_the_note_of_the_check_is_on_every_page_and_in_the_worklist(tmp_path):
    import pandas as pd

    from bids_sexclf.derivatives.prepared import take_over
    from bids_sexclf.participant.base import _writer

    found = dict.fromkeys(SCANS) | SOURCES | {"participant_id": WHO, "session_id": None}
    worklist = pd.DataFrame([found | {"note": None}])
    checked = found | {"note": "sub-01_T1w.nii.gz has no qform; no sidecar"}
    worklist = with_checked(worklist, [checked])
    assert worklist["note"].tolist() == [checked["note"]]
    preparation = Preparation(template="T")
    record = take_over(checked, {"raw": ""}, "T")
    writer = _writer(
        checked, record, root=tmp_path, out=tmp_path, preparation=preparation, route="t1w"
    )
    assert writer.inputs.note == checked["note"]
    # --reports-only tells what was stored, whatever the worklist of today says.
    write_quality(tmp_path, WHO, SOUND | {"Note": checked["note"], "Scans": SOURCES})
    planned = SimpleNamespace(
        finished=[checked | {"note": "another"}], excluded=[], worklist=worklist
    )
    assert run.rewrite_reports(tmp_path, planned, preparation, pytest.fail) == 1
    page = (tmp_path / "sub-01.html").read_text()
    assert "has no qform" in page and "no sidecar" in page and "another" not in page
    # a step failed
    row = failures.row_of_failure(checked, "ToolError: no memory", "Traceback")
    failures.report_failure(tmp_path, row, worklist, preparation)
    page = (tmp_path / "sub-01.html").read_text()
    assert "has no qform" in page and "A step failed" in page and "no memory" in page


def test_a_page_tells_the_check_from_a_step_that_failed(tmp_path):
    page = write(tmp_path, error="2 b-values for 27 volumes", stage="preflight")
    assert "before any computing" in page and "A step failed" not in page
    assert state_on(tmp_path / "sub-01.html") == "left out"
    assert "were prepared with" not in page  # no methods of steps that did not run


def test_a_note_is_parted_into_sentences_outside_brackets():
    note = "one; two (a; b (c; d); e); one; three)"
    assert split_note(note) == ["one", "two (a; b (c; d); e)", "three)"]
    assert split_note(None) == []


SKIPPED = SOUND | {
    "dwi_volumes": {"0": 1, "1000": 6},
    "denoise": {"method": "none", "reason": "7 volumes, needed 10"},
    "gibbs": {"method": "native"},
    "repaired": {"tensor": {}, "dki": {"left_out": "one shell; kurtosis needs two"}},
}


def test_what_was_skipped_is_told_in_words_and_has_no_picture(tmp_path):
    page = write(tmp_path, SKIPPED, SOURCES | SERIES)
    words = text_of(page)
    assert "7 diffusion volumes: 1 at b = 0, 6 at b = 1000" in words
    assert "one shell; kurtosis needs two" in words and "7 volumes, needed 10" in words
    assert "Distortion was not corrected" in words
    assert "<object" not in page
    assert "MK should be highest" not in words  # no caption of a picture that is not there


def test_an_empty_picture_is_not_shown(tmp_path):
    from bids_sexclf.participant.outputs import WriteDerivatives

    empty, drawn, quality = (tmp_path / name for name in ("empty.svg", "drawn.svg", "q.json"))
    empty.write_bytes(b"")
    drawn.write_text("<svg/>")
    quality.write_text(json.dumps(SOUND))
    out = tmp_path / "out"
    names = [figure_name(WHO, None, key) for key in ("denoised", "t1wmask")]
    WriteDerivatives(
        out=str(out), participant_id=WHO, session_id=None, sources=SOURCES, quality=str(quality),
        provenance=Preparation(template="T").provenance(), figure_names=names, note="a word",
        figures=[str(empty), str(drawn)],
    ).run()  # fmt: skip
    assert [path.name for path in (out / WHO / "figures").iterdir()] == names[1:]
    written = json.loads((out / layout.derivative("quality", WHO, None)).read_text())
    assert written["Note"] == "a word" and "a word" in (out / "sub-01.html").read_text()


def test_methods_tell_the_steps_that_ran_and_the_versions_that_ran():
    provenance = Preparation(template="T").provenance()
    told = methods(provenance, SOURCES | SERIES, SKIPPED | {"Versions": VERSIONS})
    assert "antspyx 0.5.4" in told and "picsl_greedy 1.3" in told and "DIPY 1.9" in told
    assert "kurtosis" not in told and "Marchenko" not in told and "not denoised" in told
    assert "Gibbs ringing inside slices was suppressed" in told
    alone = methods(provenance, SOURCES, SOUND | {"Versions": VERSIONS})
    assert "DIPY" not in alone and "iffusion" not in alone
    assert what_ran(provenance, None) == dict(provenance)


def test_intracranial_volume_is_measured_by_a_mask_of_all_within_the_skull():
    provenance = Preparation(template="T").provenance()
    measured = methods(provenance, SOURCES, SOUND | {"mask_engine": "deepbet"})
    estimated = methods(provenance, SOURCES, SOUND | {"mask_engine": "template"})
    assert "is that of the brain mask" in measured and "was estimated" not in measured
    assert "was estimated" in estimated


def test_numbers_without_words_take_those_of_the_data_dictionary(tmp_path, monkeypatch):
    from bids_sexclf.participant import captions

    entry = {"Format": "number", "Units": "cm2", "Description": "Area of a thing"}
    known = captions.schema("quality") | {"new_thing_cm2": entry}
    monkeypatch.setattr(captions, "schema", lambda name: known)
    words = text_of(write(tmp_path, SOUND | {"new_thing_cm2": 3.14159}))
    assert "New thing 3.14 cm2 Area of a thing" in words


def test_every_judged_number_has_a_limit_in_words_where_it_has_one(tmp_path):
    words = text_of(write(tmp_path, SOUND))
    assert "refused below 0.5" in words and "refused below 300 or above 2300" in words


def test_coverage_is_in_the_box_where_it_was_measured(tmp_path, monkeypatch):
    from bids_sexclf.participant import summary

    entry = {"Format": "number", "Maximum": 1, "Description": "Share of the brain measured"}
    known = summary.schema("quality") | {"coverage_dwi": entry}
    monkeypatch.setattr(summary, "schema", lambda name: known)
    numbers = SOUND | {"coverage_dwi": 0.68, "mask_cut_cm2": 12.4}
    words = text_of(write(tmp_path, numbers, SOURCES | SERIES))
    assert "68%: Share of the brain measured" in words and "on 12.4 cm²" in words
    assert "Coverage of the diffusion series 68%" in words
