import math
from pathlib import Path

import pytest

from bids_sexclf import settings
from bids_sexclf.errors import InputError
from bids_sexclf.settings.__main__ import describe

STUDIES = sorted(path.stem for path in settings.STUDIES.glob("*.toml"))


def test_the_page_of_choices_is_up_to_date():
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    assert page.read_text() == describe(), "python -m bids_sexclf.settings > docs/settings.md"


@pytest.mark.parametrize("name", STUDIES)
def test_every_preset_can_be_used(name):
    study = settings.build(settings.Study, settings.find_study(name), name)
    assert study.name == name


def test_a_study_is_named_after_its_file(tmp_path):
    path = tmp_path / "my-study.toml"
    path.write_text("n_folds = 3\n")
    assert settings.find_study(str(path)) == {"name": "mystudy", "n_folds": 3}


def test_every_fault_of_a_study_is_told_at_once():
    with pytest.raises(InputError) as told:
        settings.build(settings.Study, {"epochs": 0, "nope": 1, "name": "a b"}, "x.toml")
    assert all(word in str(told.value) for word in ("epochs", "nope", "letters", "n_folds"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (lambda: settings.build(settings.Study, {"epoch": 3}, "x.toml"), "epochs"),
        (lambda: settings.find_study("kan2021"), "kan2020"),
        (lambda: settings.build(settings.Run, {"derivatives": ["fmripreb=/x"]}, "it"), "fmriprep"),
    ],
)
def test_misspelt_names_are_told_with_what_was_meant(typed, meant):
    with pytest.raises(InputError, match=f"Did you mean '{meant}'"):
        typed()


def test_names_like_no_other_get_no_hint():
    with pytest.raises(InputError) as told:
        settings.build(settings.Study, {"xyzzy": 3}, "x.toml")
    assert "Did you mean" not in str(told.value)


def test_records_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        settings.Study().epochs = 3


def test_fingerprints_tell_choices_apart():
    first, again, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
    prints = [settings.fingerprint(values) for values in (first, again, other)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("entry", ["nope=/x", "qsiprep", "qsiprep="])
def test_an_unknown_derivative_lists_the_known_ones(entry):
    with pytest.raises(InputError) as told:
        settings.build(settings.Run, {"derivatives": [entry]}, "the flags")
    assert all(f"{name}=PATH" in str(told.value) for name in settings.DERIVATIVES)


def test_one_name_stands_for_one_folder_and_the_order_is_kept():
    with pytest.raises(InputError, match="twice"):
        settings.build(settings.Run, {"derivatives": ["hcp=a", "hcp=b"]}, "the flags")
    run = settings.Run(derivatives=["qsiprep=/q", "fmriprep=/f"])
    assert list(run.folders()) == ["qsiprep", "fmriprep"]
    assert str(run.derivatives_of("fmriprep")) == "/f" and run.derivatives_of("hcp") is None


RECORDS = (settings.Run, settings.Preparation, settings.Study, settings.Recipe)


@pytest.mark.parametrize(
    ("record", "name", "value", "needed"),
    [
        ("Study", "epochs", True, "a whole number from 1 to 100000"),
        ("Study", "epochs", 30.5, "a whole number"),
        ("Study", "epochs", "5", "a whole number"),
        pytest.param("Study", "epochs", 16**5000, "a whole number", id="thousands of digits"),
        ("Study", "batch_size", 10**20, "a whole number from 1 to 4096"),
        ("Study", "learning_rate", math.inf, "a number from 1e-08 to 100"),
        ("Study", "learning_rate", math.nan, "a number"),
        ("Study", "learning_rate", 1e20, "a number"),
        ("Study", "learning_rate", True, "a number"),
        ("Study", "region_means", 1, "true or false"),
        ("Study", "maps", "T1w", "a list"),
        ("Study", "maps", [1], "text"),
        ("Study", "random_seed", -1, "from 0 to 4294967295"),
        ("Study", "random_seed", 2**32, "from 0 to 4294967295"),
        ("Study", "crop", [64, 64, True], "a whole number from 1 to 1024"),
        ("Study", "precision", True, "one of auto"),
        ("Study", "attributions", ["a", "b", "a"], "each entry once, a stands there again"),
        ("Study", "residualize", ["age", "age"], "each entry once"),
        ("Study", "atlas", "a\nb", "without control characters"),
        ("Study", "name", "übung", "A-Z"),
        ("Study", "split_file", "", "a path"),
        ("Study", "parts", [831, 100], "train, validation, test"),
        ("Study", "parts", [831, 100, 1], "a whole number from 2"),
        ("Study", "variants", {"small": {"epochs": True}}, "small.epochs: found true"),
        pytest.param("Study", "variants", "[" * 100_000, "JSON", id="deep JSON"),
        ("Run", "folds", [0], "a whole number from 1"),
        ("Run", "folds", [2, 2], "each entry once"),
        ("Run", "folds", [], "at least one fold"),
        ("Run", "mem", math.nan, "a number from 0.5"),
        ("Preparation", "kurtosis_clip", [1, 0], "lower bound first"),
        ("Preparation", "kurtosis_clip", [0, math.inf], "a number from -10 to 100"),
    ],
)
def test_a_value_of_another_type_or_out_of_bounds_is_refused(record, name, value, needed):
    with pytest.raises(InputError) as told:
        settings.build(getattr(settings, record), {name: value}, "x.toml")
    message = str(told.value)
    assert f"{name}" in message and needed in message and len(message) < 600


def test_a_whole_number_may_stand_where_a_number_is_needed():
    study = settings.Study(learning_rate=1, precision=32, split="fixed", parts=[831, 100, 100])
    assert study.learning_rate == 1.0 and study.precision == "32"


@pytest.mark.parametrize("record", RECORDS)
def test_every_number_has_bounds(record):
    def check(schema):
        for one in [schema, *schema.get("anyOf", []), *schema.get("prefixItems", [])]:
            if one.get("type") in ("integer", "number"):
                assert "minimum" in one and "maximum" in one, schema
            if "items" in one:
                check(one["items"])

    for schema in record.model_json_schema()["properties"].values():
        check(schema)


def test_faults_of_several_records_and_of_all_variants_are_told_at_once():
    variants = {"one": {"epochs": 0}, "two": {"batch_size": 0.5}}
    values = {
        settings.Run: {"nprocs": 0, "random_sed": 1},
        settings.Study: {"epochs": True, "variants": variants, "split": "kfol"},
    }
    with pytest.raises(InputError) as told:
        settings.build_all(values, "x.toml")
    words = ("nprocs: found 0", "random_sed", "epochs: found true", "one.epochs: found 0")
    words += ("two.batch_size: found 0.5", 'split: found "kfol"', "Did you mean 'kfold'")
    words += ("Did you mean 'random_seed'",)
    assert not [word for word in words if word not in str(told.value)]


def test_exact_parts_need_a_fixed_split():
    with pytest.raises(InputError, match="parts: needed split 'fixed', found split 'kfold'"):
        settings.build(settings.Study, {"parts": [10, 5, 5]}, "x.toml")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x = [", "cannot be read"),
        (bytes(range(256)), "not text in UTF-8"),
        (b"#" * 1_000_001, "holds more than 1000 kB"),
        (b"x = " + b"[" * 100_000, "too deep"),
        (b"x = " + b"9" * 10_000, "cannot be read"),
        (None, "a folder"),
    ],
    ids=["broken", "binary", "large", "deep", "digits", "folder"],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path, content, words):
    path = tmp_path / "study.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=words) as told:
        settings.read_toml(path)
    assert "needed a TOML file" in str(told.value) and len(str(told.value)) < 500


def test_a_file_of_windows_is_read_and_devices_are_not(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbfepochs = 3\r\n")
    assert settings.read_toml(path) == {"epochs": 3}
    for name in ("/dev/zero", "a\0b.toml", tmp_path / "none.toml"):
        with pytest.raises(InputError, match="needed a TOML file"):
            settings.read_toml(name)


def test_words_of_the_command_line_become_numbers_only_where_numbers_are_needed():
    assert settings.read_word(list[int], "3") == 3
    assert settings.read_word(str, "3") == "3"
    assert settings.read_word(int, "3.5") == "3.5" and settings.read_word(int, "1_0") == "1_0"
