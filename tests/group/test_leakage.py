"""What lies in two parts under two names: copies, twins; and what must change no score."""

import numpy as np
import pandas as pd
import pytest
from testing.studies import score

from bids_sexclf import cli
from bids_sexclf.errors import InputError, LeakageError
from bids_sexclf.group import base
from bids_sexclf.group.splits import check_splits
from bids_sexclf.settings import Run
from bids_sexclf.tables import read_tsv
from bids_sexclf.volumes import load, save

STAGES = ("cohort", "splits", "fit", "evaluate")
QUICK = {
    "models": ["svm_rbf"],
    "baselines": ["brain_size"],
    "attributions": [],
    "bootstraps": 300,
    "permutations": 300,
}


def scans(root):
    return sorted(root.glob("derivatives/out/sub-*/anat/*T1w.nii.gz"))


def make_twins(root):
    """Let each two people of one sex share most of what makes them different from the mean."""
    paths = scans(root)
    volumes = [load(path)[0] for path in paths]
    mean, (_, affine) = np.mean(volumes, axis=0), load(paths[0])
    for i in range(0, len(paths), 4):
        for one, other in ((i, i + 2), (i + 1, i + 3)):
            deviation = 0.95 * (volumes[one] - mean) + 0.3 * (volumes[other] - mean)
            save((mean + deviation).astype(np.float32), affine, paths[other])
    return [f"f{i // 4 * 2 + i % 2}" for i in range(len(paths))]


def tell(root, families):
    table = read_tsv(root / "participants.tsv").assign(family_id=families)
    table.to_csv(root / "participants.tsv", sep="\t", index=False)


@pytest.fixture(scope="module")
def twins(write_derivatives, run_study, tmp_path_factory):
    """Run a study of twins without any effect of sex: families unknown, then known."""
    root = write_derivatives(tmp_path_factory.mktemp("twins"), n=64, seed=5)
    families = make_twins(root)
    blind = run_study(root, STAGES, **QUICK)
    tell(root, families)
    return blind, run_study(root, STAGES, name="told", **QUICK)


def test_twins_in_two_parts_make_a_score_out_of_nothing(twins):
    blind, told = twins
    assert score(blind, "svm_rbf").ci_low > 0.6
    assert score(told, "svm_rbf").estimate < score(blind, "svm_rbf").ci_low


def test_twins_that_nobody_declared_are_noticed(twins):
    blind, told = twins
    pairs = blind.read("resemblance")
    found = set(zip(pairs["participant_id"], pairs["other_id"], strict=True))
    made = {(f"sub-{i + k:03d}", f"sub-{i + k + 2:03d}") for i in range(0, 64, 4) for k in (0, 1)}
    assert found == made
    assert any("resemble each other" in line for line in base.findings(blind))
    assert told.read("resemblance").empty
    assert not any("warning" in line for line in base.findings(told))


def test_twins_are_warned_of_before_anything_is_learnt(write_derivatives, tmp_path, capsys):
    root = write_derivatives(tmp_path, n=32, seed=5)
    make_twins(root)
    command = [str(root), str(root / "derivatives" / "out"), "group", "--last", "cohort"]
    assert cli.main([*command, "--voxel-size", "7"]) == 0
    assert "warning: Relatives, or one person under two ids" in capsys.readouterr().err


def test_strangers_are_not_warned_of(write_derivatives, run_study, tmp_path):
    desk = run_study(write_derivatives(tmp_path, n=40, effect=4.0), ("cohort",))
    assert desk.read("resemblance").empty


def test_one_scan_under_two_ids_is_left_out_twice(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=14)
    paths = scans(root)
    paths[9].write_bytes(paths[4].read_bytes())
    desk = run_study(root, ("cohort",), n_folds=2)
    reasons = desk.read("excluded").set_index("participant_id")["reason"]
    assert "same values as that of sub-009" in reasons["sub-004"]
    assert "same values as that of sub-004" in reasons["sub-009"]
    left = desk.read("cohort")["participant_id"]
    assert len(left) == 12 and not set(left) & {"sub-004", "sub-009"}
    assert np.load(desk.folder / "arrays" / "T1w.npy", mmap_mode="r").shape[0] == 12


def spoil_shape(path):
    volume, affine = load(path)
    save(volume[:-2], affine, path)


def spoil_orientation(path):
    volume, affine = load(path)
    save(volume[::-1], affine @ np.diag([-1, 1, 1, 1.0]), path)


@pytest.mark.parametrize("spoil", [spoil_shape, spoil_orientation])
def test_a_volume_of_another_shape_or_orientation_is_left_out(
    write_derivatives, run_study, tmp_path, spoil
):
    root = write_derivatives(tmp_path, n=12)
    spoil(scans(root)[6])
    desk = run_study(root, ("cohort",), n_folds=2)
    reasons = desk.read("excluded").set_index("participant_id")["reason"]
    assert list(reasons.index) == ["sub-006"] and "on another grid" in reasons["sub-006"]
    assert "sub-006" not in set(desk.read("cohort")["participant_id"])


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"models": ["cnn4"]}, "'cnn4'.*Did you mean 'cnn3'"),
        ({"features": "nowhere.tsv", "models": ["knn"]}, "nowhere.tsv"),
        ({"residualize": ["motion"]}, "12 participants without motion_mm .sub-000"),
        ({"harmonize": "combat"}, "12 participants without site .sub-000"),
    ],
)
def test_a_choice_that_cannot_be_obeyed_stops_before_the_first_fit(
    write_derivatives, run_study, tmp_path, choices, words
):
    root = write_derivatives(tmp_path, n=12)
    with pytest.raises(InputError, match=words):
        run_study(root, ("cohort", "splits", "fit"), n_folds=2, **(QUICK | choices))
    assert not (root / "derivatives" / "out" / "study-default" / "models").exists()


def test_scores_do_not_depend_on_the_order_in_participants_tsv(
    write_derivatives, run_study, tmp_path
):
    root = write_derivatives(tmp_path, n=16, effect=2.0)
    choices = QUICK | {"models": ["cnn3", "svm_rbf"], "epochs": 1, "n_folds": 2}
    first = run_study(root, STAGES, **choices).read("scores")
    table = read_tsv(root / "participants.tsv").iloc[::-1]
    table.sample(frac=1, random_state=1).to_csv(root / "participants.tsv", sep="\t", index=False)
    other = run_study(root, STAGES, name="other", **choices).read("scores")
    pd.testing.assert_frame_equal(first, other)


def test_given_parts_that_split_a_family_are_refused_where_they_are_used(
    write_derivatives, run_study, tmp_path
):
    root = write_derivatives(tmp_path, n=16)
    dealt = run_study(root, ("cohort", "splits"), n_folds=2).read("splits")
    tell(root, ["f"] * 8 + [f"g{i}" for i in range(8)])
    desk = run_study(root, ("cohort",), n_folds=2)
    with pytest.raises(LeakageError, match="families in two parts"):
        check_splits(dealt, desk.read("cohort"))
    with pytest.raises(InputError, match="no splits.tsv"):  # it was made from another cohort
        run_study(root, ("fit",), n_folds=2, run=Run(nprocs=1))
