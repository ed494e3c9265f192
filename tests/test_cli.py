import subprocess
import sys
import time

import pytest

from bids_sexclf import cli
from bids_sexclf.errors import USAGE, InputError
from bids_sexclf.places import check_places
from bids_sexclf.settings import Preparation, Run, Study


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "b", "participant", "--nope"],
        ["a", "b", "c"],
        ["a"],
        ["a", "b", "group", "--model", "x"],
    ],
)
def test_wrong_usage_exits_with_64(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == USAGE and "--help" in capsys.readouterr().err


def test_a_misspelt_flag_is_told_with_what_was_meant(capsys):
    with pytest.raises(SystemExit):
        cli.main(["a", "b", "group", "--epoch=3"])
    assert "Did you mean '--epochs'?" in capsys.readouterr().err


def test_a_misspelt_key_of_a_file_is_told_with_what_was_meant(tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text("epoch = 3\n")
    assert run(tmp_path / "bids", tmp_path / "out", "group", "--config-file", config) == 65
    assert "Did you mean 'epochs'?" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from bids_sexclf import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'ants', 'dipy', 'nipype', 'pandas', 'bids', 'matplotlib'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--participant-label" in done.stdout


def test_every_choice_is_a_flag_with_help():
    text = cli.build_parser().format_help()
    for record in (Run, Preparation, Study):
        for name, field in record.model_fields.items():
            assert field.description, name
            assert name == "name" or f"--{name.replace('_', '-')}" in text


def test_flags_win_over_the_file_and_the_file_over_the_study(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("n_folds = 4\nepochs = 3\nresolution = 1.5\n")
    parsed = cli.build_parser().parse_args(
        ["a", "b", "group", "--config-file", str(config), "--epochs", "9", "--maps", "FA", "MD"]
    )
    made = cli.read_settings(vars(parsed))
    assert (made["study"].n_folds, made["study"].epochs, made["study"].maps) == (4, 9, ["FA", "MD"])
    assert made["preparation"].resolution == 1.5


def test_the_seed_reaches_every_record():
    parsed = cli.build_parser().parse_args(["a", "b", "group", "--random-seed", "7"])
    made = cli.read_settings(vars(parsed))
    assert made["study"].random_seed == made["preparation"].random_seed == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--study", "nope"], "default"),
        (["--n-folds", "1"], "n_folds"),
        (["--learning-rate", "inf"], "learning_rate: found Infinity"),
        (["--epochs", "1e20"], 'epochs: found "1e20"'),
        (["--folds", "0"], "folds"),
        (["--epochs", "many"], "epochs"),
        (["--first", "fitt"], "cohort, differences, splits, fit"),
    ],
)
def test_bad_choices_are_refused_with_what_was_needed(tmp_path, capsys, arguments, words):
    assert run(tmp_path / "bids", tmp_path / "out", "group", *arguments) == 65
    assert words in capsys.readouterr().err


@pytest.fixture
def places(tmp_path):
    """A dataset with a scan, a stranger's file beside it, results, and somebody else's dataset."""
    for name in ("data/bids/sub-01/scan", "data/stranger", "data/out/sub-01/map", "data/prep/x"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    (tmp_path / "data/prep/dataset_description.json").write_text(
        '{"GeneratedBy": [{"Name": "fMRIPrep"}]}'
    )
    (tmp_path / "link").symlink_to(tmp_path / "data" / "bids")
    return tmp_path


def files(folder):
    return sorted(str(path) for path in folder.rglob("*"))


WORKS = ["data", "data/bids", "data/bids/sub-01", "data/bids/work", "data/bids/derivatives/work"]
WORKS += ["data/out", "data/out/sub-01", "data/out/logs", "data/prep", "data/prep/work", "link", ""]


@pytest.mark.parametrize("level", ["participant", "group"])
@pytest.mark.parametrize("work", [*WORKS, "/", "data/../data/bids", "link/sub-01"])
def test_a_work_folder_that_touches_data_or_results_is_refused(places, capsys, work, level):
    before = files(places)
    prepared = f"fmriprep={places / 'data/prep'}"
    more = ["--clean-workdir", "--derivatives", prepared, "-w", places / work]
    assert run(places / "data/bids", places / "data/out", level, *more) == 65
    assert "work folder" in capsys.readouterr().err
    assert files(places) == before


@pytest.mark.parametrize("work", [None, "scratch", "data/out/work/deep", "data/work"])
@pytest.mark.parametrize("out", ["data/out", "data/bids/derivatives/ours"])
def test_a_work_folder_of_its_own_is_accepted(places, work, out):
    bids, out, work = places / "data/bids", places / out, work and places / work
    if work is not None and work.is_relative_to(places / "data/out") and "ours" in out.name:
        work = out / "work" / "deep"
    check_places(bids, out, Run(work_dir=work))


@pytest.mark.parametrize("out", ["data/bids", "data/bids/out", "data/bids/sub-01", "link/out"])
@pytest.mark.parametrize("work", [[], ["-w", "scratch"]])
def test_output_into_the_dataset_is_refused(places, capsys, out, work):
    before = files(places)
    more = [places / word if word == "scratch" else word for word in work]
    assert run(places / "data/bids", places / out, "participant", *more) == 65
    assert "inside the BIDS folder" in capsys.readouterr().err
    assert files(places) == before


def test_output_over_the_dataset_of_another_program_is_refused(places, capsys):
    before = files(places)
    assert run(places / "data/bids", places / "data/prep", "participant") == 65
    assert "made by fMRIPrep" in capsys.readouterr().err
    assert files(places) == before


def test_a_damaged_description_of_the_output_is_named_with_the_way_out(places, capsys):
    path = places / "data/out/dataset_description.json"
    path.write_text('{"Name": ')
    assert run(places / "data/bids", places / "data/out", "group") == 65
    told = capsys.readouterr().err
    assert f"Found {path}" in told and "remove this one file" in told and "program" not in told


def test_an_index_among_raw_files_is_refused(places):
    bids, out = places / "data/bids", places / "data/out"
    for inside in (bids, bids / "index", places / "link/index"):
        with pytest.raises(InputError, match="--bids-database-dir .* inside the BIDS folder"):
            check_places(bids, out, Run(bids_database_dir=inside))
    for apart in (places / "index", out / "work/index", bids / "derivatives/index"):
        check_places(bids, out, Run(bids_database_dir=apart))


def test_a_link_in_place_of_the_default_work_folder_is_followed(places, capsys):
    (places / "data/out/work").symlink_to(places / "data/bids")
    before = files(places)
    assert run(places / "data/bids", places / "data/out", "participant", "--clean-workdir") == 65
    assert "work folder" in capsys.readouterr().err
    assert files(places) == before


def test_a_missing_dataset_is_told_before_anything_is_written(tmp_path, capsys):
    templates = tmp_path / "t"
    assert run(tmp_path / "no", tmp_path / "out", "participant", "--templates-dir", templates) == 69
    assert "python -m bids_sexclf.resources" in capsys.readouterr().err


def test_help_answers_quickly():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bids_sexclf.cli", "--help"], capture_output=True)
        times.append(time.perf_counter() - start)
    # A sum of imports, not a benchmark: torch alone takes seconds.
    assert min(times) < 1.5


def test_a_flag_with_a_list_may_be_repeated():
    parsed = cli.build_parser().parse_args(
        ["a", "b", "group", "--derivatives", "hcp=x", "--derivatives", "masks=y", "freesurfer=z"]
    )
    made = cli.read_settings(vars(parsed))
    assert made["run"].derivatives == ["hcp=x", "masks=y", "freesurfer=z"]
