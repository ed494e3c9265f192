"""Who is who in participants.tsv: identifiers, ages with their units and bands, coded sex."""

import json

import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.people import lacks_labels, read_participants, without_years
from bids_sexclf.settings import People


def read(folder, header, *rows, about=None, **options):
    """Write participants.tsv and its JSON, and read them."""
    lines = ["\t".join(header.split("|"))] + ["\t".join(row.split("|")) for row in rows]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if about is not None:
        (folder / "participants.json").write_text(json.dumps(about))
    return read_participants(folder, **options)


@pytest.mark.parametrize("header", ["Participant_ID|Sex|Age", "participant_id |sex\u00a0| age"])
def test_no_spelling_of_the_header_changes_who_somebody_is(tmp_path, header):
    people, faults = read(tmp_path, header, "001 |F | 30", "sub-002|M|40")
    assert people["participant_id"].tolist() == ["sub-001", "sub-002"]
    assert people["age_years"].tolist() == [30, 40] and not faults


def test_families_are_one_whatever_tool_has_written_them(tmp_path):
    families = ["12", "12.0", "12 ", "a B", "A  b", "NA", "n/a", "012"]
    rows = [f"{i}|F|30|{family}" for i, family in enumerate(families)]
    people, _ = read(tmp_path, "participant_id|sex|age|family_id", *rows)
    told = [None if name != name else name for name in people["family_id"]]
    assert told == ["12", "12", "12", "a B", "a B", None, None, "12"]


def test_sites_that_are_unknown_to_r_are_no_site(tmp_path):
    rows = ["1|F|30|UCLA", "2|F|30|ucla ", "3|F|30|NA", "4|F|30|3.0"]
    people, _ = read(tmp_path, "participant_id|sex|age|site_id", *rows)
    assert people["site"].dropna().tolist() == ["UCLA", "UCLA", "3"]


@pytest.mark.parametrize(
    ("about", "age", "years"),
    [
        ({"Units": "months"}, "108", 9),
        ({"Units": "Month"}, "114", 9.5),
        ({"Units": "days"}, "3652.5", 10),
        ({"Units": "weeks"}, "520", 520 * 7 / 365.25),
        ({"Units": "years old"}, "30", 30),
        ({"Description": "Age at scan in months."}, "108", 9),
        ({"Description": "Age on the day of the scan"}, "30", 30),
    ],
)
def test_the_unit_of_age_is_honoured(tmp_path, about, age, years):
    people, faults = read(tmp_path, "participant_id|sex|age", f"1|F|{age}", about={"Age": about})
    assert people["age_years"].tolist() == pytest.approx([years]) and not faults


@pytest.mark.parametrize("units", ["weeks PMA", "decades", 12, ["years"]])
def test_a_unit_that_cannot_be_understood_is_refused(tmp_path, units):
    with pytest.raises(InputError, match="as Units of age in .*needed year, month, week or day"):
        read(tmp_path, "participant_id|sex|age", "1|F|9", about={"age": {"Units": units}})


@pytest.mark.parametrize("content", ["{", "[1]", "\x00", "[" * 100_000])
def test_a_damaged_json_is_named(tmp_path, content):
    (tmp_path / "participants.json").write_text(content)
    with pytest.raises(InputError, match=r"participants\.json"):
        read(tmp_path, "participant_id|sex|age", "1|F|9")


@pytest.mark.parametrize("band", ["89+", "> 89", "≥90", "26-30", "26–30", "[26-30]", "26 to 30"])
def test_a_band_keeps_somebody_whose_years_are_unknown(tmp_path, band):
    people, faults = read(tmp_path, "participant_id|sex|age", f"1|F|{band}", "2|M|40")
    assert people["age_band"].fillna("").tolist() == [band, ""] and not faults
    assert people["age_years"].isna().tolist() == [True, False]
    reason = f"age is {band}, needed years, which this study reads"
    assert without_years(people) == {"sub-1": reason}


def test_a_column_of_bands_stands_in_for_years(tmp_path):
    people, faults = read(tmp_path, "participant_id|sex|age_group", "1|F|adult", "2|M|n/a")
    assert people["age_band"].fillna("").tolist() == ["adult", ""] and list(faults) == ["sub-2"]


@pytest.mark.parametrize("age", ["12,5", "abc", "-9", "999", "1_0", "n/a", "５"])
def test_what_is_neither_years_nor_band_is_a_fault(tmp_path, age):
    people, faults = read(tmp_path, "participant_id|sex|age", f"1|F|{age}")
    assert people["age_years"].isna().all() and "needed years" in faults["sub-1"][0]


LEVELS = [
    {"1": "male", "2": "female"},
    {"1": "Male participants", "2": "A woman"},
    {"1.0": {"Description": "men and boys: Man"}, "2": {"Description": "Female"}},
]


@pytest.mark.parametrize("levels", LEVELS)
def test_coded_sex_is_read_by_its_levels(tmp_path, levels):
    rows = ["1|1|30", "2|2.0|30", "3|F|30", "4|n/a|30"]
    about = {"Sex": {"Levels": levels}}
    people, faults = read(tmp_path, "participant_id|sex|age", *rows, about=about)
    assert people["sex"].tolist()[:3] == ["male", "female", "female"]
    assert list(faults) == ["sub-4"]


def test_coded_sex_is_read_by_the_settings(tmp_path):
    coding = People(sex_column="gender_code", sex_codes=["0=female", "1=male"])
    header = "participant_id|sex|age|Gender Code"
    people, faults = read(tmp_path, header, "1|x|30|0", "2|x|30|1", coding=coding)
    assert people["sex"].tolist() == ["female", "male"] and not faults


def test_codes_without_a_meaning_are_refused_with_the_way(tmp_path):
    with pytest.raises(InputError, match="codes 1, 2 in column sex.*Levels.*--sex-codes 1=male"):
        read(tmp_path, "participant_id|sex|age", "1|1|30", "2|2|30")


def test_levels_against_the_evident_meaning_are_refused(tmp_path):
    about = {"sex": {"Levels": {"F": "male", "M": "female"}}}
    with pytest.raises(InputError, match="'F' .*explained as male"):
        read(tmp_path, "participant_id|sex|age", "1|F|30", about=about)


@pytest.mark.parametrize("codes", [["1=man"], ["=male"], ["1=male", "1 =female"]])
def test_codes_in_the_settings_have_one_meaning(codes):
    with pytest.raises(ValueError, match="needs CODE|names a code twice"):
        People(sex_codes=codes)


def test_without_labels_neither_table_nor_columns_are_needed(tmp_path):
    people, faults = read_participants(tmp_path, labelled=False)
    assert people.empty and not faults and "age_band" in people
    people, faults = read(tmp_path, "participant_id|note", "1|x", labelled=False)
    assert people["participant_id"].tolist() == ["sub-1"] and not faults
    for remove in (False, True):
        if remove:
            (tmp_path / "participants.tsv").unlink()
        with pytest.raises(InputError, match="--allow-unlabelled"):
            read_participants(tmp_path)


def test_reasons_that_unlabelled_people_have_are_known(tmp_path):
    _, faults = read(tmp_path, "participant_id|sex|age", "1|x|30", "2|F|x", "3|F|9", "3|M|9")
    known = {person: lacks_labels("; ".join(some)) for person, some in faults.items()}
    assert known == {"sub-1": True, "sub-2": True, "sub-3": False}


def test_rows_without_an_id_are_nobody(tmp_path):
    people, faults = read(tmp_path, "participant_id|sex|age", "n/a|F|30", "1|F|30", "||")
    assert people["participant_id"].tolist() == ["sub-1"] and not faults
