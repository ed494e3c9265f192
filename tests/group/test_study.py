import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from testing.studies import read_page, score

from bids_sexclf import cli
from bids_sexclf.cohort import resemblance
from bids_sexclf.errors import PARTIAL, InputError, LeakageError
from bids_sexclf.group import base, cohort
from bids_sexclf.group._jobs import is_fitted, list_jobs
from bids_sexclf.group.splits import check_splits
from bids_sexclf.settings import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def planted(write_derivatives, run_study, tmp_path_factory):
    """Run a study in which one region differs strongly between the sexes."""
    root = write_derivatives(tmp_path_factory.mktemp("planted"), effect=8.0)
    return run_study(root, baselines=["brain_size", "age_only"])


@pytest.fixture(scope="module")
def sized(write_derivatives, run_study, tmp_path_factory):
    """Run a study in which the sexes differ in brain size and nothing else."""
    root = write_derivatives(tmp_path_factory.mktemp("sized"), size_effect=4.0, seed=1)
    return run_study(root, epochs=2)


def test_a_planted_effect_is_found_and_placed(planted):
    assert score(planted, "cnn3").estimate >= 0.95
    regions = planted.read("regions")
    assert regions["region"][0] == 8 and regions["mean"].idxmax() == 0
    assert regions["p_fwe"][0] == regions["p_fwe"].min() < 0.05


def test_baselines_without_the_effect_score_chance(planted):
    for model in ("brain_size", "age_only"):
        assert score(planted, model).p > 0.01
    comparisons = planted.read("comparisons").set_index("baseline")
    assert (comparisons["difference"] > 0.3).all() and (comparisons["p"] < 0.06).all()
    assert comparisons["verdict"]["age_only"] == "above"


def test_no_effect_gives_no_region(sized):
    assert (sized.read("regions")["p_fwe"] > 0.05).all()


def test_factors_of_variance_are_told_and_spare_what_folds_do_not_share(planted):
    scores = planted.read("scores").set_index(["model", "score"])["variance_factor"]
    assert scores["cnn3", "auc"] == scores["brain_size", "auc"] == 2
    assert scores["cnn3", "recall"] == scores["cnn3", "calibration_intercept"] == 1
    assert (planted.read("regions")["variance_factor"] == 2).all()
    assert (planted.read("comparisons")["variance_factor"] == 2).all()


def test_the_report_says_that_nothing_adds_to_brain_size(sized):
    assert score(sized, "brain_size").estimate > 0.9
    assert "Brain size alone tells the sexes apart" in read_page(sized)
    assert "no network is shown to add to it" in read_page(sized)


def test_every_table_is_there_with_its_dictionary(planted):
    for stage in base.STAGES:
        for name in base.module(stage).WRITES:
            assert (planted.folder / name).exists(), name
            if name.endswith(".tsv"):
                assert (planted.folder / name).with_suffix(".json").exists()


def test_everyone_is_tested_once_by_every_model(planted):
    tested = planted.read("predictions").query("part == 'test'")
    people = planted.read("cohort")["participant_id"]
    for _, rows in tested.groupby(["model", "map"]):
        assert sorted(rows["participant_id"]) == sorted(people)


def test_whole_logits_of_attribution_are_those_of_prediction(planted):
    told = (
        planted.read("attributions").drop_duplicates("participant_id").set_index("participant_id")
    )
    tested = planted.read("predictions").query("part == 'test' and model == 'cnn3'")
    both = tested.set_index("participant_id")["evidence"].sub(told["evidence"])
    np.testing.assert_allclose(both, 0, atol=1e-4)


def digests(desk):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(desk.folder.glob("*.tsv"))
    }


def test_a_second_run_does_nothing(planted, run_study):
    before = {path: path.stat().st_mtime_ns for path in planted.folder.rglob("*") if path.is_file()}
    assert [base.state(planted, stage) for stage in base.STAGES] == ["finished"] * len(base.STAGES)
    for stage in base.STAGES:
        base.run_stage(planted, stage)
    after = {path: path.stat().st_mtime_ns for path in planted.folder.rglob("*") if path.is_file()}
    assert before == after


def test_folders_spelt_in_another_way_are_the_same_folders(planted, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(planted.bids_dir)
    monkeypatch.chdir(planted.bids_dir)
    for root in (Path(), tmp_path / "link"):
        desk = base.Desk.at(root, root / "derivatives/out", planted.run, planted.study)
        assert [base.state(desk, stage) for stage in base.STAGES] == ["finished"] * len(base.STAGES)
        splits = desk.read("splits")
        assert all(is_fitted(job, splits) for job in list_jobs(desk, splits))


def test_what_is_finished_may_not_stay_so_once_a_stage_before_it_runs(planted):
    assert set(base.foresee(planted, base.STAGES).values()) == {"finished"}
    again = replace(planted, run=Run(first="evaluate"))
    told = base.foresee(again, base.STAGES)
    assert [told[name] for name in ("fit", "evaluate")] == ["finished", "asked for"]
    later = {told[name] for name in ("attribute", "regions", "report")}
    assert later == {"finished, unless what it reads changes"}


def test_the_same_seed_gives_the_same_tables(write_derivatives, run_study, tmp_path):
    made = []
    for name in ("a", "b"):
        root = write_derivatives(tmp_path / name, n=12, effect=3.0)
        made.append(
            run_study(root, base.STAGES[:-1], n_folds=2, epochs=1, bootstraps=100, permutations=100)
        )
    assert digests(made[0]) == digests(made[1])


def test_other_choices_are_refused_and_first_takes_them(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    run_study(root, ("cohort", "splits"), n_folds=2)
    with pytest.raises(InputError, match="n_folds 2, this run asks 3.*--first splits"):
        run_study(root, ("cohort", "splits"), n_folds=3)
    desk = run_study(root, ("splits",), n_folds=3, run=Run(nprocs=1, first="splits"))
    assert desk.read("splits")["fold"].max() == 3


def test_a_new_participant_is_taken_in(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    run_study(root, ("cohort", "splits"), n_folds=2)
    write_derivatives(tmp_path, n=14)
    desk = run_study(root, ("cohort", "splits"), n_folds=2)
    assert len(desk.read("cohort")) == desk.read("splits")["participant_id"].nunique() == 14


def test_maps_that_changed_are_fitted_again(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    choices = {"n_folds": 2, "epochs": 1, "baselines": ["brain_size"]}
    desk = run_study(root, ("cohort", "splits", "fit"), **choices)
    before = desk.read("predictions")
    write_derivatives(tmp_path, n=12, effect=5.0)
    assert base.state(desk, "cohort") == "inputs changed"
    run_study(root, ("cohort", "splits", "fit"), **choices)
    after = desk.read("predictions")
    assert (before["participant_id"] == after["participant_id"]).all()
    network = after["model"] == "cnn3"
    assert (before["evidence"][network] != after["evidence"][network]).all()


def test_folds_can_be_fitted_one_by_one(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    choices = {"n_folds": 2, "epochs": 1, "baselines": ["brain_size"]}
    desk = run_study(root, ("cohort", "splits"), **choices)
    run_study(root, ("fit",), run=Run(nprocs=1, folds=[1]), **choices)
    assert not (desk.folder / "predictions.tsv").exists()
    run_study(root, ("fit",), run=Run(nprocs=1, folds=[2]), **choices)
    assert desk.read("predictions")["fold"].nunique() == 2


def test_folds_of_other_maps_are_never_gathered_together(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    choices = {"n_folds": 2, "epochs": 1, "baselines": ["brain_size"]}
    desk = run_study(root, ("cohort", "splits", "fit"), **choices)
    write_derivatives(tmp_path, n=12, effect=5.0)
    run_study(root, ("cohort", "splits", "fit"), run=Run(nprocs=1, folds=[1]), **choices)
    assert not (desk.folder / "predictions.tsv").exists()
    assert base.state(desk, "fit") == "run"


def test_splits_that_leak_are_refused_where_they_are_used(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    desk = run_study(root, ("cohort", "splits"), n_folds=2)
    path = desk.folder / "splits.tsv"
    first = pd.read_csv(path, sep="\t")
    first.loc[first["part"] == "train", "part"] = "test"
    first.to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match="splits.tsv with another content than stage splits"):
        run_study(root, ("fit",), n_folds=2)
    with pytest.raises(LeakageError, match="tested twice"):
        check_splits(desk.read("splits"), desk.read("cohort"))


def test_a_family_is_never_split(write_derivatives, run_study, tmp_path):
    families = [f"f{i // 4 * 2 + i % 2}" for i in range(24)]
    desk = run_study(
        write_derivatives(tmp_path, n=24, families=families), ("cohort", "splits"), n_folds=3
    )
    joined = desk.read("splits").merge(desk.read("cohort"), on="participant_id")
    assert joined.groupby(["fold", "family_id"])["part"].nunique().max() == 1


def test_who_is_left_out_has_a_row(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=14)
    table = (root / "participants.tsv").read_text().replace("sub-003\tM", "sub-003\tn/a")
    (root / "participants.tsv").write_text(table)
    next((root / "derivatives/out/sub-004/anat").glob("*T1w.nii.gz")).unlink()
    desk = run_study(root, ("cohort",), n_folds=2)
    reasons = desk.read("excluded").set_index("participant_id")["reason"]
    assert "sex is unknown" in reasons["sub-003"] and "no T1w map" in reasons["sub-004"]
    assert len(desk.read("cohort")) == 12


def test_the_terminal_tells_who_is_left_out_and_what_has_no_effect(
    write_derivatives, tmp_path, capsys
):
    root = write_derivatives(tmp_path, n=20)
    table = (root / "participants.tsv").read_text()
    for index in range(6):
        table = table.replace(f"sub-00{index}\t{'FM'[index % 2]}", f"sub-00{index}\tn/a")
    (root / "participants.tsv").write_text(table)
    out = root / "derivatives" / "out"
    flags = ["--voxel-size", "7", "--participant-label", "001", "--last", "cohort"]
    assert cli.main([str(root), str(out), "group", *flags]) == PARTIAL
    told = capsys.readouterr().err
    assert "warning: --participant-label has no effect on the group level" in told
    assert "left out sub-000, sub-001, sub-002 and 3 more: sex is unknown" in told
    where = out / "study-default" / "excluded.tsv"
    assert f"14 participant-sessions to study, 6 left out: see {where}" in told
    cli.main([str(root), str(out), "group", "--voxel-size", "7", "--dry-run"])
    told = capsys.readouterr()
    assert told.out.splitlines()[:2] == ["cohort\tfinished", "differences\trun"]
    assert "warning" not in told.err


def test_every_file_that_the_cohort_reads_has_a_path(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=4)
    desk = run_study(root, (), target="age")
    files = cohort.files(desk)
    assert files[cohort.YEARS] == root / "participants.tsv"
    optional = {"bids/participants.json", "prepared/excluded.tsv", cohort.VERDICTS}
    assert all(path.is_file() for label, path in files.items() if label not in optional)


def test_a_dry_run_refuses_limits_and_verdicts_that_cannot_be_read(
    write_derivatives, tmp_path, capsys
):
    root = write_derivatives(tmp_path, n=4)
    command = [str(root), str(root / "derivatives" / "out"), "group", "--dry-run"]
    assert cli.main([*command, "--quality-limits", "motion <= 2"]) == 65
    assert "Found quality_limits 'motion <= 2'" in capsys.readouterr().err
    assert cli.main([*command, "--ratings", str(tmp_path / "none.tsv")]) == 65
    assert "needed the table that the setting ratings names" in capsys.readouterr().err
    (root / "derivatives" / "out" / "ratings.tsv").write_text("participant_id\nsub-000\n")
    assert cli.main(command) == 65
    assert "ratings.tsv" in capsys.readouterr().err


def test_a_misspelt_map_is_told_with_what_was_meant(write_derivatives, run_study, tmp_path):
    with pytest.raises(InputError, match="Found maps T1, .*Did you mean 'T1w'"):
        run_study(write_derivatives(tmp_path, n=4), ("cohort",), maps=["T1"])


def test_a_map_that_nobody_has_is_refused_with_what_was_needed(
    write_derivatives, run_study, tmp_path
):
    with pytest.raises(InputError, match="no FA map"):
        run_study(write_derivatives(tmp_path, n=8), ("cohort",), maps=["FA"])


def test_voxels_finer_than_the_maps_are_refused(write_derivatives, run_study, tmp_path):
    with pytest.raises(InputError, match="Raise voxel_size"):
        run_study(write_derivatives(tmp_path, n=8), ("cohort",), voxel_size=2.0)


def test_a_baseline_that_cannot_be_asked_is_named(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=12)
    for path in root.glob("derivatives/out/sub-*/*_quality.json"):
        path.write_text('{"snr": 10.0}')
    with pytest.raises(InputError, match="12 participants without brain_volume_ml .sub-000"):
        run_study(root, ("cohort", "splits", "fit"), n_folds=2, epochs=1, baselines=["brain_size"])


def test_ids_of_a_twin_study_without_families_are_noticed():
    table = pd.DataFrame(
        {"participant_id": ["sub-100307", "sub-100408"], "family_id": [None, None]}
    )
    assert resemblance.looks_related(table)
    assert not resemblance.looks_related(table.assign(family_id=["a", "b"]))
