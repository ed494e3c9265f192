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
