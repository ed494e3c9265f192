import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.errors import InputError
from bids_sexclf.participant.failures import reason_of
from bids_sexclf.participant.finished import judge
from bids_sexclf.participant.plan import make_worklist, plan
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


def note_of(root, person="sub-1"):
    """Give the note of a participant who is prepared without diffusion data."""
    indexed = layout.open_dataset(root)
    ready, excluded = check_dataset(indexed, layout.find_scans(indexed))
    assert excluded.empty and len(ready) == 3
    row = ready.set_index("participant_id").loc[person]
    assert row["t1w"] and not any(row[kind] for kind in ("dwi", "bval", "bvec"))
    others = ready[ready["participant_id"] != person]
    assert others["dwi"].notna().all()
    return row["note"]


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


def coloured(root):
    path = root / "sub-1/anat/sub-1_T1w.nii.gz"
    values = np.zeros((12, 12, 12), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    values["R"] = np.random.default_rng(0).integers(0, 255, values.shape)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def imaginary(root):
    path = root / "sub-1/anat/sub-1_T1w.nii.gz"
    values = np.random.default_rng(0).random((12, 12, 12)) * (1 + 1j)
    nib.save(nib.Nifti1Image(values.astype(np.complex64), np.eye(4)), path)


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
        (all_zero, "one constant value"),
        (flat_t1w, "holds 3 volumes, needed one"),
        (coloured, "holds colours (RGB)"),
        (imaginary, "holds complex numbers, needed their magnitude"),
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


def set_bvals(*values):
    def change(root):
        np.savetxt(root / "sub-1/dwi/sub-1_dwi.bval", [values], fmt="%g")

    return change


def write_bvals(content):
    def change(root):
        (root / "sub-1/dwi/sub-1_dwi.bval").write_bytes(content)

    return change


def sidecar(**fields):
    def change(root):
        (root / "sub-1/dwi/sub-1_dwi.json").write_text(json.dumps(fields))

    return change


def raw_sidecar(content):
    def change(root):
        (root / "sub-1/dwi/sub-1_dwi.json").write_bytes(content)

    return change


def linked_sidecar(root):
    (root / "sub-1/dwi/sub-1_dwi.json").symlink_to(root / ".git/annex/objects/absent")


def fieldmap(**fields):
    """Write a gradient-echo field map whose phase is cut off, or whose sidecar is wrong."""

    def change(root):
        sidecar(PhaseEncodingDirection="j", TotalReadoutTime=0.05)(root)
        folder = root / "sub-1/fmap"
        rng = np.random.default_rng(4)
        for kind in ("phasediff", "magnitude1"):
            save(rng.random((12, 12, 12)), np.eye(4), folder / f"sub-1_{kind}.nii.gz")
        about = {"EchoTime1": 0.0049, "EchoTime2": 0.0074} | fields
        (folder / "sub-1_phasediff.json").write_text(json.dumps(about))
        if not fields:
            path = folder / "sub-1_phasediff.nii.gz"
            path.write_bytes(path.read_bytes()[:-500])

    return change


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop_bvals, "2 b-values for 9 volumes"),
        (stretch_bvecs, "8 b-vectors that are not of unit length"),
        (zero_bvecs, "not of unit length"),
        (one_direction, "cannot determine a tensor"),
        (no_bvec, "no bvec file"),
        (no_b0, "no b=0 volume"),
        (nan_slab, "non-finite values in volume(s) 2"),
        (set_bvals(0, *[1] * 8), "if they are in ms/µm², multiply the .bval file by 1000"),
        (set_bvals(0, *[1e9] * 8), "if they are in s/m², multiply the .bval file by 1e-06"),
        (set_bvals(*[0] * 9), "no volume is diffusion-weighted"),
        (set_bvals(0, *[-1000] * 8), "b-values such as -1000"),
        (set_bvals(0, np.nan, *[1000] * 7), "b-values such as nan"),
        (write_bvals(b"0 1000 b=1000"), "'b=1000' is not a number"),
        (write_bvals(b""), "without any number"),
        (write_bvals(b"\xff\xfe0\x00"), "cannot be read"),
        (sidecar(PhaseEncodingDirection="y-"), "PhaseEncodingDirection 'y-' (needed one of i, i-"),
        (sidecar(PhaseEncodingDirection=["j"]), "PhaseEncodingDirection ['j'] (needed one of"),
        (sidecar(TotalReadoutTime="0.05"), "TotalReadoutTime '0.05' (needed seconds"),
        (sidecar(TotalReadoutTime=50), "if it is in ms, write 0.05"),
        (sidecar(EchoTime=90), "EchoTime 90 (needed seconds"),
        (sidecar(PartialFourier="6/8"), "PartialFourier '6/8' (needed a number"),
        (raw_sidecar(b""), "sub-1_dwi.json, the sidecar of sub-1_dwi.nii.gz, which is empty"),
        (raw_sidecar(b'\xef\xbb\xbf{"EchoTime": 0.09}'), "begins with a byte-order mark"),
        (raw_sidecar('{"InstitutionName": "Köln"}'.encode("latin-1")), "is not UTF-8 text"),
        (raw_sidecar(b'{"EchoTime": 0.09,}'), "is no JSON"),
        (raw_sidecar(b"[1]"), "holds no JSON object"),
        (linked_sidecar, "is a link to a file that is not there"),
        (fieldmap(), "sub-1_phasediff.nii.gz is truncated"),
        (fieldmap(EchoTime1=4.9, EchoTime2=7.4), "sub-1_phasediff.nii.gz with EchoTime1 4.9"),
        (fieldmap(IntendedFor=3), "holds an IntendedFor that is not text"),
        (sidecar(run=9), "holds 'run', which only the name"),
        (raw_sidecar(b'{"EchoTime": 1e999}'), "EchoTime inf"),
        (raw_sidecar(b'{"EchoTime": "\\ud800"}'), "is not UTF-8"),
        (raw_sidecar(b"[" * 10**6), "sub-1_dwi.json"),
        (sidecar(PhaseEncodingDirection={"a": [1]}), "PhaseEncodingDirection {"),
        (sidecar(B0FieldSource={"a": 1}), "B0FieldSource {"),
    ],
)
def test_a_fault_of_diffusion_data_does_not_cost_the_t1w(dataset, spoil, words):
    spoil(dataset)
    note = note_of(dataset)
    assert "prepared without its diffusion data" in note and words in note


def test_without_a_t1w_a_fault_of_diffusion_data_leaves_out_the_participant(dataset):
    drop_bvals(dataset)
    shutil.rmtree(dataset / "sub-1/anat")
    ready, excluded = check(dataset)
    assert ready == {"sub-2", "sub-3"} and "2 b-values" in excluded["sub-1"]


@pytest.mark.parametrize(
    "content",
    [
        b"0,1000,1000,1000,1000,1000,1000,1000,1000\n",
        b"0\r\n1000 1000 1000\r\n1000 1000 1000 1000 1000  \r\n\r\n",
        b"\xef\xbb\xbf0\t1e3\t1000\t1000\t1000\t1000\t1000\t1000\t1000",
    ],
)
def test_gradients_in_other_clear_forms_are_read(dataset, content):
    write_bvals(content)(dataset)
    indexed = layout.open_dataset(dataset)
    ready, excluded = check_dataset(indexed, layout.find_scans(indexed))
    assert excluded.empty and ready["dwi"].notna().all()


def test_trace_volumes_are_noted(dataset):
    path = dataset / "sub-1/dwi/sub-1_dwi.bvec"
    bvecs = np.loadtxt(path)
    bvecs[:, -1] = 0
    np.savetxt(path, bvecs)
    indexed = layout.open_dataset(dataset)
    ready, _ = check_dataset(indexed, layout.find_scans(indexed))
    row = ready.set_index("participant_id").loc["sub-1"]
    assert row["dwi"] and "holds 1 trace volume" in row["note"]


def test_the_limit_of_b0_volumes_is_a_choice(dataset):
    set_bvals(60, *[1000] * 8)(dataset)
    assert "needed one at most 50; --b0-threshold" in note_of(dataset)
    indexed, choices = layout.open_dataset(dataset), Preparation(b0_threshold=60)
    ready, _ = check_dataset(indexed, layout.find_scans(indexed), preparation=choices)
    assert ready["dwi"].notna().all()


def test_a_bad_sidecar_that_nobody_needs_is_noted(dataset):
    (dataset / "T1w.json").write_text("{")
    (dataset / "sub-1/anat/sub-1_T1w.json").write_text("")
    indexed = layout.open_dataset(dataset)
    ready, excluded = check_dataset(indexed, layout.find_scans(indexed))
    assert excluded.empty and ready["dwi"].notna().all()
    assert ready["note"].str.contains("T1w.json is no JSON").all()
    assert "sub-1_T1w.json is empty, and is not needed" in ready["note"].iloc[0]


def test_a_field_map_of_what_is_not_there_is_noted(dataset):
    fieldmap(IntendedFor=["dwi/sub-1_dwi.nii.gz", "bids::sub-1/func/sub-1_bold.nii.gz"])(dataset)
    indexed = layout.open_dataset(dataset)
    ready, _ = check_dataset(indexed, layout.find_scans(indexed))
    note = ready.set_index("participant_id").loc["sub-1", "note"]
    assert "meant for sub-1/func/sub-1_bold.nii.gz, not there" in note


@pytest.mark.parametrize("kind", ["anat/sub-1_T1w", "dwi/sub-1_dwi"])
def test_an_unpacked_copy_beside_a_scan_is_no_second_run(dataset, kind):
    path = dataset / f"sub-1/{kind}.nii.gz"
    plain = path.with_suffix("")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    indexed = layout.open_dataset(dataset)
    scans = layout.find_scans(indexed).set_index("participant_id").loc["sub-1"]
    assert scans["t1w"] == "sub-1/anat/sub-1_T1w.nii.gz"
    assert scans["dwi"] == "sub-1/dwi/sub-1_dwi.nii.gz"
    assert f"{path.name} and not {plain.name}" in scans["note"]
    assert check(dataset)[1] == {}
    plain.write_bytes(plain.read_bytes()[:-1] + b"\x7f")
    told = check(dataset)[1].get("sub-1") or note_of(dataset)
    assert f"{path.name} lies beside {plain.name}, which holds other voxels" in told


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
        shutil.rmtree(dataset / person / "anat")
    with pytest.raises(InputError, match="no bvec file"):
        plan(dataset, tmp_path / "out", Run(nprocs=1), template)


def test_a_plan_writes_nothing(dataset, template, tmp_path):
    planned = plan(dataset, tmp_path / "out", Run(nprocs=1), template)
    assert len(planned.ready) == 3 and not (tmp_path / "out").exists()


def test_other_choices_in_one_output_folder_are_refused(dataset, template, tmp_path):
    row = {"participant_id": "sub-1", "session_id": None, "t1w": "a", "dwi": None}
    path = tmp_path / layout.derivative("quality", "sub-1")
    path.parent.mkdir(parents=True)
    made = template.provenance() | {"resolution": 1.0}
    path.write_text(__import__("json").dumps({"GeneratedWith": made, "Scans": {"t1w": "a"}}))
    with pytest.raises(InputError, match="resolution 1.0, this run asks 2.0"):
        judge(row, template, {"out": tmp_path})
    # What an earlier version made does not say what it was made from.
    same = judge(
        row, template.model_copy(update={"resolution": 1.0}), {"out": tmp_path, "shared": {}}
    )
    assert not same.finished and same.stale and "earlier version" in same.reason


def test_the_reason_is_the_sentence_of_the_innermost_error():
    trace = ["Traceback", "ValueError: first", "bids_sexclf.errors.InputError: Found 2, needed 3."]
    assert "Found 2, needed 3." in reason_of(trace[2:])
    assert "memory" in reason_of([])


# -- what others have prepared ------------------------------------------------------------------

STEM = "sub-1/anat/sub-1_"
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(32) + (512).to_bytes(8, "little") + bytes(512 - 48)
BIG = np.diag([8.0, 8, 8, 1])


@pytest.fixture
def given(dataset, tmp_path):
    """Give a dataset whose first participant comes from fMRIPrep and QSIRecon, and a checker."""
    folder, rng = tmp_path / "fmriprep", np.random.default_rng(101)
    save(rng.random((12, 12, 12)), BIG, folder / f"{STEM}desc-preproc_T1w.nii.gz")
    mask = np.zeros((12, 12, 12), bool)
    mask[2:10, 2:10, 2:10] = True
    save(mask, BIG, folder / f"{STEM}desc-brain_mask.nii.gz")
    for name in ("from-T1w_to-Phantom", "from-Phantom_to-T1w"):
        (folder / f"{STEM}{name}_mode-image_xfm.h5").write_bytes(HDF5)
    maps = tmp_path / "qsirecon" / "sub-1" / "dwi"
    for param in ("fa", "md"):
        path = maps / f"sub-1_space-Phantom_model-tensor_param-{param}_dwimap.nii.gz"
        save(rng.random((12, 12, 12)), BIG, path)

    def check(*names):
        folders = {name: tmp_path / name for name in names}
        indexed = layout.open_dataset(dataset)
        planned = make_worklist(indexed, folders, Run(), Preparation(template="Phantom"))
        ready, excluded = check_dataset(
            indexed, planned, folders=folders, preparation=Preparation(template="Phantom")
        )
        assert {"sub-2", "sub-3"} <= set(ready["participant_id"])
        notes = ready.loc[ready["participant_id"] == "sub-1", "note"]
        left_out = [note for note in notes if "without its diffusion data" in note]
        return "; ".join([*excluded["reason"], *left_out])

    return folder, maps, check


def test_sound_prepared_files_pass(given):
    assert given[2]("fmriprep", "qsirecon") == ""


def cut_t1w(folder, maps):
    path = folder / f"{STEM}desc-preproc_T1w.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def empty_mask(folder, maps):
    save(np.zeros((12, 12, 12)), BIG, folder / f"{STEM}desc-brain_mask.nii.gz")


def small_mask(folder, maps):
    mask = np.zeros((12, 12, 12))
    mask[5:8, 5:8, 5:8] = 1
    save(mask, BIG, folder / f"{STEM}desc-brain_mask.nii.gz")


def other_grid(folder, maps):
    mask = np.zeros((14, 12, 12))
    mask[2:10, 2:10, 2:10] = 1
    save(mask, BIG, folder / f"{STEM}desc-brain_mask.nii.gz")


def shifted_mask(folder, maps):
    path = folder / f"{STEM}desc-brain_mask.nii.gz"
    affine = BIG.copy()
    affine[0, 3] = 6
    save(np.asarray(nib.load(path).dataobj), affine, path)


def cut_transform(folder, maps):
    (folder / f"{STEM}from-T1w_to-Phantom_mode-image_xfm.h5").write_bytes(HDF5[:400])


def no_hdf5(folder, maps):
    (folder / f"{STEM}from-T1w_to-Phantom_mode-image_xfm.h5").write_text("version https://git-lfs")


def broken_link(folder, maps):
    """Leave what a dataset kept by git-annex shows before its content is fetched."""
    path = folder / f"{STEM}from-T1w_to-Phantom_mode-image_xfm.h5"
    path.unlink()
    path.symlink_to(folder / "absent")


def nan_map(folder, maps):
    path = maps / "sub-1_space-Phantom_model-tensor_param-md_dwimap.nii.gz"
    array = np.asarray(nib.load(path).dataobj).copy()
    array[3] = np.nan
    save(array, BIG, path)


def maps_apart(folder, maps):
    path = maps / "sub-1_space-Phantom_model-tensor_param-md_dwimap.nii.gz"
    save(np.random.default_rng(3).random((9, 12, 12)), BIG, path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_t1w, "sub-1_desc-preproc_T1w.nii.gz is truncated"),
        (empty_mask, "holds one constant value"),
        (small_mask, "holds 14 mL, needed a brain"),
        (other_grid, "does not lie on the grid"),
        (shifted_mask, "does not lie on the grid"),
        (cut_transform, "is truncated: it ends after 400 of 512 bytes"),
        (no_hdf5, "is no HDF5 file"),
        (broken_link, "cannot be read"),
        (nan_map, "non-finite values"),
        (maps_apart, "lies on another grid than"),
    ],
)
def test_a_fault_of_a_prepared_file_leaves_out_its_participant(given, spoil, words):
    folder, maps, check = given
    spoil(folder, maps)
    assert words in check("fmriprep", "qsirecon")


def test_a_mask_may_have_its_axes_in_another_order(given):
    folder, _, check = given
    path = folder / f"{STEM}desc-brain_mask.nii.gz"
    turned = nib.load(path).as_reoriented([[1, -1], [0, 1], [2, 1]])
    turned.to_filename(path)
    assert check("fmriprep") == ""


def test_maps_in_a_t1w_space_need_that_t1w(given):
    _, maps, check = given
    for path in maps.iterdir():
        path.rename(maps / path.name.replace("Phantom", "ACPC"))
    assert "needed it, by --derivatives qsiprep=PATH" in check("fmriprep", "qsirecon")


def test_masks_bring_no_participants_of_their_own(dataset, tmp_path):
    save(np.ones((9, 9, 9)), BIG, tmp_path / "masks/sub-9/anat/sub-9_desc-brain_mask.nii.gz")
    folders = {"masks": tmp_path / "masks"}
    rows = make_worklist(layout.open_dataset(dataset), folders, Run(), Preparation())
    assert rows["participant_id"].tolist() == ["sub-1", "sub-2", "sub-3"]


def ready_note(root, person="sub-1"):
    indexed = layout.open_dataset(root)
    ready, excluded = check_dataset(indexed, layout.find_scans(indexed))
    assert excluded.empty
    return ready.set_index("participant_id").loc[person, "note"]


def test_a_missing_t1w_and_unknown_sides_are_noted(dataset):
    shutil.rmtree(dataset / "sub-1/anat")
    path = dataset / "sub-1/dwi/sub-1_dwi.nii.gz"
    image = nib.load(path)
    silent = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
    silent.set_sform(None, 0)
    silent.set_qform(None, 0)
    silent.to_filename(path)
    note = ready_note(dataset)
    assert "no T1w in any session" in note
    assert "sub-1_dwi.nii.gz tells no orientation" in note


def test_an_empty_row_tells_why_its_scans_were_left(dataset):
    shutil.rmtree(dataset / "sub-1/dwi")
    anat = dataset / "sub-1/anat"
    (anat / "sub-1_T1w.nii.gz").rename(anat / "sub-1_part-phase_T1w.nii.gz")
    reason = check(dataset)[1]["sub-1"]
    assert "needed one of them (without sub-1_part-phase" in reason


def test_runs_on_one_grid_are_pooled_and_others_are_told(dataset):
    stem = dataset / "sub-1/dwi/sub-1_run-2_dwi"
    for end in (".bval", ".bvec"):
        shutil.copy(dataset / f"sub-1/dwi/sub-1_dwi{end}", stem.with_suffix(end))
    array = np.random.default_rng(7).random((11, 10, 10, 9))
    save(array, np.eye(4), stem.with_suffix(".nii.gz"))

    def taken():
        indexed = layout.open_dataset(dataset)
        ready, _ = check_dataset(indexed, layout.find_scans(indexed, ["sub-1"]))
        return len(layout.paths(ready["dwi"][0])), ready["note"][0]

    count, note = taken()
    assert count == 1 and "without sub-1_run-2_dwi.nii.gz (another grid" in note
    save(array[:10], np.eye(4), stem.with_suffix(".nii.gz"))
    count, note = taken()
    assert count == 2 and "pooled sub-1_dwi.nii.gz, sub-1_run-2_dwi.nii.gz" in note


def test_an_own_transform_is_whole_by_the_same_rule(tmp_path):
    h5py = pytest.importorskip("h5py")
    from bids_sexclf.participant.preflight import _transform_faults

    for version in ("earliest", "latest"):
        path = tmp_path / f"{version}.h5"
        with h5py.File(path, "w", libver=version) as file:
            file["parameters"] = np.arange(5000.0)
        assert _transform_faults(path) == []
        path.write_bytes(path.read_bytes()[:-100])
        assert "truncated" in _transform_faults(path)[0]


def test_unlabelled_people_need_no_participants_tsv(dataset):
    (dataset / "participants.tsv").unlink()
    indexed = layout.open_dataset(dataset)
    scans = layout.find_scans(indexed)
    ready, excluded = check_dataset(indexed, scans, labelled=False)
    assert len(ready) == 3 and excluded.empty
    with pytest.raises(InputError, match="--allow-unlabelled"):
        check_dataset(indexed, scans)


def test_where_everybody_is_unlabelled_the_way_is_named(dataset, template, tmp_path):
    path = dataset / "participants.tsv"
    path.write_text("participant_id\tsex\tage\nsub-1\tn/a\t20\nsub-2\tM\tn/a\n")
    with pytest.raises(InputError, match="sub-3: no row in .*--allow-unlabelled prepares those"):
        plan(dataset, tmp_path / "out", Run(nprocs=1), template)
    planned = plan(dataset, tmp_path / "out", Run(nprocs=1, allow_unlabelled=True), template)
    assert len(planned.ready) == 3


def test_a_header_in_another_case_changes_no_id(dataset):
    path = dataset / "participants.tsv"
    rows = ["Participant_ID \tSex\tAGE", "1 \t1\t240", "2\t2.0\t89+", "sub-3\t2\t26-30"]
    path.write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    (dataset / "participants.json").write_text(
        '{"Age": {"Units": "months"}, "sex": {"Levels": {"1": "male", "2": "female"}}}'
    )
    assert check(dataset) == ({"sub-1", "sub-2", "sub-3"}, {})


def test_who_loses_only_the_diffusion_data_is_named(monkeypatch):
    from bids_sexclf.participant import plan as planning
    from bids_sexclf.participant.finished import NEVER_BEGUN

    monkeypatch.setattr(planning, "judge", lambda *_: NEVER_BEGUN)
    who = {"participant_id": "sub-1", "session_id": None}
    words = "prepared without its diffusion data: sub-1_dwi.nii.gz has 1 as its largest b-value"
    rows = [who | {"note": f"1 of 2 runs; {words}"}, who | {"note": None}]
    assert planning._sort(rows, None, {}, [], None, [], False).partial == [who | {"reason": words}]
