"""Every pairing of field-map images with every way to say what they are meant for."""

import json

import pytest

from bids_sexclf import layout

FORMS = {
    "phasediff": ({"phasediff": {"EchoTime1": 0.005, "EchoTime2": 0.0075}}, "magnitude1"),
    "phases": ({"phase1": {"EchoTime": 0.005}, "phase2": {"EchoTime": 0.0075}}, "magnitude1"),
    "field": ({"fieldmap": {"Units": "Hz"}}, "magnitude"),
}
LINKS = {
    "path": "ses-1/dwi/sub-1_ses-1_dwi.nii.gz",
    "uri": "bids::sub-1/ses-1/dwi/sub-1_ses-1_dwi.nii.gz",
    "session": "dwi/sub-1_ses-1_dwi.nii.gz",
    "unpacked": "bids::sub-1/ses-1/dwi/sub-1_ses-1_dwi.nii",
}


def write(root, name, **about):
    path = root / "sub-1" / "ses-1" / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    path.with_name(f"{path.name.split('.')[0]}.json").write_text(json.dumps(about))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dataset_description.json").write_text('{"Name": "t", "BIDSVersion": "1.10.0"}')
    write(tmp_path, "dwi/sub-1_ses-1_dwi", PhaseEncodingDirection="j-", TotalReadoutTime=0.05)
    return tmp_path


def find(root):
    row = {"participant_id": "sub-1", "session_id": "ses-1", "t1w": None}
    row["dwi"] = "sub-1/ses-1/dwi/sub-1_ses-1_dwi.nii.gz"
    return layout.find_fieldmaps(layout.open_dataset(root), row)


def write_form(root, form, link, on_magnitude, run="", magnitude_name=None):
    """Write a field map; the link stands on all images, or on all but the magnitude."""
    images, magnitude = FORMS[form]
    for suffix, about in images.items():
        write(root, f"fmap/sub-1_ses-1{run}_{suffix}", **about, **link)
    name = magnitude_name or f"sub-1_ses-1{run}"
    write(root, f"fmap/{name}_{magnitude}", **(link if on_magnitude else {}))


@pytest.mark.parametrize("on_magnitude", [True, False])
@pytest.mark.parametrize("how", LINKS)
@pytest.mark.parametrize("form", FORMS)
def test_a_field_map_is_found_by_what_it_is_intended_for(root, form, how, on_magnitude):
    write_form(root, form, {"IntendedFor": [LINKS[how]]}, on_magnitude)
    # Another one, which comes first by name, is meant for something else.
    write_form(root, form, {"IntendedFor": ["ses-1/func/other_bold.nii.gz"]}, True, "_acq-a")
    found = find(root)["inputs"]["fieldmap"]
    assert found["kind"] == form and "acq-a" not in found["name"]
    assert "acq-a" not in found["magnitude"] and len(found["phase"]) == len(FORMS[form][0])
    assert found["delay"] == (None if form == "field" else pytest.approx(0.0025))


@pytest.mark.parametrize("on_magnitude", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_a_field_map_is_found_by_its_identifier(root, form, on_magnitude):
    about = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05, "B0FieldSource": ["mine"]}
    write(root, "dwi/sub-1_ses-1_dwi", **about)
    write_form(root, form, {"B0FieldIdentifier": "mine"}, on_magnitude)
    write_form(root, form, {"B0FieldIdentifier": "other"}, True, "_acq-a")
    found = find(root)["inputs"]["fieldmap"]
    assert found["kind"] == form
    assert "acq-a" not in found["name"] and "acq-a" not in found["magnitude"]


def test_a_magnitude_of_another_name_belongs_by_identifier_or_alone(root):
    link = {"B0FieldIdentifier": "mine"}
    write_form(root, "phasediff", link, True, "_acq-p", "sub-1_ses-1_acq-m")
    assert "acq-m_magnitude1" in find(root)["inputs"]["fieldmap"]["magnitude"]
    write(root, "fmap/sub-1_ses-1_acq-b_magnitude1")  # another: now only the identifier tells
    assert "acq-m_magnitude1" in find(root)["inputs"]["fieldmap"]["magnitude"]


@pytest.mark.parametrize("how", LINKS)
def test_an_epi_is_found_by_what_it_is_intended_for(root, how):
    way = {"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}
    write(root, "fmap/sub-1_ses-1_acq-a_epi", **way, IntendedFor="ses-1/func/other_bold.nii.gz")
    write(root, "fmap/sub-1_ses-1_acq-b_epi", **way, IntendedFor=LINKS[how])
    assert find(root)["inputs"]["opposite"]["name"] == "sub-1_ses-1_acq-b_epi.nii.gz"


def test_what_is_named_and_not_there_is_said(root):
    write(root, "dwi/sub-1_ses-1_dwi", PhaseEncodingDirection="j", B0FieldSource="gone")
    write_form(root, "phasediff", {"IntendedFor": "ses-1/dwi/sub-1_ses-1_run-7_dwi.nii.gz"}, False)
    notes = "; ".join(find(root)["notes"])
    assert "phasediff.nii.gz is meant for ses-1/dwi/sub-1_ses-1_run-7_dwi.nii.gz, not" in notes
    assert "B0FieldSource gone, which no scan" in notes


def test_a_phase_image_is_no_opposite_encoding(root):
    way = {"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}
    write(root, "dwi/sub-1_ses-1_dir-PA_part-phase_dwi", **way)
    assert find(root)["inputs"]["opposite"] is None
    write(root, "dwi/sub-1_ses-1_dir-PA_part-mag_dwi", **way)
    assert "part-mag" in find(root)["inputs"]["opposite"]["name"]
