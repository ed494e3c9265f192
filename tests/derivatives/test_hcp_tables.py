"""People of the Human Connectome Project, as its tables are downloaded; and Cam-CAN's codes."""

import json

import pytest

from bids_sexclf.anatomy.freesurfer import find_stats, list_people
from bids_sexclf.errors import InputError
from bids_sexclf.people import list_files, read_participants, without_years
from bids_sexclf.settings import build, find_study
from bids_sexclf.settings.study import Study

UNRESTRICTED = """Subject,Release,Acquisition,Gender,Age,3T_Full_MR_Compl
100206,S900,Q11,M,26-30,true
100307 ,Q1,Q01,F,26-30,true
100408.0,Q3,Q03,M,31-35,true
100610,S900,Q08,M,36+,true
"""
RESTRICTED = """Subject,Age_in_Yrs,HasGT,ZygositySR,Mother_ID,Father_ID,TestRetestInterval
100206,27,true,NotTwin,56037,85858,
100307,27,true,NotMZ,51488,81352,
100408,33.0,true,MZ,51730,81352.0,
100610,36,true,NotTwin,,NA,
"""


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return folder


def as_tsv(text):
    return text.replace(",", "\t")


@pytest.mark.parametrize(
    "change", [str, as_tsv, lambda text: "\ufeff" + text.replace("\n", "\r\n")]
)
def test_both_tables_tell_sex_years_bands_and_families(tmp_path, change):
    kind = "tsv" if change is as_tsv else "csv"
    files = {f"mine_1__{kind}": change(UNRESTRICTED), f"RESTRICTED_x__{kind}": change(RESTRICTED)}
    write(tmp_path, notes__csv="Subject,Age\n1,2\n", **files)
    people, faults = read_participants(tmp_path)
    people = people.set_index("participant_id")
    assert not faults and len(people) == 4
    assert people["sex"].tolist() == ["male", "female", "male", "male"]
    assert people["age_years"].tolist() == [27, 27, 33, 36]
    assert people["age_band"].tolist() == ["26-30", "26-30", "31-35", "36+"]
    family = people["family_id"]
    assert family["sub-100307"] == family["sub-100408"] != family["sub-100206"]  # one father
    assert family.isna().tolist() == [False, False, False, True]
    assert set(list_files(tmp_path)) == {
        "participants.tsv", "participants.json", f"mine_1.{kind}", f"RESTRICTED_x.{kind}",
    }  # fmt: skip


def test_without_the_restricted_table_ages_are_bands(tmp_path):
    people, faults = read_participants(write(tmp_path, u__csv=UNRESTRICTED))
    assert people["age_years"].isna().all() and not faults
    assert "age is 26-30, needed years" in without_years(people)["sub-100206"]
    assert people["family_id"].isna().all()


def test_tables_that_contradict_each_other_cost_whom_they_contradict(tmp_path):
    other = UNRESTRICTED.replace("100307 ,Q1,Q01,F", "100307,Q1,Q01,M")
    _, faults = read_participants(write(tmp_path, a__csv=UNRESTRICTED, b__csv=other))
    assert list(faults) == ["sub-100307"]
    assert "contradict each other in sex" in faults["sub-100307"][0]


def test_a_participants_table_wins_and_may_have_the_columns_of_the_hcp(tmp_path):
    rows = RESTRICTED.replace("Subject,", "Subject,Gender,Age,")
    lines = [rows.split("\n")[0]]
    lines += [line.replace(",", ",F,26-30,", 1) for line in rows.split("\n")[1:] if line]
    write(tmp_path, participants__tsv=as_tsv("\n".join(lines)), u__csv=UNRESTRICTED)
    people, faults = read_participants(tmp_path)
    assert not faults and set(people["sex"]) == {"female"}
    assert people["age_years"].tolist() == [27, 27, 33, 36]
    assert people["family_id"][1] == people["family_id"][2] and people["family_id"].isna()[3]
    assert list_files(tmp_path) == ["participants.tsv", "participants.json"]


def test_statistics_below_the_hcps_folders_are_found(tmp_path):
    for name in ("100307", "HCA6002236_V1_MR"):
        write((tmp_path / name), x="")
        folder = tmp_path / name / "T1w" / name / "stats"
        folder.mkdir(parents=True)
        (folder / "aseg.stats").write_text("")
    assert find_stats(tmp_path, "sub-100307")[0].parent.parent.name == "100307"
    assert find_stats(tmp_path, "sub-HCA6002236", "ses-V1")[0].name == "aseg.stats"
    assert list_people(tmp_path) == [("sub-100307", None), ("sub-HCA6002236", "ses-V1")]


CAMCAN = "participant_id\tage\thand\tgender_code\ttiv_cubicmm\n" + "".join(
    f"sub-CC11003{i}\t{20 + i}\t100\t{code}\t{1_400_000 + i}\n"
    for i, code in enumerate(["1", "2", "1.0", "2 "])
)


def test_codes_of_cam_can_are_read_by_levels(tmp_path):
    about = {"gender_code": {"Levels": {"1": "Male", "2": "Female"}}}
    write(tmp_path, participants__tsv=CAMCAN, participants__json=json.dumps(about))
    people, faults = read_participants(tmp_path)
    assert people["sex"].tolist() == ["male", "female"] * 2 and not faults


def test_codes_of_cam_can_are_read_by_a_table_of_the_study(tmp_path):
    write(
        tmp_path,
        participants__tsv=CAMCAN,
        mine__toml='[people]\nsex = {column = "gender_code", female = "2", male = "1"}\n',
    )
    study = build(Study, find_study(str(tmp_path / "mine.toml")), "a test")
    people, _ = read_participants(tmp_path, coding=study)
    assert people["sex"].tolist() == ["male", "female"] * 2
    (tmp_path / "mine.toml").write_text('[people]\nage = "x"\nsex = {colum = "y"}\n')
    with pytest.raises(InputError, match=r"people\.age.*people\.sex\.colum"):
        build(Study, find_study(str(tmp_path / "mine.toml")), "a test")


def test_codes_of_cam_can_without_a_meaning_are_refused_with_the_way(tmp_path):
    with pytest.raises(InputError, match="codes 1, 2 in column gender_code.*--sex-codes"):
        read_participants(write(tmp_path, participants__tsv=CAMCAN))
