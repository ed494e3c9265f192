"""What is wrong with one participant costs one; what is wrong with the study is told first."""

import multiprocessing
import shutil

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import cli, layout
from bids_sexclf.errors import PARTIAL, BusyError, InputError
from bids_sexclf.group import base, regions
from bids_sexclf.locks import hold
from bids_sexclf.settings import Run
from bids_sexclf.volumes import load, new_cohort, open_cohort, save


@pytest.fixture
def prepared(write_derivatives, tmp_path):
    root = write_derivatives(tmp_path / "bids", n=14)
    return root, root / "derivatives" / "out"


def map_of(out, person):
    return out / layout.derivative("t1w_template", person, space="Phantom", res="7")


def test_one_persons_faults_leave_out_that_person(prepared, run_study):
    root, out = prepared
    (out / layout.derivative("quality", "sub-000")).write_text('{"brain_volume_ml": ')
    (out / layout.derivative("quality", "sub-001")).write_text('{"brain_volume_ml": "much"}')
    (out / layout.derivative("quality", "sub-002")).write_text('{"brain_volume_ml": -4}')
    map_of(out, "sub-003").write_bytes(map_of(out, "sub-003").read_bytes()[:2000])
    volume, affine = load(map_of(out, "sub-004"))
    save(volume[:-2], affine, map_of(out, "sub-004"))
    (out / layout.derivative("morphometry", "sub-005", atlas="x")).write_text("nothing\nof use\n")
    shutil.rmtree(out / "sub-006")
    desk = run_study(root, ("cohort",), n_folds=2)
    reasons = desk.read("excluded").set_index("participant_id")["reason"]
    assert list(reasons.index) == [f"sub-00{i}" for i in range(7)]
    assert "quality.json cannot be used" in reasons["sub-000"]
    assert "'much', needed a number" in reasons["sub-001"]
    assert "brain_volume_ml is -4, needed 0" in reasons["sub-002"]
    assert map_of(out, "sub-003").name in reasons["sub-003"]
    assert "on another grid" in reasons["sub-004"]
    assert "morphometry.tsv" in reasons["sub-005"]
    assert "not prepared" in reasons["sub-006"]
    assert len(desk.read("cohort")) == len(open_cohort(desk.folder / "arrays" / "T1w.npy")) == 7


def test_people_who_are_left_out_make_exit_code_3(prepared):
    root, out = prepared
    shutil.rmtree(out / "sub-006")
    flags = ["--voxel-size", "7", "--last", "splits", "--n-folds", "2"]
    assert cli.main([str(root), str(out), "group", *flags]) == PARTIAL
    assert cli.main([str(root), str(out), "group", *flags]) == PARTIAL


def test_an_atlas_elsewhere_is_refused_before_anything_is_fitted(
    prepared, brain, run_study, tmp_path
):
    root, _ = prepared
    _, affine = load(map_of(prepared[1], "sub-000"))
    pd.DataFrame({"index": range(1, 25), "name": "x"}).to_csv(
        tmp_path / "mine.tsv", sep="\t", index=False
    )
    affine[0, 3] += 500
    save(brain["labels"].astype(np.int16), affine, tmp_path / "mine.nii.gz")
    with pytest.raises(InputError, match="0 % of its volume in the brain"):
        run_study(root, ("cohort",), atlas=str(tmp_path / "mine.nii.gz"))


def test_an_atlas_that_is_replaced_is_seen(prepared, brain, run_study, tmp_path):
    root, out = prepared
    _, affine = load(map_of(out, "sub-000"))
    atlas, labels = tmp_path / "mine.nii.gz", tmp_path / "mine.tsv"
    table = pd.DataFrame({"index": range(1, 25), "name": [f"region {i}" for i in range(1, 25)]})
    table.to_csv(labels, sep="\t", index=False)
    save(brain["labels"].astype(np.int16), affine, atlas)
    desk = run_study(root, ("cohort",), atlas=str(atlas))
    assert base.state(desk, "cohort") == "finished"
    table.assign(name=table["name"].str.upper()).to_csv(labels, sep="\t", index=False)
    assert base.state(desk, "cohort") == "inputs changed"


def test_a_region_outside_the_brain_has_a_row_with_a_reason():
    tested = pd.DataFrame({key: ["x"] for key in regions.KEYS} | {"region": [2], "p": [0.01]})
    labels = pd.DataFrame(
        {"name": ["in", "out"], "hemisphere": ["L", "R"], "n_voxels": [40, 0]},
        index=pd.Index([2, 5], name="index"),
    )
    table = regions.add_untested(tested.assign(n_participants=9), labels).set_index("region")
    assert table.loc[5, "n_participants"] == 0 and np.isnan(table.loc[5, "p"])
    assert table.loc[5, "reason"] == regions.OUTSIDE and table.loc[5, "name"] == "out"
    assert pd.isna(table.loc[2, "reason"]) and table.loc[2, "p"] == 0.01


def test_an_array_is_whole_or_absent_and_readers_keep_theirs(tmp_path):
    path = tmp_path / "a.npy"
    with new_cohort(path, (2, 3, 3, 3)) as array:
        array[:] = 1
        assert not path.exists()
    reader = open_cohort(path)
    with pytest.raises(RuntimeError), new_cohort(path, (1, 2, 2, 2)) as array:
        array[:] = 7
        raise RuntimeError
    assert open_cohort(path).shape == (2, 3, 3, 3)
    with new_cohort(path, (1, 2, 2, 2)) as array:
        array[:] = 7
    assert (reader == 1).all() and (open_cohort(path) == 7).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npy"]


def test_no_room_for_an_array_is_an_error_and_not_a_dead_process(tmp_path):
    with (
        pytest.raises(OSError, match="a.npy"),
        new_cohort(tmp_path / "a.npy", (10**6, 100, 100, 200)),
    ):
        pass
    assert not list(tmp_path.iterdir())


def _hold(path, begun, end):
    with hold(path, "study default is being worked on"):
        begun.set()
        end.wait(60)


def test_a_second_run_of_a_study_is_told_who_works_on_it(prepared, run_study):
    root, out = prepared
    context = multiprocessing.get_context("spawn")
    begun, end = context.Event(), context.Event()
    path = out / "study-default" / "logs" / "study.lock"
    other = context.Process(target=_hold, args=(path, begun, end))
    other.start()
    assert begun.wait(60)
    try:
        desk = run_study(root, ())
        with pytest.raises(BusyError, match=f"process {other.pid}"), base.alone(desk):
            pass
        side_by_side = run_study(root, (), run=Run(folds=[1]))
        with base.alone(side_by_side):  # it waits only while it writes what others share
            pass
    finally:
        end.set()
        other.join()
