import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.errors import InputError
from bids_sexclf.participant import run as level
from bids_sexclf.participant.preflight import check_dataset
from bids_sexclf.settings import Preparation, Run
from bids_sexclf.volumes import save

DIRECTIONS = np.random.default_rng(0).normal(size=(8, 3))
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)


def write_scans(root, person, seed):
    """Write a T1w and a diffusion series that have no fault."""
    rng = np.random.default_rng(seed)
    save(rng.random((12, 12, 12)), np.eye(4), root / person / "anat" / f"{person}_T1w.nii.gz")
    stem = root / person / "dwi" / f"{person}_dwi"
    save(rng.random((10, 10, 10, 9)), np.eye(4), stem.with_suffix(".nii.gz"))
    np.savetxt(stem.with_suffix(".bval"), [[0] + [1000] * 8], fmt="%d")
    np.savetxt(stem.with_suffix(".bvec"), np.vstack([np.zeros(3), DIRECTIONS]).T)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    (root / "dataset_description.json").write_text('{"Name": "t", "BIDSVersion": "1.10.0"}')
    for seed, person in enumerate(["sub-1", "sub-2", "sub-3"]):
        write_scans(root, person, seed)
    rows = ["participant_id\tsex\tage", "sub-1\tF\t20", "sub-2\tM\t30", "sub-3\tF\t40"]
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def dataset(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "bids")


def check(root):
    indexed = layout.open_dataset(root)
    ready, excluded = check_dataset(indexed, layout.find_scans(indexed))
    return set(ready["participant_id"]), dict(
        zip(excluded["participant_id"], excluded["reason"], strict=True)
    )


def test_sound_scans_all_pass(dataset):
    assert check(dataset) == ({"sub-1", "sub-2", "sub-3"}, {})


def cut(root):
    path = root / "sub-1/anat/sub-1_T1w.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def drop_bvals(root):
    np.savetxt(root / "sub-1/dwi/sub-1_dwi.bval", [[0, 1000]])


def stretch_bvecs(root):
    bvecs = np.loadtxt(root / "sub-1/dwi/sub-1_dwi.bvec") * 1.5
    np.savetxt(root / "sub-1/dwi/sub-1_dwi.bvec", bvecs)


def zero_bvecs(root):
    np.savetxt(root / "sub-1/dwi/sub-1_dwi.bvec", np.zeros((3, 9)))


def one_direction(root):
    np.savetxt(root / "sub-1/dwi/sub-1_dwi.bvec", np.tile([[1.0], [0], [0]], 9))


def no_bvec(root):
    (root / "sub-1/dwi/sub-1_dwi.bvec").unlink()


def no_b0(root):
    np.savetxt(root / "sub-1/dwi/sub-1_dwi.bval", [[1000] * 9])
    np.savetxt(root / "sub-1/dwi/sub-1_dwi.bvec", np.vstack([DIRECTIONS[:1], DIRECTIONS]).T)


def nan_slab(root):
    path = root / "sub-1/dwi/sub-1_dwi.nii.gz"
    array = np.asarray(nib.load(path).dataobj).copy()
    array[:, :, 3, 2] = np.nan
    save(array, np.eye(4), path)


def all_zero(root):
    save(np.zeros((12, 12, 12)), np.eye(4), root / "sub-1/anat/sub-1_T1w.nii.gz")


def flat_t1w(root):
    save(
        np.random.default_rng(9).random((12, 12, 12, 3)),
        np.eye(4),
        root / "sub-1/anat/sub-1_T1w.nii.gz",
    )


def no_sex(root):
    path = root / "participants.tsv"
    path.write_text(path.read_text().replace("sub-1\tF", "sub-1\tn/a"))


def no_row(root):
    path = root / "participants.tsv"
    path.write_text(path.read_text().replace("sub-1\tF\t20\n", ""))


def two_rows(root):
    path = root / "participants.tsv"
    path.write_text(path.read_text() + "sub-1\tM\t20\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "truncated"),
        (drop_bvals, "2 b-values for 9 volumes"),
        (stretch_bvecs, "8 b-vectors that are not of unit length"),
        (zero_bvecs, "not of unit length"),
        (one_direction, "cannot determine a tensor"),
        (no_bvec, "no bvec file"),
        (no_b0, "no b=0 volume"),
        (nan_slab, "non-finite values in volume(s) 2"),
        (all_zero, "one constant value"),
        (flat_t1w, "needed 3 dimensions"),
        (no_sex, "sex is unknown"),
        (no_row, "no row in participants.tsv"),
        (two_rows, "contradict each other in sex"),
    ],
)
def test_a_fault_leaves_out_its_participant_and_nobody_else(dataset, spoil, words):
    spoil(dataset)
    ready, excluded = check(dataset)
    assert ready == {"sub-2", "sub-3"}
    assert words in excluded["sub-1"]


def test_unlabelled_participants_run_where_they_are_allowed(dataset):
    no_sex(dataset)
    indexed = layout.open_dataset(dataset)
    ready, _ = check_dataset(indexed, layout.find_scans(indexed), labelled=False)
    assert set(ready["participant_id"]) == {"sub-1", "sub-2", "sub-3"}


def test_all_faults_of_a_participant_are_told_together(dataset):
    cut(dataset), drop_bvals(dataset), no_sex(dataset)
    reason = check(dataset)[1]["sub-1"]
    assert all(words in reason for words in ("truncated", "b-values", "sex is unknown"))


def test_one_scan_under_two_ids_leaves_out_both(dataset):
    shutil.copy(dataset / "sub-1/anat/sub-1_T1w.nii.gz", dataset / "sub-3/anat/sub-3_T1w.nii.gz")
    ready, excluded = check(dataset)
    assert ready == {"sub-2"} and "sub-3" in excluded["sub-1"] and "sub-1" in excluded["sub-3"]


def test_missing_sidecar_fields_are_noted_and_leave_nobody_out(dataset):
    indexed = layout.open_dataset(dataset)
    ready, _ = check_dataset(indexed, layout.find_scans(indexed))
    assert ready["note"].str.contains("lacks PhaseEncodingDirection and TotalReadoutTime").all()


@pytest.fixture
def template(tmp_path):
    folder = tmp_path / "templates" / "tpl-Phantom"
    for tail in ("T1w", "desc-brain_T1w", "desc-brain_mask", "label-WM_probseg"):
        save(np.ones((8, 8, 8)), np.eye(4), folder / f"tpl-Phantom_res-01_{tail}.nii.gz")
    return Preparation(template="Phantom", templates_dir=folder.parent)


def test_when_nobody_is_left_the_reasons_are_in_the_error(dataset, template, tmp_path):
    for person in ("sub-1", "sub-2", "sub-3"):
        (dataset / person / "dwi" / f"{person}_dwi.bvec").unlink()
    with pytest.raises(InputError, match="no bvec file"):
        level.plan(dataset, tmp_path / "out", Run(nprocs=1), template)


def test_a_plan_writes_nothing(dataset, template, tmp_path):
    planned = level.plan(dataset, tmp_path / "out", Run(nprocs=1), template)
    assert len(planned.ready) == 3 and not (tmp_path / "out").exists()


def test_other_choices_in_one_output_folder_are_refused(dataset, template, tmp_path):
    row = {"participant_id": "sub-1", "session_id": None, "t1w": "a", "dwi": None}
    path = tmp_path / layout.derivative("quality", "sub-1")
    path.parent.mkdir(parents=True)
    made = template.provenance() | {"resolution": 1.0}
    path.write_text(__import__("json").dumps({"GeneratedWith": made, "Scans": {"t1w": "a"}}))
    with pytest.raises(InputError, match="resolution 1.0, this run asks 2.0"):
        level.is_finished(tmp_path, row, template)
    assert level.is_finished(tmp_path, row, template.model_copy(update={"resolution": 1.0}))


def test_the_reason_is_the_sentence_of_the_innermost_error():
    trace = ["Traceback", "ValueError: first", "bids_sexclf.errors.InputError: Found 2, needed 3."]
    assert "Found 2, needed 3." in level.reason_of(trace[2:])
    assert "memory" in level.reason_of([])
