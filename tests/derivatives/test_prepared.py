import json
from pathlib import Path

import pytest

from bids_sexclf import layout
from bids_sexclf.derivatives import offers, prepared
from bids_sexclf.errors import InputError
from bids_sexclf.people import read_participants

FMRIPREP = (
    "sub-1/anat/sub-1_desc-preproc_T1w.nii.gz",
    "sub-1/anat/sub-1_desc-brain_mask.nii.gz",
    "sub-1/anat/sub-1_space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz",
    "sub-1/anat/sub-1_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz",
    "sub-1/anat/sub-1_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
    "sub-1/anat/sub-1_from-MNI152NLin2009cAsym_to-T1w_mode-image_xfm.h5",
)
QSIPREP = (
    "sub-1/anat/sub-1_space-ACPC_desc-preproc_T1w.nii.gz",
    "sub-1/anat/sub-1_space-ACPC_desc-brain_mask.nii.gz",
    "sub-1/ses-a/dwi/sub-1_ses-a_space-ACPC_desc-preproc_dwi.nii.gz",
    "sub-1/ses-a/dwi/sub-1_ses-a_space-ACPC_desc-preproc_dwi.bval",
    "sub-1/ses-a/dwi/sub-1_ses-a_space-ACPC_desc-preproc_dwi.bvec",
    "sub-1/ses-a/dwi/sub-1_ses-a_space-ACPC_desc-brain_mask.nii.gz",
    "sub-1/ses-a/dwi/sub-1_ses-a_space-ACPC_dwiref.nii.gz",
)
RECON = (
    "derivatives/qsirecon-{}/sub-1/ses-a/dwi/sub-1_ses-a_space-{}_model-{}_param-{}_dwimap.nii.gz"
)
HCP = [f"100307/T1w/{name}" for name in ("T1w_acpc_dc_restore.nii.gz", "brainmask_fs.nii.gz")]
HCP += [
    f"100307/T1w/Diffusion/{n}"
    for n in ("data.nii.gz", "bvals", "bvecs", "nodif_brain_mask.nii.gz")
]
MNI = "MNI152NLin2009cAsym"


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder


def raw(**cells):
    row = {"participant_id": "sub-1", "session_id": None, "note": None}
    return row | dict.fromkeys(layout.SCANS) | cells


def record_of(row, folders, template=MNI, filters=None):
    """Find, choose and take over, as the participant level does; places as names."""
    filled = prepared.fill(row, offers.find_offers(folders, template, filters))
    places = {name: Path(name) for name in ("raw", *folders)}
    return prepared.take_over(filled, places, template), filled


def test_a_raw_row_asks_for_every_step(tmp_path):
    record, row = record_of(raw(t1w="a_T1w.nii.gz", dwi="a_dwi.nii.gz"), {})
    assert record.done == {} and not record.aligned and record.t1w == (Path("raw/a_T1w.nii.gz"),)
    assert row["note"] is None


def test_fmriprep_replaces_the_raw_t1w_and_leaves_the_series(tmp_path):
    given = {"fmriprep": touch(tmp_path, *FMRIPREP)}
    record, row = record_of(raw(t1w="a_T1w.nii.gz", dwi="a_dwi.nii.gz"), given)
    assert record.t1w == (Path("fmriprep/sub-1/anat/sub-1_desc-preproc_T1w.nii.gz"),)
    assert record.t1w_mask.name == "sub-1_desc-brain_mask.nii.gz"
    assert record.t1w_to_template.name.startswith("sub-1_from-T1w_to-MNI152NLin2009cAsym")
    assert record.dwi == (Path("raw/a_dwi.nii.gz"),) and not record.aligned
    assert record.bias_done and not record.dwi_done
    assert "taken over from fMRIPrep" in row["note"]


def test_a_transform_to_another_template_is_of_no_use(tmp_path):
    given = {"fmriprep": touch(tmp_path, *FMRIPREP)}
    record, _ = record_of(raw(), given, template="MNI152NLin6Asym")
    assert record.t1w and record.t1w_to_template is None
    assert "registration to the template" not in record.done


def test_a_transform_without_its_inverse_is_not_taken(tmp_path):
    given = {"fmriprep": touch(tmp_path, *FMRIPREP[:-1])}
    assert record_of(raw(), given)[0].t1w_to_template is None


def test_a_t1w_without_mask_goes_the_whole_road(tmp_path):
    record, _ = record_of(raw(), {"fmriprep": touch(tmp_path, FMRIPREP[0])})
    assert record.t1w and not record.bias_done


def test_the_series_of_qsiprep_brings_its_own_t1w(tmp_path):
    given = {
        "fmriprep": touch(tmp_path / "f", *FMRIPREP),
        "qsiprep": touch(tmp_path / "q", *QSIPREP),
    }
    record, _ = record_of(raw(session_id="ses-a", t1w="a_T1w.nii.gz"), given)
    assert record.aligned and "space-ACPC" in record.t1w[0].name
    assert record.dwi_done and record.bval[0].suffix == ".bval"
    assert record.dwi_mask.parent.name == "dwi" and record.t1w_mask.parent.name == "anat"


def test_a_series_of_qsiprep_without_its_t1w_is_registered_to_the_raw_one(tmp_path):
    record, _ = record_of(
        raw(session_id="ses-a", t1w="a_T1w.nii.gz"), {"qsiprep": touch(tmp_path, *QSIPREP[2:])}
    )
    assert record.dwi_done and not record.aligned and record.t1w == (Path("raw/a_T1w.nii.gz"),)


def test_older_qsiprep_called_its_space_t1w(tmp_path):
    names = [name.replace("_space-ACPC_desc-preproc_dwi", "_space-T1w_desc-preproc_dwi")
             .replace("anat/sub-1_space-ACPC_", "anat/sub-1_") for name in QSIPREP]  # fmt: skip
    record, _ = record_of(raw(session_id="ses-a"), {"qsiprep": touch(tmp_path, *names)})
    assert record.aligned and record.dwi_done and record.bias_done


def test_maps_in_the_templates_space_win_over_those_in_acpc(tmp_path):
    names = [
        RECON.format("DIPYDKI", space, "dki", p) for space in ("ACPC", MNI) for p in ("md", "mk")
    ]
    record, _ = record_of(raw(session_id="ses-a"), {"qsirecon": touch(tmp_path, *names)})
    assert record.maps_space == "template" and sorted(record.maps) == ["MD", "MK"]
    assert all(MNI in path.name for path in record.maps.values())
    record, _ = record_of(raw(session_id="ses-a"), {"qsirecon": tmp_path}, template="Other")
    assert record.maps_space == "T1w"


def test_the_tensors_own_fit_wins_over_that_of_kurtosis(tmp_path):
    names = [RECON.format(*entry) for entry in (("DIPYDKI", "ACPC", "dki", "fa"),
             ("DSIStudio", "ACPC", "tensor", "fa"), ("DIPYDKI", "ACPC", "dki", "mk"))]  # fmt: skip
    record, _ = record_of(raw(session_id="ses-a"), {"qsirecon": touch(tmp_path, *names)})
    assert "model-tensor" in record.maps["FA"].name and "model-dki" in record.maps["MK"].name


def test_one_map_by_two_pipelines_is_refused_and_one_folder_chooses(tmp_path):
    names = [RECON.format(tool, "ACPC", "tensor", "fa") for tool in ("DSIStudio", "TORTOISE")]
    touch(tmp_path, *names)
    with pytest.raises(InputError, match="qsirecon-DSIStudio, derivatives/qsirecon-TORTOISE"):
        offers.find_offers({"qsirecon": tmp_path}, MNI)
    one = {"qsirecon": tmp_path / "derivatives" / "qsirecon-TORTOISE"}
    assert list(record_of(raw(session_id="ses-a"), one)[0].maps) == ["FA"]


def test_maps_replace_the_series_they_were_made_from(tmp_path):
    given = {
        "qsiprep": touch(tmp_path / "q", *QSIPREP),
        "qsirecon": touch(tmp_path / "r", RECON.format("DIPYDKI", "ACPC", "dki", "mk")),
    }
    record, _ = record_of(raw(session_id="ses-a", dwi="a_dwi.nii.gz"), given)
    assert record.maps and record.dwi == () and record.aligned
    assert record.done["diffusion maps"] == "qsirecon" and record.done["bias field of the T1w"]


def test_hcp_folders_name_participants_and_visits(tmp_path):
    touch(tmp_path, *HCP, *[name.replace("100307", "HCA6002236_V1_MR") for name in HCP])
    found = offers.find_offers({"hcp": touch(tmp_path, "unrelated/readme")}, MNI)["hcp"]
    assert set(found) == {("sub-100307", None), ("sub-HCA6002236", "ses-V1")}
    record, _ = record_of(raw(participant_id="sub-100307"), {"hcp": tmp_path})
    assert record.aligned and record.dwi_done and record.bias_done
    assert record.bvec == (Path("hcp/100307/T1w/Diffusion/bvecs"),)


def test_an_hcp_brain_is_its_own_mask_where_nothing_else_is_there(tmp_path):
    touch(tmp_path, "100307/T1w/T1w_acpc_dc_restore_brain.nii.gz")
    record, _ = record_of(raw(participant_id="sub-100307"), {"hcp": tmp_path})
    assert record.t1w == (record.t1w_mask,) and record.bias_done


def test_cc359_is_read_by_its_names_and_tissues_are_no_scans(tmp_path):
    stem = "CC0001_philips_15_55_M"
    touch(tmp_path, f"WM-GM-CSF/{stem}.nii.gz", f"Original/{stem}.nii.gz",
          f"Silver-standard-STAPLE/{stem}_staple.nii.gz", f"ss/{stem}_ss.nii.gz",
          f"hippocampus_staple/{stem}_hippocampus_staple.nii.gz")  # fmt: skip
    record, row = record_of(raw(participant_id="sub-CC0001"), {"cc359": tmp_path})
    assert row["t1w"] == f"bids:cc359:Original/{stem}.nii.gz"
    assert record.t1w_mask.name == f"{stem}_staple.nii.gz" and not record.bias_done
    people, faults = read_participants(tmp_path)
    assert people.loc[0].to_dict() == {
        "participant_id": "sub-CC0001", "sex": "male", "age_years": 55.0, "age_band": None,
        "family_id": None, "site": "philips1.5T",
    }  # fmt: skip
    assert not faults


def test_a_participants_table_wins_over_file_names(tmp_path):
    touch(tmp_path, "CC0001_philips_15_55_M.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tsex\tage\nCC0001\tF\t20\n")
    people, _ = read_participants(tmp_path)
    assert people["sex"].tolist() == ["female"]


def test_a_shipped_mask_belongs_to_the_raw_t1w_only(tmp_path):
    masks = touch(tmp_path / "m", "sub-1/anat/sub-1_desc-brain_mask.nii.gz")
    record, _ = record_of(raw(t1w="a_T1w.nii.gz"), {"masks": masks})
    assert record.t1w_mask and not record.bias_done
    given = {"masks": masks, "fmriprep": touch(tmp_path / "f", *FMRIPREP)}
    record, _ = record_of(raw(t1w="a_T1w.nii.gz"), given)
    assert record.t1w_mask.parts[0] == "fmriprep"


def test_a_filter_chooses_among_what_others_have_prepared(tmp_path):
    names = [f"sub-1/anat/sub-1_acq-{acq}_desc-brain_mask.nii.gz" for acq in ("a", "b")]
    given = {"masks": touch(tmp_path, *names)}
    filters = {"t1w_mask": {"acquisition": "b"}}
    record, _ = record_of(raw(t1w="x_T1w.nii.gz"), given, filters=filters)
    assert "acq-b" in record.t1w_mask.name


@pytest.mark.parametrize("name", ["fmriprep", "qsiprep", "qsirecon", "hcp", "cc359", "masks"])
def test_a_folder_without_anything_of_use_is_refused(tmp_path, name):
    touch(tmp_path, "sub-1/func/sub-1_task-rest_bold.nii.gz")
    with pytest.raises(InputError, match=f"Found nothing in .* --derivatives {name}=PATH"):
        offers.find_offers({name: tmp_path}, MNI)
    with pytest.raises(InputError, match="Found no folder"):
        offers.find_offers({name: tmp_path / "absent"}, MNI)


def test_participants_that_only_others_hold_are_in_the_worklist(tmp_path):
    (tmp_path / "dataset_description.json").write_text(
        json.dumps({"Name": "t", "BIDSVersion": "1.10.0"})
    )
    touch(tmp_path, "sub-2/anat/sub-2_T1w.nii.gz")
    dataset = layout.open_dataset(tmp_path)
    others = [("sub-1", None), ("sub-1", "ses-a"), ("sub-2", None)]
    rows = layout.find_scans(dataset, prepared=others)
    assert list(zip(rows["participant_id"], rows["session_id"], strict=True)) == [
        ("sub-1", "ses-a"), ("sub-2", None),
    ]  # fmt: skip
    assert len(layout.find_scans(dataset, ["sub-1"], prepared=others)) == 1


def test_only_a_folder_named_so_may_lack_a_dataset_description(tmp_path):
    touch(tmp_path, *HCP)
    assert offers.is_own_folder(tmp_path, {"hcp": tmp_path})
    assert not offers.is_own_folder(tmp_path, {"qsiprep": tmp_path})
    (tmp_path / "dataset_description.json").write_text("{}")
    assert not offers.is_own_folder(tmp_path, {"hcp": tmp_path})
