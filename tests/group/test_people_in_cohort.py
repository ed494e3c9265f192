"""What participants.tsv tells reaches the cohort: families, age bands, coded sex."""

import json

import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.figures import cohort as figure
from bids_sexclf.group import base
from bids_sexclf.report import findings
from bids_sexclf.tables import read_tsv, write_tsv


@pytest.fixture(scope="module")
def prepared(write_derivatives, tmp_path_factory):
    return write_derivatives(tmp_path_factory.mktemp("cohort"), n=12)


@pytest.fixture
def cohort_of(prepared, run_study):
    """Give a function that gathers the cohort of an altered participants.tsv."""
    path = prepared / "participants.tsv"
    before = path.read_bytes()

    def gather(name, alter, **choices):
        table = read_tsv(path, ("sex",)).astype(object)
        write_tsv(alter(table), path)
        return run_study(prepared, ("cohort",), name=name, **choices)

    yield gather
    path.write_bytes(before)
    path.with_suffix(".json").unlink(missing_ok=True)


def banded(table):
    table.loc[[0, 3], "age"] = ["89+", "26-30"]
    return table


def test_a_study_of_sex_keeps_people_whose_age_is_a_band(cohort_of):
    desk = cohort_of("banded", banded)
    cohort = desk.read("cohort")
    assert len(cohort) == 12 and cohort["age_years"].isna().sum() == 2
    assert cohort["age_band"].dropna().tolist() == ["89+", "26-30"]
    said = findings.say_participants(cohort, desk.read("excluded")).text
    assert "age in years unknown of 2" in said
    assert "unknown of 2" in figure.draw({"cohort": cohort}).axes[0].get_title()
    unknown = cohort.assign(age_years=float("nan"), brain_volume_ml=float("nan"))
    assert figure.draw({"cohort": unknown}) is None
    assert "12 participants (6 female, 6 male), age in years unknown of 12" in (
        findings.say_participants(unknown, desk.read("excluded")).text
    )


@pytest.mark.parametrize("choices", [{"target": "age"}, {"residualize": ["age"]}])
def test_a_study_that_reads_years_names_whom_it_leaves_out(cohort_of, choices):
    desk = cohort_of("".join(choices), banded, **choices)
    assert len(desk.read("cohort")) == 10
    excluded = desk.read("excluded").set_index("participant_id")["reason"]
    assert excluded["sub-000"] == "age is 89+, needed years, which this study reads"
    assert excluded["sub-003"].startswith("age is 26-30")


def test_the_cohort_is_gathered_again_once_years_are_needed(cohort_of):
    desk = cohort_of("again", banded)
    study = desk.study.model_copy(update={"residualize": ["age"]})
    again = base.Desk(desk.bids_dir, desk.derivatives, desk.folder, desk.run, study)
    assert base.state(desk, "cohort") == "finished"
    assert base.state(again, "cohort") == "inputs changed"


def test_a_family_in_several_spellings_is_one_family_in_the_cohort(cohort_of):
    families = ["12", "12.0", "12 ", "NA", "n/a", "-", "7", "007", "a", "A", "1e+05", "100000.0"]
    desk = cohort_of("families", lambda table: table.assign(Family_ID=families))
    found = desk.read("cohort")["family_id"]
    assert found.fillna("").tolist() == [
        "12", "12", "12", "", "", "", "7", "7", "a", "a", "100000", "100000",
    ]  # fmt: skip


def coded(table):
    return table.assign(sex=table["sex"].map({"F": 2, "M": 1}))


def test_coded_sex_reaches_the_cohort_by_levels_or_settings(cohort_of, prepared):
    with pytest.raises(InputError, match="--sex-codes"):
        cohort_of("bare", coded)
    desk = cohort_of("codes", lambda table: table, sex_codes=["1=male", "2=female"])
    assert desk.read("cohort")["sex"].tolist() == ["female", "male"] * 6
    about = {"sex": {"Levels": {"1": "male", "2": "female"}}}
    (prepared / "participants.json").write_text(json.dumps(about))
    again = cohort_of("levels", lambda table: table)
    assert again.read("cohort")["sex"].tolist() == ["female", "male"] * 6
