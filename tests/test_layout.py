import json

import pytest

from bids_sexclf import layout
from bids_sexclf.errors import InputError
from bids_sexclf.layout import dataset
from bids_sexclf.people import read_participants
from bids_sexclf.tables import read_tsv

PARTICIPANTS = "participant_id\tsex\tage\n"


def write_participants(folder, *rows, header=PARTICIPANTS):
    folder.joinpath("participants.tsv").write_text(header + "\n".join(rows) + "\n")
    return folder


def touch(folder, *names):
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "t", "BIDSVersion": "1.10.0"})
    )
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder


@pytest.mark.parametrize("entry", sorted(layout.names()))
def test_what_is_written_under_a_name_is_found_under_it(tmp_path, entry):
    spec = layout.names()[entry]["entities"]
    given = {("from_" if k == "from" else k): "X1" for k, v in spec.items() if v == "*"}
    for session in (None, "ses-2"):
        path = tmp_path / layout.derivative(entry, "sub-01", session, **given)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    found = layout.find_derivatives(tmp_path, entry, **given)
    assert {row["session_id"] for row in found} == {None, "ses-2"} and len(found) == 2
    assert all(row["participant_id"] == "sub-01" for row in found)


def test_an_entity_that_is_not_given_is_refused():
    with pytest.raises(InputError, match="needed"):
        layout.derivative("tensor_template", "sub-01", space="A")


def test_words_for_sex_are_read_and_others_are_unknown(tmp_path):
    rows = ["sub-1\tF\t20", "sub-2\tmale\t30", "sub-3\t2\t40", "sub-4\tn/a\t50"]
    people, faults = read_participants(write_participants(tmp_path, *rows))
    assert people["sex"].tolist()[:2] == ["female", "male"]
    assert people["sex"].isna().tolist() == [False, False, True, True]
    assert set(faults) == {"sub-3", "sub-4"} and "'2'" in faults["sub-3"][0]


@pytest.mark.parametrize("age", ["n/a", "old", "-3", "999"])
def test_an_age_that_is_no_age_is_a_fault(tmp_path, age):
    people, faults = read_participants(write_participants(tmp_path, f"sub-1\tF\t{age}"))
    assert "age" in faults["sub-1"][0] and people["age_years"].isna().all()


def test_ids_without_prefix_are_the_same_people(tmp_path):
    people, _ = read_participants(write_participants(tmp_path, "01\tF\t20"))
    assert people["participant_id"].tolist() == ["sub-01"]


def test_rows_that_contradict_each_other_in_sex_are_a_fault(tmp_path):
    rows = ["sub-1\tF\t20", "sub-1\tM\t20", "sub-2\tM\t30"]
    people, faults = read_participants(write_participants(tmp_path, *rows))
    assert "contradict" in " ".join(faults["sub-1"]) and "sub-2" not in faults
    assert people["participant_id"].is_unique


def test_columns_that_contradict_each_other_are_a_fault(tmp_path):
    header = "participant_id\tsex\tgender\tage\n"
    folder = write_participants(tmp_path, "sub-1\tF\tmale\t20", header=header)
    assert "contradict" in " ".join(read_participants(folder)[1]["sub-1"])


def test_a_table_without_sex_names_what_it_needs(tmp_path):
    folder = write_participants(tmp_path, "sub-1\t20", header="participant_id\tage\n")
    with pytest.raises(InputError, match="needed one for each of sex"):
        read_participants(folder)


def test_one_row_per_session_and_plainest_scan_first(tmp_path):
    folder = touch(
        tmp_path,
        "sub-1/ses-a/anat/sub-1_ses-a_T1w.nii.gz",
        "sub-1/ses-a/anat/sub-1_ses-a_rec-norm_T1w.nii.gz",
        "sub-1/ses-b/anat/sub-1_ses-b_T1w.nii.gz",
        "sub-2/anat/sub-2_T1w.nii.gz",
    )
    rows = layout.find_scans(layout.open_dataset(folder)).to_dict("records")
    assert [(row["participant_id"], row["session_id"]) for row in rows] == [
        ("sub-1", "ses-a"),
        ("sub-1", "ses-b"),
        ("sub-2", None),
    ]
    assert rows[0]["t1w"].endswith("ses-a_T1w.nii.gz") and "plainest of 2" in rows[0]["note"]


def test_a_filter_chooses_and_an_unknown_participant_is_named(tmp_path):
    folder = touch(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_rec-norm_T1w.nii.gz")
    dataset = layout.open_dataset(folder)
    chosen = layout.find_scans(dataset, filters={"t1w": {"reconstruction": "norm"}})
    assert chosen["t1w"][0].endswith("rec-norm_T1w.nii.gz")
    assert len(layout.find_scans(dataset, ["sub-1"])) == len(layout.find_scans(dataset, ["1"])) == 1
    with pytest.raises(InputError, match="sub-9"):
        layout.find_scans(dataset, ["9"])


@pytest.mark.parametrize("above", ["sub-9", "ses-9", "run-2_acq-x", "a (b)+[c]/dwi"])
def test_the_path_to_a_dataset_names_nobody(tmp_path, above):
    """pybids reads entities from the whole path: all scans were of sub-9, or of session 9."""
    folder = make_dataset(tmp_path / above / "bids", "1", "2")
    for kept in (None, tmp_path / "index", tmp_path / "index"):
        dataset = layout.open_dataset(folder, database_dir=kept)
        rows = layout.find_scans(dataset, filters={"t1w": {"datatype": "anat", "run": None}})
        assert rows["participant_id"].tolist() == ["sub-1", "sub-2"]
        assert rows["session_id"].tolist() == [None, None] and rows["t1w"].notna().all()


def test_links_that_lead_in_circles_end(tmp_path):
    folder = make_dataset(tmp_path, "1", "2")
    for name in ("1", "2"):
        (folder / f"sub-{name}" / "up").symlink_to("..")
        (folder / f"sub-{name}" / "other").symlink_to(f"../sub-{3 - int(name)}")
    assert layout.open_dataset(folder).get_subjects() == ["1", "2"]


def test_who_has_a_folder_without_a_valid_name_in_it_does_not_vanish(tmp_path):
    """An empty folder (not fetched), one whose files have another label, an empty session."""
    folder = touch(
        make_dataset(tmp_path, "1"),
        "sub-02/anat/sub-2_T1w.nii.gz",
        "sub-4/ses-a/anat/sub-4_ses-a_T1w.nii.gz",
    )
    (folder / "sub-3").mkdir()
    (folder / "sub-4" / "ses-b").mkdir()
    rows = layout.find_scans(layout.open_dataset(folder))
    who = list(zip(rows["participant_id"], rows["session_id"], strict=True))
    assert who == [
        ("sub-02", None), ("sub-1", None), ("sub-3", None), ("sub-4", "ses-a"), ("sub-4", "ses-b"),
    ]  # fmt: skip
    assert rows["t1w"].notna().tolist() == [False, True, False, True, False]


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="no BIDS dataset"):
        layout.open_dataset(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        layout.open_dataset(tmp_path / "absent")


def test_ignored_patterns_are_added_once(tmp_path):
    layout.write_ignored(tmp_path)
    first = (tmp_path / ".bidsignore").read_text()
    layout.write_ignored(tmp_path)
    assert (tmp_path / ".bidsignore").read_text() == first


def test_runs_belong_together_and_other_names_do_not(tmp_path):
    folder = touch(
        tmp_path,
        "sub-1/anat/sub-1_run-10_T1w.nii.gz",
        "sub-1/anat/sub-1_run-2_T1w.nii.gz",
        "sub-1/anat/sub-1_acq-fast_T1w.nii.gz",
        "sub-1/dwi/sub-1_run-1_dwi.nii.gz",
        "sub-1/dwi/sub-1_run-2_dwi.nii.gz",
        "sub-1/dwi/sub-1_run-1_dwi.bval",
        "sub-1/dwi/sub-1_run-2_dwi.bval",
        "sub-1/dwi/sub-1_run-1_dwi.bvec",
        "sub-1/dwi/sub-1_run-2_dwi.bvec",
    )
    dataset = layout.open_dataset(folder)
    row = layout.find_scans(dataset).to_dict("records")[0]
    assert [path[-17:] for path in layout.paths(row["t1w"])] == [
        "_run-2_T1w.nii.gz",
        "run-10_T1w.nii.gz",
    ]
    assert len(layout.paths(row["dwi"])) == len(layout.paths(row["bvec"])) == 2
    assert "2 of 2 runs" in row["note"] and "plainest of 2" in row["note"]
    row = layout.find_scans(dataset, first=("t1w", "dwi")).to_dict("records")[0]
    assert row["t1w"].endswith("run-2_T1w.nii.gz") and row["dwi"].endswith("run-1_dwi.nii.gz")


def test_a_filter_with_several_labels_joins_them(tmp_path):
    folder = touch(
        tmp_path, *[f"sub-1/dwi/sub-1_acq-{acq}_dwi.nii.gz" for acq in ("b1", "b2", "x")]
    )
    filters = {"dwi": {"acquisition": ["b1", "b2"]}}
    row = layout.find_scans(layout.open_dataset(folder), filters=filters).to_dict("records")[0]
    assert len(layout.paths(row["dwi"])) == 2


# -- the index, filters, sidecars ----------------------------------------------------------------


def make_dataset(folder, *people):
    folder.mkdir(parents=True, exist_ok=True)
    return touch(folder, *(f"sub-{person}/anat/sub-{person}_T1w.nii.gz" for person in people))


def test_a_kept_index_is_of_its_own_dataset_only(tmp_path):
    first, other = make_dataset(tmp_path / "a", "1"), make_dataset(tmp_path / "b", "1", "2")
    kept = tmp_path / "index"
    layout.open_dataset(first, database_dir=kept)
    assert layout.open_dataset(first, database_dir=kept).get_subjects() == ["1"]
    with pytest.raises(InputError, match="needed that of .*b. Name another"):
        layout.open_dataset(other, database_dir=kept)
    (kept / "bids_sexclf_index.json").unlink()
    with pytest.raises(InputError, match="index of a dataset that is not named there"):
        layout.open_dataset(first, database_dir=kept)


def test_a_folder_that_may_not_be_read_costs_its_participant_only(tmp_path, monkeypatch):
    folder = make_dataset(tmp_path / "a", "1", "2", "3")
    barred = {str(folder / "sub-2"), str(folder / "sub-3/anat")}
    allowed = dataset._may_enter  # root may read everything
    monkeypatch.setattr(dataset, "_may_enter", lambda path: path not in barred and allowed(path))
    index = layout.open_dataset(folder)
    notes = layout.find_scans(index).set_index("participant_id")["note"]
    assert notes["sub-1"] is None
    assert "folder sub-2 cannot be read, needed permission" in notes["sub-2"]
    assert "folder sub-3/anat cannot be read, needed permission" in notes["sub-3"]


def test_a_kept_index_follows_its_dataset(tmp_path):
    folder, kept = make_dataset(tmp_path / "a", "1"), tmp_path / "index"
    layout.open_dataset(folder, database_dir=kept)
    make_dataset(folder, "2")
    with pytest.warns(UserWarning, match="earlier state"):
        assert layout.open_dataset(folder, database_dir=kept).get_subjects() == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"t1w": {"acquistion": "x"}}', "Did you mean 'acquisition'"),
        ('{"t1w": {"acq": "x"}}', "Did you mean 'acquisition'"),
        ('{"T1w": {"run": 1}}', "Did you mean 't1w'"),
        ('{"dwi": "AP"}', "entities by kind of scan"),
        ("[]", "entities by kind of scan"),
        ('{"dwi": {"direction": {"a": 1}}}', "is no label"),
        ('{"dwi": {"direction": "AP"},}', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("[" * 100000, "cannot be read"),
    ],
)
def test_filters_that_would_drop_everybody_are_refused(tmp_path, content, words):
    path = tmp_path / "filters.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words):
        layout.read_filters(path)


def test_a_filter_never_gives_one_the_scan_of_another(tmp_path):
    """A filter chose the participant too: everybody had the T1w of sub-1, and of ses-a."""
    names = [f"sub-{i}/ses-{s}/anat/sub-{i}_ses-{s}_T1w.nii.gz" for i in "12" for s in "ab"]
    dataset = layout.open_dataset(touch(tmp_path, *names))
    for chosen in ({"subject": "1"}, {"session": "a"}):
        rows = layout.find_scans(dataset, filters={"t1w": chosen})
        assert len(rows) == 4 and rows["t1w"].notna().sum() == 2
        for row in rows[rows["t1w"].notna()].to_dict("records"):
            assert f"{row['participant_id']}_{row['session_id']}_" in row["t1w"]


def test_the_index_is_asked_as_often_for_many_as_for_few(tmp_path, monkeypatch):
    """A thousand participants took a minute, each of them a walk through all files."""
    asked = []
    for count in (2, 6):
        names = (f"sub-{i}/dwi/sub-{i}_dwi.{end}" for i in range(count)
                 for end in ("nii.gz", "bval", "bvec"))  # fmt: skip
        folder = make_dataset(tmp_path / str(count))
        dataset = layout.open_dataset(touch(folder, *names))
        get, calls = dataset.get, []
        monkeypatch.setattr(
            dataset, "get", lambda *a, g=get, c=calls, **k: c.append(k) or g(*a, **k)
        )
        assert layout.find_scans(dataset)["bvec"].notna().all()
        asked.append(len(calls))
    assert asked[0] == asked[1]


def test_what_has_no_end_is_not_read(tmp_path):
    with pytest.raises(InputError, match="it is a pipe or a device"):
        layout.read_filters("/dev/zero")
    with pytest.raises(InputError, match="it is a pipe or a device"):
        read_tsv("/dev/zero")


def test_a_filter_that_drops_a_scan_says_so(tmp_path):
    folder = make_dataset(tmp_path / "a", "1")
    touch(folder, "sub-2/anat/sub-2_acq-x_T1w.nii.gz")
    rows = layout.find_scans(layout.open_dataset(folder), filters={"t1w": {"acquisition": "x"}})
    assert rows["t1w"].tolist() == [None, "sub-2/anat/sub-2_acq-x_T1w.nii.gz"]
    assert "the filter of --bids-filter-file leaves none of 1 T1w" in rows["note"][0]
    assert rows["note"][1] is None


def test_a_description_that_cannot_be_read_is_named(tmp_path):
    folder = make_dataset(tmp_path / "a", "1")
    (folder / "dataset_description.json").write_text('{"Name": "t",}')
    with pytest.raises(InputError, match="dataset_description.json, which is no JSON"):
        layout.open_dataset(folder)
