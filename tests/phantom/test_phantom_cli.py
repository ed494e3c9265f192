"""The command of the phantom: flags from the options, refusals as exit codes."""

import dataclasses

import pytest

from bids_sexclf.errors import USAGE, InputError
from bids_sexclf.phantom.cli import main, make_parser
from bids_sexclf.phantom.options import PhantomOptions


def test_every_option_is_a_flag_with_the_same_default():
    values = vars(make_parser().parse_args(["out"]))
    del values["out"], values["nprocs"]
    assert values == dataclasses.asdict(PhantomOptions())


def test_flags_reach_the_options():
    words = "out --shells 700 1400 2100 --directions 15 20 25 --no-dwi --effect-region 3".split()
    values = vars(make_parser().parse_args(words))
    assert values["shells"] == [700, 1400, 2100]
    assert values["dwi"] is False
    del values["out"], values["nprocs"]
    options = PhantomOptions(**values)
    assert options.directions == (15, 20, 25)
    assert options.effect_lobe["name"] == "Left anterior superior grey matter"


@pytest.mark.parametrize("words", [["out", "--bogus"], [], ["out", "--participants", "many"]])
def test_usage_errors_exit_with_64(words, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(words)
    assert leaving.value.code == USAGE
    assert "usage" in capsys.readouterr().err


def test_refusals_are_said_and_returned(tmp_path, capsys):
    assert main([str(tmp_path / "out"), "--noise", "-1"]) == InputError.exit_code
    said = capsys.readouterr().err
    assert "noise is -1.0" in said
    assert not (tmp_path / "out").exists()


def test_command_writes_a_dataset(tmp_path):
    words = "--participants 1 --no-dwi --resolution 8".split()
    assert main([str(tmp_path / "out"), *words]) == 0
    assert (tmp_path / "out/sub-001/anat/sub-001_T1w.nii.gz").is_file()
    assert not (tmp_path / "out/sub-001/dwi").exists()


def test_every_bad_value_is_named_in_one_message():
    with pytest.raises(InputError) as refusal:
        PhantomOptions(participants=0, effect_map="ADC", bias=2.0, shells=(1000, 50))
    for name in ("participants", "effect_map", "bias", "shells"):
        assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"effect_region": "Broca"}, "Left anterior inferior grey matter"),
        ({"effect_region": "25"}, "index from 1 to 24"),
        ({"twins": 11}, "more pairs than 20 participants"),
        ({"dwi": False, "effect_map": "FA"}, "without diffusion scans"),
        ({"directions": (12, 12, 12)}, "3 numbers for 2 shells"),
        ({"shells": (1000, 1000)}, "one twice"),
        ({"effect_size": 16.0, "regional_sd": 0.1}, "80%"),
        ({"noise": float("nan")}, "noise is nan"),
    ],
)
def test_contradictions_are_refused(values, said):
    with pytest.raises(InputError, match=said):
        PhantomOptions(**values)


def test_a_region_is_known_by_index_or_by_name():
    by_name = PhantomOptions(effect_region="Right posterior superior white matter")
    assert by_name.effect_lobe == PhantomOptions(effect_region="24").effect_lobe
