"""Label tables and atlas images of all kinds: the right table, or a refusal in three parts."""

import numpy as np
import pytest

from bids_sexclf import atlases
from bids_sexclf.errors import InputError
from bids_sexclf.labels import read_labels
from bids_sexclf.volumes import Grid, save

GRID = Grid((20, 24, 20), np.diag([9.0, 9, 9, 1]))
FREESURFER = """#$Id: FreeSurferColorLUT.txt
#No. Label Name:                R   G   B   A
0   Unknown                     0   0   0   0
2   Left-Cerebral-White-Matter  245 245 245 0
10  Left-Thalamus               0   118 14  0
"""
SNAP = """# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    2   255    0    0        1  1  1    "white matter"
   10     0  255    0      0.5  1  1    "thalamus, left"
"""


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("a.txt", FREESURFER, ["Left-Cerebral-White-Matter", "Left-Thalamus"]),
        ("a.ctab", "2 white 1 2 3\n10 deep grey 4 5 6\n", ["white", "deep grey"]),
        ("a.label", SNAP, ["white matter", "thalamus, left"]),
        ("a.txt", "2 white matter\n10 left thalamus\n", ["white matter", "left thalamus"]),
        ("a.txt", "2 Area 44\n10 left thalamus\n", ["Area 44", "left thalamus"]),
        ("a.tsv", "index\tname\n2.0\twhite\n10.0\tNA\n", ["white", "NA"]),
        ("a.tsv", "\ufeffIndex \tNAME\tcolor\n2\twhite\t#fff\n10\tgrey \tx\n", ["white", "grey"]),
        ("a.tsv", "name\tindex\nbackground\t0\n12\t2\nten\t10\n", ["12", "ten"]),
        ("a.xml", "<a><label index='1'>white</label><label index='9'>b<i>c</i></label></a>", None),
    ],
)
def test_tables_that_are_clear_are_read(tmp_path, name, content, names):
    table = read_labels(write(tmp_path, name, content))
    assert table["index"].tolist() == [2, 10]
    assert names is None or table["name"].tolist() == names
    assert not table["name"].str.contains("245|118").any()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", "index\tname\n1.5\twhite\n", "with index '1.5'"),
        ("a.tsv", "index\tname\none\twhite\n", "with index 'one'"),
        ("a.tsv", "index\tname\nn/a\twhite\n", "with index 'None'"),
        ("a.tsv", "index\tname\n-2\twhite\n", "with index '-2'"),
        ("a.tsv", "index\tname\n1e300\twhite\n", "with index '1e300'"),
        ("a.tsv", "index\tname\ninf\twhite\n", "with index 'inf'"),
        ("a.tsv", "index\tname\n2\twhite\n2.0\tgrey\n", r"index \[2\] more than once"),
        ("a.tsv", "index\tname\n2\tn/a\n", r"without a name for index \[2\]"),
        ("a.tsv", "index\tname\n", "without any label"),
        ("a.tsv", "label\tregion\n2\twhite\n", "columns label, region and without index and name"),
        ("a.tsv", "idx\tnames\n2\twhite\n", "Did you mean"),
        ("a.tsv", "index\tname\n2\tGyr\u00fcs\n".encode("latin-1"), "needed"),
        ("a.tsv", "", "needed"),
        ("a.xml", "<a><label index='1'>white</label>", "is no XML"),
        ("a.xml", "<a><label index='x'>white</label></a>", "with index 'x'"),
        ("a.xml", "<a><label>white</label></a>", "with index 'None'"),
        ("a.xml", "<a><label index='2'/></a>", "without a name"),
        ("a.xml", "<a/>", "without any label"),
        ("a.xml", "<a><label index='1'>Gyr\u00fcs</label></a>".encode("latin-1"), "is no XML"),
        ("a.txt", "1 Gyr\u00fcs\n".encode("latin-1"), "is not UTF-8"),
        ("a.txt", "1,white\n", "with the line '1,white'"),
        ("a.txt", "one white\n", "with index 'one'"),
        ("a.txt", "", "without any label"),
        ("absent.txt", None, "cannot be read"),
        ("absent.tsv", None, "needed"),
    ],
)
def test_tables_that_are_not_clear_are_refused(tmp_path, name, content, words):
    path = tmp_path / name if content is None else write(tmp_path, name, content)
    with pytest.raises(InputError, match=words) as refusal:
        read_labels(path)
    assert str(path) in str(refusal.value) and "needed" in str(refusal.value)


def test_mutated_tables_never_end_in_a_traceback(tmp_path):
    rng = np.random.default_rng(7)
    whole = {
        "a.tsv": b"index\tname\themisphere\n2\twhite\tL\n10\tgrey\tR\n",
        "a.xml": b"<a><label index='1'>white</label><label index='9'>grey</label></a>",
        "a.txt": FREESURFER.encode(),
    }
    for number in range(300):
        name = list(whole)[number % 3]
        content = bytearray(whole[name])
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] = rng.integers(256)
        try:
            table = read_labels(write(tmp_path, name, bytes(content)))
            assert table["index"].is_unique and table["name"].notna().all()
        except InputError:
            pass


def atlas(folder, array, affine=GRID.affine, table="index\tname\n2\ta\n10\tb\n"):
    path = folder / "a.nii.gz"
    save(array, affine, path)
    write(folder, "a.tsv", table)
    return str(path)


@pytest.fixture
def labelled():
    array = np.zeros(GRID.shape, np.float32)
    array[2:8, 3:9, 4:9], array[10:16, 3:9, 4:9] = 2, 10
    return array


@pytest.mark.parametrize(
    ("value", "words"), [(1.5, "1.5 in 1 voxels"), (np.nan, "nan"), (-2, "-2"), (3e7, "3e")]
)
def test_images_that_are_no_atlas_are_refused(tmp_path, labelled, value, words):
    labelled[0, 0, 0] = value
    with pytest.raises(InputError, match=f"values such as .*{words}|{words}"):
        atlases.find_atlas(atlas(tmp_path, labelled), GRID, "X")


def test_an_atlas_far_away_is_refused_before_anything_is_computed(tmp_path, labelled):
    away = GRID.affine.copy()
    away[0, 3] = 500
    with pytest.raises(InputError, match="with 0 % of its volume on the grid of X"):
        atlases.find_atlas(atlas(tmp_path, labelled, away), GRID, "X")


def test_an_atlas_beside_the_brain_is_refused_though_it_lies_on_the_grid(tmp_path, labelled):
    path, inside = atlas(tmp_path, labelled), np.zeros(GRID.shape, bool)
    inside[2:12] = True  # the first region whole, of the second a third
    assert len(atlases.find_atlas(path, GRID, "X", inside=inside).labels) == 2
    inside[2:12] = False
    inside[10:12] = True
    with pytest.raises(InputError, match="with 17 % of its volume in the brain of X"):
        atlases.find_atlas(path, GRID, "X", inside=inside)


def test_a_colour_table_may_name_more_than_the_image_holds(tmp_path, labelled):
    path = atlas(tmp_path, np.where(labelled == 2, labelled, 0))
    table = write(tmp_path, "lut.txt", FREESURFER)
    found = atlases.find_atlas(path, GRID, "X", labels=table)
    assert found.labels["name"].tolist() == ["Left-Cerebral-White-Matter"]


def test_an_atlas_without_regions_is_refused(tmp_path, labelled):
    with pytest.raises(InputError, match="0 regions|any label"):
        atlases.find_atlas(atlas(tmp_path, 0 * labelled), GRID, "X")
