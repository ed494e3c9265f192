"""Studies whose models are variants, read several maps, or fail."""

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file

from bids_sexclf import layout
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.errors import InputError, LeakageError, ToolError
from bids_sexclf.group import base
from bids_sexclf.settings import Run
from bids_sexclf.volumes import load, save

pytestmark = pytest.mark.slow
VIT = {
    "design": "vit",
    "patch": [9, 9, 9],
    "width": 24,
    "depth": 1,
    "heads": 2,
    "mae2d_epochs": 1,
    "mae3d_epochs": 1,
    "decoder_width": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
}
BRIEF = {"n_folds": 2, "epochs": 1, "baselines": ["age_only"], "bootstraps": 100}
BRIEF |= {"permutations": 100}


@pytest.fixture(scope="module")
def two_maps(write_derivatives, tmp_path_factory):
    """Write T1w maps, and FA maps in which their contrast is turned round."""
    root = write_derivatives(tmp_path_factory.mktemp("maps"), n=16, effect=4.0)
    out = root / "derivatives" / "out"
    for index in range(16):
        person = f"sub-{index:03d}"
        name = layout.derivative("t1w_template", person, space="Phantom", res="7")
        volume, affine = load(out / name)
        other = layout.derivative("tensor_template", person, space="Phantom", res="7", param="fa")
        save(np.where(volume != 0, 2 - volume, 0), affine, out / other)
    return root


@pytest.fixture(scope="module")
def joined(two_maps, run_study):
    """Run a study of both maps together, by two variants of one network and a probe."""
    return run_study(
        two_maps,
        name="joined",
        maps=["T1w+FA"],
        models=["quick", "slow", "probe"],
        variants={
            "quick": {"design": "cnn3", "dropout": 0.2, "learning_rate": 2e-3},
            "slow": {"design": "cnn3", "epochs": 2},
            "probe": VIT | {"arm": "probe"},
        },
        **BRIEF,
    )


def test_tables_carry_the_names_of_variants_and_of_joined_maps(joined):
    pairs = {(row.model, row.map) for row in joined.read("scores").itertuples()}
    networks = {(model, "T1w+FA") for model in ("quick", "slow", "probe")}
    assert pairs == networks | {("age_only", "table")}
    regions = joined.read("regions")
    assert set(zip(regions["model"], regions["map"], strict=True)) == networks
    assert (joined.folder / "report.html").exists()
    assert [base.state(joined, stage) for stage in base.STAGES] == ["finished"] * len(base.STAGES)


def test_each_variant_is_trained_and_kept_by_its_own_choices(joined):
    history = joined.read("history")
    assert history.groupby("model")["epoch"].max().to_dict() == {"quick": 0, "slow": 1, "probe": 0}
    assert (history.query("model == 'quick'")["learning_rate"] == 2e-3).all()
    folder = joined.folder / "models" / "quick_T1w+FA" / "repeat-1_fold-1" / "bundle"
    card = json.loads((folder / "model.json").read_text())
    assert (card["design"], card["channels"]) == ("cnn3", 2)
    assert card["options"] == {"dropout": 0.2} and card["settings"]["learning_rate"] == 2e-3


def test_pretraining_names_the_training_part_of_its_fold_and_nobody_else(joined):
    for fold in (1, 2):
        folder = joined.folder / "models" / "probe_T1w+FA" / f"repeat-1_fold-{fold}"
        known = json.loads((folder / "encoder.json").read_text())["participants"]
        splits = joined.read("splits").query("fold == @fold and part == 'train'")
        assert known == sorted(splits["participant_id"])
        assert "pos_embed" in load_file(folder / "encoder.safetensors")


def test_weights_that_know_a_test_participant_stop_the_study(joined, run_study, two_maps):
    encoder = joined.folder / "models" / "probe_T1w+FA" / "repeat-1_fold-1" / "encoder.safetensors"
    choices = BRIEF | {"name": "leaky", "maps": ["FA"], "models": ["probe"]}
    choices["variants"] = {"probe": VIT | {"arm": "probe", "weights": str(encoder)}}
    with pytest.raises(LeakageError, match="participants of a validation or test part"):
        run_study(two_maps, ("cohort", "splits", "fit"), **choices)


def test_changing_one_variant_refits_that_one_alone(joined, run_study, two_maps):
    fitted = {path: path.stat().st_mtime_ns for path in joined.folder.glob("models/*/*/job.json")}
    choices = joined.study.model_dump(exclude_unset=True)
    variants = choices["variants"] | {"quick": choices["variants"]["quick"] | {"dropout": 0.3}}
    run = Run(nprocs=1, first="fit")
    run_study(two_maps, ("fit",), run=run, **(choices | {"variants": variants}))
    again = {path.parents[1].name for path in fitted if path.stat().st_mtime_ns != fitted[path]}
    assert again == {"quick_T1w+FA"}


WILD = {"optimizer": "sgd", "learning_rate": 100.0, "weight_decay": 100.0}
"""Every step makes the weights ten thousand times larger."""


def test_a_loss_that_is_no_number_and_weights_that_are_not_there_are_named_and_the_others_go_on(
    two_maps, run_study
):
    choices = BRIEF | {"name": "nan", "maps": ["FA"], "models": ["wild", "lost", "tame"]}
    choices["variants"] = {
        "wild": {"design": "cnn3", "epochs": 20} | WILD,
        "lost": VIT | {"arm": "probe", "weights": "/nowhere/x.safetensors"},
        "tame": {"design": "cnn3"},
    }
    with pytest.raises(ToolError) as told:
        run_study(two_maps, ("cohort", "splits", "fit"), **choices)
    assert "4 of 8 fits failed (wild on FA, fold" in str(told.value)
    assert "Lower learning_rate" in str(told.value)
    assert "lost on FA, folds 1 and 2: InputError: Found no file" in str(told.value)
    assert str(told.value).count("/nowhere/x.safetensors") == 1
    folder = two_maps / "derivatives" / "out" / "study-nan"
    done = {path.parents[1].name for path in folder.glob("models/*/*/job.json")}
    assert done == {"tame_FA", "age_only_table"}
    assert not (folder / "predictions.tsv").exists()


@pytest.mark.parametrize("damage", ["cut", "short", "gone"])
def test_a_damaged_cohort_array_is_named_with_what_to_do(two_maps, run_study, damage):
    choices = BRIEF | {"name": f"damaged{damage}", "maps": ["FA"], "baselines": []}
    desk = run_study(two_maps, ("cohort", "splits"), **choices)
    path = array_path(desk.folder, "FA")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "short":
        np.save(path, np.load(path)[:-1])
    else:
        path.unlink()
    notes = []
    with pytest.raises(InputError, match="FA.npy.*--first cohort") as told:
        base.run_stage(desk, "fit", lambda done, total, note: notes.append((done, total, note)))
    assert notes == []  # it is told before the first fit
    assert str(told.value).count("--first cohort") == 1


def test_half_a_checkpoint_leaves_a_study_that_can_be_run(two_maps, run_study, tmp_path):
    choices = BRIEF | {"name": "half", "maps": ["FA"], "baselines": []}
    desk = run_study(two_maps, ("cohort", "splits"), **choices)
    folder = desk.folder / "models" / "cnn3_FA" / "repeat-1_fold-1"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 half of it")
    (folder / ".part-x-last.ckpt").write_bytes(b"less")
    run_study(two_maps, ("fit",), **choices)
    assert base.state(desk, "fit") == "finished" and not (folder / "last.ckpt").exists()


def test_unknown_options_stop_before_the_first_stage(two_maps, capsys):
    from bids_sexclf.cli import main

    out = two_maps / "derivatives" / "out"
    flags = ["--variants", '{"cnn3": {"dropuot": 0.1}}', "--nprocs", "1"]
    assert main([str(two_maps), str(out), "group", *flags]) == InputError.exit_code
    assert "dropuot" in capsys.readouterr().err
    assert not (out / "study-default").exists()


def test_jobs_run_on_dask_as_they_do_here(two_maps, run_study):
    distributed = pytest.importorskip("dask.distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    choices = BRIEF | {"maps": ["FA"], "baselines": []}
    here = run_study(two_maps, ("cohort", "splits", "fit"), name="here", **choices)
    with distributed.LocalCluster(**options, dashboard_address=None) as cluster:
        run = Run(nprocs=1, dask_scheduler=cluster.scheduler_address)
        there = run_study(two_maps, ("cohort", "splits", "fit"), run=run, name="there", **choices)
    shutil.rmtree(there.folder / "arrays")
    np.testing.assert_array_equal(
        here.read("predictions")["evidence"], there.read("predictions")["evidence"]
    )
