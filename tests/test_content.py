"""What scans measure decides which is taken, not the order of their names."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import layout


def write(root, name, shape=(160, 200, 180), zooms=(1.0, 1.0, 1.0), dtype=np.uint8, about=None):
    """Write an image whose header tells all; its voxels are empty and never read."""
    path = root / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.zeros(shape, dtype), np.diag([*zooms, 1.0]))
    image.header.set_zooms([*zooms, *([1.0] * (len(shape) - 3))])
    nib.save(image, path)
    if about is not None:
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(about))
    if name.endswith("_dwi"):
        for end in ("bval", "bvec"):
            path.with_name(path.name.replace("nii.gz", end)).write_text("0 1000\n")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dataset_description.json").write_text('{"Name": "t", "BIDSVersion": "1.10.0"}')
    return tmp_path


def rows(root, *sessions, **filters):
    found = layout.find_scans(layout.open_dataset(root), sessions=sessions, filters=filters)
    return found.to_dict("records")


RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"shape": (256, 256, 8), "zooms": (0.9, 0.9, 5)}, "40 mm in all along one axis"),
        ({"shape": (240, 240, 30), "zooms": (0.9, 0.9, 5)}, "0.9 x 0.9 x 5 mm"),
        ({"shape": (160, 200, 84)}, "84 mm in all along one axis"),
        ({"dtype": RGB}, "colours"),
        ({"dtype": np.complex64, "shape": (60, 60, 60), "zooms": (3, 3, 3)}, "complex numbers"),
        ({"shape": (60, 60, 60, 4), "zooms": (3, 3, 3)}, "shape (60, 60, 60, 4)"),
    ],
)
def test_a_whole_fine_t1w_comes_before_a_plain_name(root, other, words):
    write(root, "sub-1/anat/sub-1_T1w", **other)
    write(root, "sub-1/anat/sub-1_acq-3D_rec-norm_T1w")
    (row,) = rows(root)
    assert row["t1w"] == "sub-1/anat/sub-1_acq-3D_rec-norm_T1w.nii.gz"
    assert "which measures most of 2" in row["note"] and words in row["note"]
    # The way to take the other one works.
    wanted = json.loads(row["note"].split("--bids-filter-file with ")[1].removesuffix(")"))
    (row,) = rows(root, **wanted)
    assert row["t1w"] == "sub-1/anat/sub-1_T1w.nii.gz"


def test_among_equals_the_plainest_name_comes_first(root):
    write(root, "sub-1/anat/sub-1_acq-fine_T1w", (200, 250, 225), (0.8, 0.8, 0.8))
    write(root, "sub-1/anat/sub-1_T1w")
    write(root, "sub-1/anat/sub-1_rec-norm_T1w")
    (row,) = rows(root)
    assert row["t1w"] == "sub-1/anat/sub-1_T1w.nii.gz" and "plainest of 3" in row["note"]


def test_a_run_that_was_broken_off_is_left_out(root):
    write(root, "sub-1/anat/sub-1_run-1_T1w", (160, 200, 30))
    write(root, "sub-1/anat/sub-1_run-2_T1w")
    (row,) = rows(root)
    assert row["t1w"] == "sub-1/anat/sub-1_run-2_T1w.nii.gz"
    assert "without sub-1_run-1_T1w.nii.gz (30 mm in all along one axis" in row["note"]


@pytest.mark.parametrize(("part", "word"), [("phase", "phase"), ("imag", "imaginary"),
                                            ("real", "real")])  # fmt: skip
@pytest.mark.parametrize("kind", ["T1w", "dwi"])
def test_a_part_that_is_no_magnitude_is_never_taken(root, kind, part, word):
    folder, shape = {"T1w": ("anat", (9, 9, 9)), "dwi": ("dwi", (9, 9, 9, 2))}[kind]
    write(root, f"sub-1/{folder}/sub-1_part-{part}_{kind}", shape)
    (row,) = rows(root)
    assert row[kind.lower()] is None
    assert f"without sub-1_part-{part}_{kind}.nii.gz ({word}, not magnitude)" in row["note"]
    write(root, f"sub-1/{folder}/sub-1_part-mag_{kind}", shape)
    (row,) = rows(root)
    assert row[kind.lower()].endswith(f"sub-1_part-mag_{kind}.nii.gz")


def test_a_phase_image_is_known_by_its_sidecar(root):
    write(root, "sub-1/anat/sub-1_T1w", about={"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]})
    write(root, "sub-1/anat/sub-1_acq-b_T1w", about={"ImageType": ["ORIGINAL", "PRIMARY", "M"]})
    (row,) = rows(root)
    assert row["t1w"] == "sub-1/anat/sub-1_acq-b_T1w.nii.gz"


def test_a_filter_that_drops_a_series_says_so(root):
    write(root, "sub-1/anat/sub-1_T1w", (9, 9, 9))
    write(root, "sub-1/dwi/sub-1_dir-PA_dwi", (9, 9, 9, 2))
    (row,) = rows(root, dwi={"direction": "AP"})
    assert row["dwi"] is None
    assert "the filter of --bids-filter-file leaves none of 1 dwi" in row["note"]


# -- a T1w from elsewhere ------------------------------------------------------------------------


def test_a_t1w_beside_the_sessions_is_used_and_named(root):
    write(root, "sub-1/anat/sub-1_T1w", (9, 9, 9))
    write(root, "sub-1/ses-1/dwi/sub-1_ses-1_dwi", (9, 9, 9, 2))
    (row,) = rows(root)
    assert (row["session_id"], row["t1w"]) == ("ses-1", "sub-1/anat/sub-1_T1w.nii.gz")
    assert "T1w from beside the sessions (sub-1_T1w.nii.gz), as ses-1 has none" in row["note"]


def test_the_t1w_of_the_nearest_session_is_used_and_named(root):
    for session in (1, 2):
        write(root, f"sub-1/ses-{session}/anat/sub-1_ses-{session}_T1w", (9, 9, 9))
    write(root, "sub-1/ses-3/dwi/sub-1_ses-3_dwi", (9, 9, 9, 2))
    third = rows(root)[2]
    assert third["t1w"] == "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz"
    assert "T1w of ses-2 (sub-1_ses-2_T1w.nii.gz), as ses-3 has none" in third["note"]
    (alone,) = rows(root, "3")  # also where the other session is not prepared
    assert alone["t1w"] == third["t1w"]
    assert all("T1w of" not in (row["note"] or "") for row in rows(root)[:2])


def test_scans_beside_the_sessions_are_not_lost(root):
    write(root, "sub-1/anat/sub-1_T1w", (9, 9, 9))
    write(root, "sub-1/ses-1/anat/sub-1_ses-1_T1w", (9, 9, 9))
    assert [(row["session_id"], row["t1w"]) for row in rows(root)] == [
        ("ses-1", "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz"),
        (None, "sub-1/anat/sub-1_T1w.nii.gz"),
    ]
