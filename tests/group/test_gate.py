"""Quality numbers and a person's verdicts decide who is studied."""

import json
import os
from dataclasses import replace

import pytest

from bids_sexclf import layout
from bids_sexclf.cohort.quality import limit_quality
from bids_sexclf.errors import InputError
from bids_sexclf.group import base
from bids_sexclf.settings import Run, Study

FACE = {"brain_volume_ml": 1073.0, "registration_agreement": 0.285, "snr": 2.2}


@pytest.fixture
def dataset(write_derivatives, tmp_path):
    """Twelve people; the mask of sub-008 lies on the face, and its quality numbers tell it."""
    root = write_derivatives(tmp_path, n=12)
    out = root / "derivatives" / "out"
    for number in range(12):
        path = out / layout.derivative("quality", f"sub-{number:03d}")
        numbers = json.loads(path.read_text()) | {"registration_agreement": 0.96}
        path.write_text(json.dumps(FACE if number == 8 else numbers))
    return root


def rate(root, *rows):
    lines = ["participant_id\tsession_id\tverdict\tcomment", *("\t".join(row) for row in rows)]
    (root / "derivatives" / "out" / "ratings.tsv").write_text("\n".join(lines) + "\n")


def studied(desk):
    return {int(name.removeprefix("sub-")) for name in desk.read("cohort")["participant_id"]}


def test_a_mask_on_the_face_is_not_studied_and_is_named(dataset, run_study):
    desk = run_study(dataset, ["cohort"])
    assert studied(desk) == set(range(12)) - {8}
    excluded = desk.read("excluded").set_index("participant_id")
    assert excluded["stage"].to_dict() == {"sub-008": "quality"}
    assert "registration_agreement 0.285, needed at least" in excluded["reason"]["sub-008"]
    quality = desk.read("quality").set_index("participant_id")
    assert quality["gate"].value_counts().to_dict() == {"passed": 11, "refused": 1}
    assert quality["studied"]["sub-008"] == "no" and quality["outlier"]["sub-008"] == "yes"


def test_a_person_may_keep_and_leave_out(dataset, run_study):
    rate(dataset, ("sub-008", "n/a", "use", "cropped head"), ("009", "NA", "unsure", "NA"))
    desk = run_study(dataset, ["cohort"])
    assert studied(desk) == set(range(12))
    rate(dataset, ("sub-008", "n/a", "use", "cropped"), ("sub-003", "n/a", "exclude", "tumour"))
    assert base.state(desk, "cohort") == "inputs changed"
    base.run_stage(desk, "cohort")
    assert studied(desk) == set(range(12)) - {3}
    reasons = desk.read("excluded").set_index("participant_id")["reason"]
    assert "tumour" in reasons["sub-003"]
    gates = desk.read("quality").set_index("participant_id")["gate"]
    assert (gates["sub-008"], gates["sub-003"]) == ("accepted", "rejected")


def test_a_new_verdict_counts_also_with_the_old_size_and_time(dataset, run_study):
    rate(dataset, ("sub-003", "n/a", "exclude", "tumour"))
    path = dataset / "derivatives" / "out" / "ratings.tsv"
    times = path.stat()
    desk = run_study(dataset, ["cohort"])
    path.write_text(path.read_text().replace("sub-003", "sub-004"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert base.state(desk, "cohort") == "inputs changed"


def test_a_study_may_set_its_own_limits(dataset, run_study):
    desk = run_study(dataset, ["cohort"], quality_limits=["registration_agreement >= none"])
    assert studied(desk) == set(range(12))
    strict = run_study(dataset, ["cohort"], name="strict", quality_outliers=5.0)
    assert 8 not in studied(strict)
    with pytest.raises(InputError, match="agreement"):
        run_study(dataset, ["cohort"], name="wrong", quality_limits=["agreement >= 0.5"])


def test_a_verdict_counts_however_a_spreadsheet_has_written_it(dataset, run_study):
    rate(dataset, ("sub-003 ", "NA", "Exclude", "NA"), ("005", "", "EXCLUDE", ""))
    assert studied(run_study(dataset, ["cohort"])) == set(range(12)) - {3, 5, 8}


@pytest.mark.parametrize("who", [("sub-03", "n/a"), ("sub-003", "ses-1")])
def test_a_verdict_on_nobody_is_refused(dataset, run_study, who):
    rate(dataset, (*who, "exclude", "tumour"))
    with pytest.raises(InputError, match=f"{'_'.join(who).removesuffix('_n/a')}, of whom"):
        run_study(dataset, ["cohort"])


def test_a_verdict_on_whom_nothing_is_prepared_does_no_harm(dataset, run_study):
    people = dataset / "participants.tsv"
    people.write_text(people.read_text() + "sub-099\tF\t30\n")
    out = dataset / "derivatives" / "out"
    (out / "excluded.tsv").write_text(
        "participant_id\tsession_id\tstage\treason\nsub-098\tses-1\tpreflight\tcut\n"
    )
    rate(dataset, ("099", "ses-1", "exclude", "moved"), ("sub-098", "ses-1", "exclude", "cut"))
    assert studied(run_study(dataset, ["cohort"])) == set(range(12)) - {8}


def test_verdicts_that_a_study_names_must_be_there(dataset, run_study, tmp_path):
    with pytest.raises(InputError, match="Found no .*verdicts.tsv"):
        run_study(dataset, ["cohort"], ratings=tmp_path / "verdicts.tsv")


def test_a_number_of_hundreds_of_digits_costs_its_participant_only(dataset, run_study):
    path = dataset / "derivatives" / "out" / layout.derivative("quality", "sub-003")
    path.write_text(json.dumps({"snr": 10**400}))
    desk = run_study(dataset, ["cohort"])
    assert studied(desk) == set(range(12)) - {3, 8}
    assert "sub-003_quality.json" in desk.read("excluded")["reason"][0]


def test_a_study_of_an_earlier_version_may_lack_a_number_of_today(dataset, run_study):
    quality = run_study(dataset, ["cohort"]).read("quality")
    whole = limit_quality(quality)
    assert "snr" in set(whole["number"])
    assert set(limit_quality(quality.drop(columns="snr"))["number"]) == set(whole["number"]) - {
        "snr"
    }


def test_verdicts_beside_the_study_count_where_others_prepared_the_maps(dataset, tmp_path):
    prepared, out = dataset / "derivatives" / "out", tmp_path / "elsewhere"
    out.mkdir()
    (out / "ratings.tsv").write_text("participant_id\tverdict\n003\texclude\n")
    study = Study(voxel_size=7.0, n_folds=2)
    run = Run(nprocs=1, derivatives=[f"bids_sexclf={prepared}"])
    desk = base.Desk.at(dataset, out, run, study)
    base.run_stage(desk, "cohort")
    assert studied(desk) == set(range(12)) - {3, 8}
    rate(dataset, ("sub-003", "n/a", "use", "fine"))
    with pytest.raises(InputError, match="needed one file"):
        base.run_stage(replace(desk, run=run.model_copy(update={"first": "cohort"})), "cohort")
