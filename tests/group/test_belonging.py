"""Tables of a study belong together, or are refused or removed."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import layout
from bids_sexclf.errors import GridError, InputError
from bids_sexclf.group import base
from bids_sexclf.group._jobs import check_fitted, list_jobs, mark
from bids_sexclf.settings import Run, Study
from bids_sexclf.volumes import load, save

TABLES = {"predictions.tsv", "scores.tsv", "comparisons.tsv", "attributions.tsv", "report.html"}


def write_features(path, seed):
    rng = np.random.default_rng(seed)
    rows = {"participant_id": [f"sub-{i:03d}" for i in range(12)], "a": rng.normal(size=12)}
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    return path


@pytest.fixture(scope="module")
def finished(write_derivatives, run_study, tmp_path_factory):
    """Run a small study of a table of features."""
    root = write_derivatives(tmp_path_factory.mktemp("chain") / "bids", n=12)
    features = write_features(root.parent / "features.tsv", 0)
    run_study(root, **choices_of(features))
    return root


def choices_of(features):
    return {
        "n_folds": 2,
        "models": ["logistic"],
        "baselines": ["brain_size"],
        "features": str(features),
        "bootstraps": 100,
        "permutations": 100,
        "attributions": [],
    }


@pytest.fixture
def study(finished, tmp_path, run_study):
    """Give a copy of the finished study, and a function that runs stages of it."""
    root = tmp_path / "bids"
    shutil.copytree(finished, root)
    features = shutil.copy(
        finished.parent / "features.tsv", finished.parent / f"{tmp_path.name}.tsv"
    )
    shutil.copy(features, finished.parent / "features.tsv")

    def run(*stages, first=None, folds=None, **more):
        choices = choices_of(finished.parent / "features.tsv") | more
        return run_study(root, stages, Run(nprocs=1, first=first, folds=folds), **choices)

    run.root = root
    run.folder = root / "derivatives" / "out" / "study-default"
    yield run
    shutil.copy(features, finished.parent / "features.tsv")


def there(run):
    return {name for name in TABLES if (run.folder / name).exists()}


def test_a_copy_of_a_study_is_finished(study):
    desk = study()
    assert [base.state(desk, stage) for stage in base.STAGES] == ["finished"] * len(base.STAGES)


def test_fitting_other_features_removes_the_scores_of_the_old(study, finished):
    write_features(finished.parent / "features.tsv", 1)
    study("differences", "fit", first="fit")
    assert there(study) == {"predictions.tsv"}
    with pytest.raises(InputError, match="no scores.tsv.*needed by stage report.*--first evaluate"):
        study("report", first="report")


def test_dealing_again_removes_all_that_was_made_of_the_old_folds(study):
    study("splits", first="splits", n_folds=3)
    assert there(study) == set()
    assert not (study.folder / "predictions.json").exists()
    assert (study.folder / "cohort.tsv").exists()


def test_a_stage_that_gives_the_same_leaves_the_later_ones_alone(study):
    study("fit", "evaluate", first="fit")
    assert there(study) == TABLES
    assert base.state(study(), "report") == "finished"


@pytest.mark.parametrize("name", ["predictions", "scores", "cohort", "excluded", "regions"])
def test_a_table_that_was_cut_is_seen(study, name):
    path = study.folder / f"{name}.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match=f"{name}.tsv with another content than stage"):
        study("report", first="report")


def test_choices_further_up_are_compared_too(study):
    with pytest.raises(InputError, match="splits.tsv made with n_folds 2, this run asks 3"):
        study("evaluate", first="evaluate", n_folds=3)


def test_a_replaced_map_is_seen_though_size_and_time_are_the_same(study):
    out = study.root / "derivatives" / "out"
    name = layout.derivative("t1w_template", "sub-003", space="Phantom", res="7")
    path, before = out / name, os.stat(out / name)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert base.state(study(), "cohort") == "inputs changed"
    with pytest.raises(InputError, match="cohort.tsv made from .*sub-003.*before a change"):
        study("report", first="report")


def test_people_who_were_prepared_since_change_nothing_further_down(study):
    out = study.root / "derivatives" / "out"
    shutil.copytree(out / "sub-003", out / "sub-900")
    for path in (out / "sub-900").rglob("sub-003*"):
        path.rename(path.with_name(path.name.replace("sub-003", "sub-900")))
    study("report", first="report")
    assert base.state(study(), "cohort") == "inputs changed"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"reads": 3, "writes": [], "settings": 1}'])
def test_a_damaged_note_counts_as_none(study, content):
    (study.folder / "logs" / "fit.json").write_text(content)
    assert base.state(study(), "fit") == "run"
    with pytest.raises(InputError, match="--first fit"):
        study("evaluate", first="evaluate")


def test_a_note_cannot_make_the_program_remove_files_elsewhere(study):
    note = study.folder / "logs" / "evaluate.json"
    held = json.loads(note.read_text())
    elsewhere = ("../../../participants.tsv", f"{study.root}/participants.tsv")
    held["writes"] |= dict.fromkeys(elsewhere)
    note.write_text(json.dumps(held))
    study("evaluate", first="evaluate")
    assert (study.root / "participants.tsv").exists()


@pytest.mark.parametrize("name", ["model.json", "bundle.json"])
def test_a_bundle_that_is_gone_or_changed_is_fitted_again(study, name):
    folder = study.folder / "models" / "logistic_table" / "repeat-1_fold-1"
    before = (study.folder / "predictions.tsv").read_bytes()
    weights = folder / "bundle" / name
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (folder.parent / "repeat-1_fold-2" / "job.json").write_text("{")
    study("fit", first="fit")
    assert weights.read_bytes() != bytes(content)
    assert (study.folder / "predictions.tsv").read_bytes() == before
    assert there(study) == TABLES


@pytest.mark.parametrize("folds", [[3], [9, 1]])
def test_folds_that_do_not_exist_are_refused(study, folds):
    with pytest.raises(InputError, match=r"the folds of splits.tsv \(1, 2\)"):
        study("fit", first="fit", folds=folds)
    assert there(study) == TABLES


@pytest.mark.parametrize(
    "names", [{"models": ["knn", "knn"]}, {"maps": ["T1w", "T1w"]}, {"maps": ["FA+FA"]}]
)
def test_a_name_that_is_given_twice_is_refused(study, names):
    with pytest.raises(InputError, match="more than once in"):
        study(**names)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_weights_replaced_under_their_name_are_fitted_again(study, tmp_path, suffix):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"before")
    more = {
        "models": ["tuned"],
        "variants": {"tuned": {"design": "sfcn", "weights": str(weights)}},
    }
    desk = study(**more)
    splits = desk.read("splits")

    def look():
        jobs = list_jobs(desk, splits, ["tuned", "shuffled"])[::2]
        return [mark(job, splits) for job in jobs], base.list_reads(desk, "fit")

    (before, files), times = look(), weights.stat()
    assert {f"weights/tuned/weights{end}" for end in (".safetensors", ".json")} < set(files)
    weights.with_suffix(suffix).write_bytes(b"after!")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert all(old != new for old, new in zip(before, look()[0], strict=True))


def test_the_advice_fits_what_is_wrong(study):
    with pytest.raises(InputError, match="--first fit, or give the study another name"):
        study("evaluate", first="evaluate", epochs=11)
    (study.folder / "logs" / "fit.json").write_text("{")
    with pytest.raises(InputError, match="--first fit, or without --first"):
        study("evaluate", first="evaluate")


def test_numbers_of_a_list_may_be_equal():
    base.check_lists(Study(split="fixed", parts=[831, 100, 100], crop=[64, 64, 64]))


def test_a_model_that_is_also_a_baseline_is_judged_once(study):
    both = {"models": ["logistic"], "baselines": ["brain_size", "logistic"]}
    desk = study("fit", "evaluate", first="fit", **both)
    tested = desk.read("predictions").query("part == 'test' and model == 'logistic'")
    assert len(tested) == 12
    assert list(desk.read("comparisons")["baseline"]) == ["brain_size"]


def test_a_fitted_model_that_is_not_whole_is_refused_where_it_is_asked(study):
    desk = study()
    splits = desk.read("splits")
    job = list_jobs(desk, splits, ["logistic"])[0]
    check_fitted(job, splits)
    (job.folder / "bundle" / "model.json").unlink()
    with pytest.raises(InputError, match="bundle/model.json missing or changed.*--first fit"):
        check_fitted(job, splits)
    (job.folder / "job.json").unlink()
    with pytest.raises(InputError, match="no job.json of this fit|job.json missing"):
        check_fitted(job, splits)


def test_folders_of_versions_without_bundles_are_refused_with_what_to_do(study):
    desk = study()
    job = list_jobs(desk, desk.read("splits"), ["logistic"])[0]
    for path in list((job.folder / "bundle").iterdir()):
        path.rename(job.folder / path.name)
    (job.folder / "bundle.json").unlink()
    for name in ("grid/maps.json", "grid/mean_T1w.nii.gz"):
        (desk.folder / name).unlink()
    for stage, kind in (("cohort", "writes"), ("fit", "reads")):
        note = desk.folder / "logs" / f"{stage}.json"
        content = json.loads(note.read_text())
        files = content[kind].items()
        content[kind] = {name: about for name, about in files if not name.startswith("grid/m")}
        note.write_text(json.dumps(content))
    with pytest.raises(InputError, match="earlier version. Run again with --first cohort"):
        study("fit", first="fit")
    study("cohort", "differences", "splits", "fit", first="cohort")
    names = {path.name for path in job.folder.iterdir()}
    assert "bundle" in names and "model.json" not in names


def test_a_stage_that_fails_leaves_everything_as_it_was(study):
    before = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    people = study.root / "participants.tsv"
    text = people.read_text()
    people.write_text("participant_id\tnothing\n")
    with pytest.raises(InputError, match="sex"):
        study("cohort")
    with pytest.raises(InputError):
        study("splits", first="splits", n_folds=50)
    people.write_text(text)
    assert {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()} == before
    assert [base.state(study(), stage) for stage in base.STAGES] == ["finished"] * len(base.STAGES)


def test_maps_on_two_grids_are_refused(study):
    out = study.root / "derivatives" / "out"
    for person in range(6):
        path = out / layout.derivative("t1w_template", f"sub-00{person}", space="Phantom", res="7")
        volume, affine = load(path)
        save(volume[:-2], affine, path)
    with pytest.raises(GridError, match="T1w maps on 2 grids"):
        study("cohort")


def test_a_grid_that_a_network_cannot_read_is_told_before_the_first_fit(study, monkeypatch):
    from bids_sexclf.group import fit

    monkeypatch.setattr(fit, "run_jobs", lambda *_, **__: pytest.fail("a model was fitted"))
    coarse = {"models": ["logistic", "cnn3"], "voxel_size": 12.0, "name": "coarse"}
    study("cohort", "splits", **coarse)
    with pytest.raises(InputError, match="needed at least 22 along each axis"):
        study("fit", **coarse)


def test_results_of_other_numbers_of_threads_are_not_mixed(study):
    desk = study()
    more = replace(desk, run=desk.run.model_copy(update={"omp_nthreads": 2}))
    with pytest.raises(InputError, match="omp_nthreads 1, this run asks 2"):
        base.state(more, "fit")
    assert base.state(more, "splits") == "finished"
    splits = desk.read("splits")
    table = list_jobs(desk, splits)[0]
    network = replace(table, model="cnn3", map=desk.study.maps[0])
    # Sums of floats depend on how many threads share them: networks alone notice.
    assert mark(table, splits) == mark(replace(table, threads=2), splits)
    assert mark(network, splits) != mark(replace(network, threads=2), splits)
