"""Which diffusion series of a session are pooled, and what is said of the others."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import layout

DIRECTIONS = np.vstack([np.eye(3), [[0.6, 0.8, 0], [0.6, 0, 0.8], [0, 0.6, 0.8]]])


def scan(root, name, bvals=(0, *[1000] * 6), seed=None, shape=(8, 8, 8), **about):
    """Write a series under a name with its gradients and sidecar."""
    bvals = np.array(bvals)
    path = root / "sub-1" / "dwi" / f"sub-1_{name}_dwi.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed or list(name.encode()))
    data = rng.integers(0, 99, (*shape, len(bvals)), np.int16)
    image = nib.Nifti1Image(data, np.diag([-2.0, 2, 2, 1]))
    image.to_filename(path)
    bvecs = np.zeros((len(bvals), 3))
    weighted = np.flatnonzero(bvals > 50)
    bvecs[weighted] = DIRECTIONS[np.arange(len(weighted)) % 6]
    stem = str(path).removesuffix(".nii.gz")
    np.savetxt(f"{stem}.bval", bvals[None], fmt="%d")
    np.savetxt(f"{stem}.bvec", bvecs.T, fmt="%.4f")
    about = {"EchoTime": 0.09, "PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05} | about
    about = {key: value for key, value in about.items() if value is not None}
    (root / f"{stem}.json").write_text(json.dumps(about))
    description = {"Name": "t", "BIDSVersion": "1.10.0"}
    (root / "dataset_description.json").write_text(json.dumps(description))


def choose(root, **options):
    """Return the labels of the series that are pooled, and the note."""
    row = layout.find_scans(layout.open_dataset(root), **options).to_dict("records")[0]
    names = [
        path.split("sub-1_")[1].removesuffix("_dwi.nii.gz") for path in layout.paths(row["dwi"])
    ]
    assert len(layout.paths(row["bval"])) == len(layout.paths(row["bvec"])) in (0, len(names))
    return names, row["note"]


def test_opposite_encodings_are_pooled_and_the_richer_one_comes_first(tmp_path):
    scan(tmp_path, "dir-AP", bvals=(0, 1000, 1000, 1000))
    scan(tmp_path, "dir-PA", PhaseEncodingDirection="j", EchoTime=0.090001)
    names, note = choose(tmp_path)
    assert names == ["dir-PA", "dir-AP"]
    assert "pooled sub-1_dir-PA_dwi.nii.gz (j) with sub-1_dir-AP_dwi.nii.gz (j-)" in note


def test_shells_of_two_scans_are_pooled(tmp_path):
    scan(tmp_path, "acq-b1000")
    scan(tmp_path, "acq-b2000", bvals=[0] + [2000] * 6)
    assert choose(tmp_path)[0] == ["acq-b1000", "acq-b2000"]


def test_series_of_one_encoding_stand_side_by_side(tmp_path):
    for run, direction in ((1, "j"), (2, "j-"), (3, "j")):
        scan(tmp_path, f"run-{run}", PhaseEncodingDirection=direction)
    assert choose(tmp_path)[0] == ["run-1", "run-3", "run-2"]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"shape": (8, 8, 9)}, "another grid"),
        ({"EchoTime": 0.07}, "echo time 0.07 s, not 0.09 s"),
        ({"EchoTime": None}, "echo time unknown, not 0.09 s"),
        ({"PhaseEncodingDirection": None}, "no PhaseEncodingDirection in the sidecars"),
    ],
)
def test_what_cannot_be_pooled_is_named_with_the_way_to_take_it(tmp_path, other, reason):
    scan(tmp_path, "acq-long")
    scan(tmp_path, "acq-few", bvals=(0, 1000, 1000), **other)
    names, note = choose(tmp_path)
    wanted = '{"dwi": {"acquisition": "few"}}'
    assert names == ["acq-long"]
    assert f"without sub-1_acq-few_dwi.nii.gz ({reason}; to take it: " in note and wanted in note
    assert choose(tmp_path, filters=json.loads(wanted))[0] == ["acq-few"]


def test_the_pool_that_determines_most_is_taken_whatever_its_name(tmp_path):
    scan(tmp_path, "acq-a", EchoTime=0.08)
    scan(tmp_path, "acq-b", bvals=[0] + [1000] * 3)
    scan(tmp_path, "acq-c", bvals=[0] + [2000] * 3)
    assert choose(tmp_path)[0] == ["acq-b", "acq-c"]  # six directions on two shells


def test_repeated_directions_determine_no_more_but_weigh_where_all_else_is_equal(tmp_path):
    scan(tmp_path, "acq-a", EchoTime=0.08)
    scan(tmp_path, "acq-b", bvals=[0] + [1000] * 12)
    assert choose(tmp_path)[0] == ["acq-b"]
    scan(tmp_path, "acq-a", bvals=[0, 1000, 1000, 1000, 2000, 2000, 2000], EchoTime=0.08)
    assert choose(tmp_path)[0] == ["acq-a"]


def test_opposite_b0_volumes_stay_for_distortion(tmp_path):
    scan(tmp_path, "dir-AP", bvals=(0, 0), PhaseEncodingDirection="j-")
    scan(tmp_path, "dir-PA", PhaseEncodingDirection="j")
    names, note = choose(tmp_path)
    assert names == ["dir-PA"] and "dir-AP_dwi.nii.gz (b=0 volumes only" in note


def test_an_encoding_without_b0_cannot_be_aligned_but_a_shell_of_the_same_can(tmp_path):
    scan(tmp_path, "dir-AP")
    scan(tmp_path, "dir-PA", bvals=[2000] * 6, PhaseEncodingDirection="j")
    names, note = choose(tmp_path)
    assert names == ["dir-AP"] and "no b=0 volume of its phase encoding" in note
    scan(tmp_path, "dir-PA", bvals=[2000] * 6)
    assert choose(tmp_path)[0] == ["dir-AP", "dir-PA"]
    scan(tmp_path, "dir-PA", bvals=[90] + [2000] * 5, PhaseEncodingDirection="j")
    assert choose(tmp_path, b0_threshold=100)[0] == ["dir-AP", "dir-PA"]


def test_one_measurement_is_taken_once(tmp_path):
    scan(tmp_path, "acq-x")
    scan(tmp_path, "acq-x_rec-norm", bvals=[0] + [1000] * 7)
    names, note = choose(tmp_path)
    assert names == ["acq-x"] and "another reconstruction of sub-1_acq-x_dwi.nii.gz" in note


def test_a_copy_under_another_name_counts_once(tmp_path):
    for name in ("acq-x", "acq-y"):
        scan(tmp_path, name, seed=1)
    names, note = choose(tmp_path)
    assert names == ["acq-x"] and "a copy of sub-1_acq-x_dwi.nii.gz" in note


def test_the_first_run_of_each_is_taken_where_asked(tmp_path):
    for way, direction in (("AP", "j-"), ("PA", "j")):
        for run in (1, 2):
            scan(tmp_path, f"dir-{way}_run-{run}", PhaseEncodingDirection=direction)
    assert len(choose(tmp_path)[0]) == 4
    names, note = choose(tmp_path, first=("dwi",))
    assert names == ["dir-AP_run-1", "dir-PA_run-1"] and '{"run": 2}' in note


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda stem: open(f"{stem}.bval", "w").write("0 1000"), "has 2 b-values and 7 b-vectors"),
        (lambda stem: open(f"{stem}.bvec", "w").write("x"), "cannot be read"),
        (lambda stem: open(f"{stem}.nii.gz", "w").write("x"), "cannot be read"),
        (lambda stem: open(f"{stem}.json", "w").write("{"), "its sidecar"),
        (lambda stem: open(f"{stem}.json", "w").write('{"EchoTime": 90}'), "its sidecar"),
        (lambda stem: open(f"{stem}.bvec", "w").write(f"{'0 ' * 7}\n" * 3), "without a direction"),
    ],
)
def test_a_damaged_series_costs_no_sound_one(tmp_path, damage, words):
    scan(tmp_path, "dir-AP")
    scan(tmp_path, "dir-PA", PhaseEncodingDirection="j")
    damage(tmp_path / "sub-1/dwi/sub-1_dir-AP_dwi")
    names, note = choose(tmp_path)
    assert names == ["dir-PA"] and words in note


def test_a_filter_with_several_labels_joins_what_the_sidecars_do_not(tmp_path):
    for name in ("acq-b1", "acq-b2"):
        scan(tmp_path, name, PhaseEncodingDirection=None)
    assert choose(tmp_path)[0] == ["acq-b1"]
    filters = {"dwi": {"acquisition": ["b1", "b2"]}}
    assert choose(tmp_path, filters=filters)[0] == ["acq-b1", "acq-b2"]
