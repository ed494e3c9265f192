import numpy as np
import pandas as pd
import pytest

from bids_sexclf import atlases, catalogue, resources
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.labels import read_labels
from bids_sexclf.volumes import Grid, save

GRID = Grid(
    (20, 24, 20), np.array([[-9.0, 0, 0, 90], [0, 9, 0, -126], [0, 0, 9, -72], [0, 0, 0, 1]])
)


@pytest.fixture
def home(tmp_path):
    """Write a small TemplateFlow home with two resolutions."""
    for res, size in (("01", 1.0), ("02", 2.0)):
        for tail in ("T1w", "desc-brain_T1w", "desc-brain_mask"):
            shape = (int(16 / size),) * 3
            path = tmp_path / "tpl-X" / f"tpl-X_res-{res}_{tail}.nii.gz"
            save(np.ones(shape), np.diag([size, size, size, 1]), path)
    return tmp_path


def test_the_template_at_two_millimetres_is_preferred(home):
    assert "res-02" in resources.find_template("X", home).head.name


def test_a_folder_given_relative_to_here_is_found_from_anywhere(home, monkeypatch):
    monkeypatch.chdir(home)
    found = resources.find_template("X", ".")
    assert found.head.is_absolute() and found.mask.is_absolute()


def test_a_placeholder_counts_as_missing_and_the_way_to_get_it_is_told(home):
    for path in (home / "tpl-X").glob("*desc-brain_mask*"):
        path.write_bytes(b"")
    with pytest.raises(ToolError, match="python -m bids_sexclf.resources X"):
        resources.find_template("X", home)


@pytest.mark.parametrize("size", [1.0, 2.0, 4.0])
def test_the_group_grid_has_the_size_asked_for_and_the_templates_field_of_view(home, size):
    grid = resources.group_grid(resources.find_template("X", home), size)
    assert grid.shape == (int(16 / size),) * 3
    np.testing.assert_allclose(grid.voxel_size, size)


def write_atlas(folder, rows, values=(0, 2, 5)):
    array = np.random.default_rng(0).choice(values, (20, 24, 20))
    save(array.astype(np.int16), GRID.affine, folder / "a.nii.gz")
    pd.DataFrame(rows, columns=["index", "name"]).to_csv(folder / "a.tsv", sep="\t", index=False)
    return str(folder / "a.nii.gz")


def test_an_atlas_is_named_by_index_and_not_by_position(tmp_path):
    path = write_atlas(tmp_path, [(5, "five"), (2, "two")])
    atlas = atlases.find_atlas(path, GRID, "X")
    assert dict(zip(atlas.labels["index"], atlas.labels["name"], strict=True)) == {
        5: "five",
        2: "two",
    }
    assert set(np.unique(atlas.parcellation)) == {0, 2, 5}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(2, "two")], r"without a name \[5\]"),
        ([(2, "two"), (5, "five"), (7, "seven")], r"without voxels \[7\]"),
        ([(2, "two"), (5, "five"), (5, "fifth")], r"\[5\] more than once"),
    ],
)
def test_an_atlas_and_a_table_that_disagree_are_refused(tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        atlases.find_atlas(write_atlas(tmp_path, rows), GRID, "X")


def test_label_tables_are_read_in_three_dialects(tmp_path):
    (tmp_path / "a.txt").write_text("1\tFirst_one\n2 Second two\n")
    (tmp_path / "zero.xml").write_text(
        '<atlas><data><label index="0">A</label><label index="1">B</label></data></atlas>'
    )
    (tmp_path / "named.xml").write_text(
        '<atlas><label index="0">Unclassified</label><label index="1">A</label></atlas>'
    )
    assert read_labels(tmp_path / "a.txt")["name"].tolist() == ["First_one", "Second two"]
    assert read_labels(tmp_path / "zero.xml")["index"].tolist() == [1, 2]
    assert read_labels(tmp_path / "named.xml")["index"].tolist() == [1]


def test_an_unknown_atlas_lists_the_known_ones():
    with pytest.raises(InputError, match="HarvardOxfordCort.*Lobes"):
        atlases.find_atlas("Nope", GRID, "X")


@pytest.fixture
def with_jhu(tmp_path, monkeypatch):
    """Write files named as those of the JHU atlas, which lies in MNI152NLin6Asym."""
    folder = tmp_path / "data" / "atlases"
    array = np.random.default_rng(0).choice((0, 1, 2), (20, 24, 20))
    save(array.astype(np.int16), GRID.affine, folder / "JHU" / "JHU-ICBM-labels-1mm.nii.gz")
    names = ("Unclassified", "Tract 1", "Tract 2")
    labels = "".join(f'<label index="{i}">{name}</label>' for i, name in enumerate(names))
    (folder / "JHU-labels.xml").write_text(f"<atlas><data>{labels}</data></atlas>")
    monkeypatch.setenv("FSLDIR", str(tmp_path))


def test_an_atlas_is_laid_on_the_template_that_it_was_made_on(with_jhu):
    atlas = atlases.find_atlas("JHU", GRID, "MNI152NLin6Asym")
    assert atlas.labels["name"].tolist() == ["Tract 1", "Tract 2"]


@pytest.mark.parametrize("template", ["Phantom", "MNI152NLin2009cAsym"])
def test_an_atlas_of_another_template_is_refused_with_both_spaces(with_jhu, template):
    words = f"JHU in the space MNI152NLin6Asym for maps in the space {template}, needed.*--template"
    with pytest.raises(InputError, match=words):
        atlases.find_atlas("JHU", GRID, template)


def test_every_known_atlas_declares_its_space():
    assert all(entry["Space"] for entry in atlases.known_atlases().values())
    with pytest.raises(InputError, match=r"Lobes in the space MNI152\* or Phantom"):
        atlases.find_atlas("Lobes", GRID, "OASIS30ANTs")


@pytest.mark.parametrize("way", ["sidecar", "name"])
def test_an_image_that_declares_its_space_is_held_to_it(tmp_path, way):
    path = write_atlas(tmp_path, [(5, "five"), (2, "two")])
    if way == "sidecar":
        (tmp_path / "a.json").write_text('{"Space": "MNI152NLin6Asym"}')
    else:
        path = tmp_path / "atlas-a_space-MNI152NLin6Asym_dseg.nii.gz"
        (tmp_path / "a.nii.gz").rename(path)
        (tmp_path / "a.tsv").rename(tmp_path / "atlas-a_space-MNI152NLin6Asym_dseg.tsv")
    assert len(atlases.find_atlas(str(path), GRID, "MNI152NLin6Asym").labels) == 2
    with pytest.raises(InputError, match="in the space MNI152NLin6Asym for maps in the space X"):
        atlases.find_atlas(str(path), GRID, "X")


def test_the_builtin_atlas_knows_left_from_right():
    atlas = atlases.find_atlas("Lobes", GRID, "MNI152NLin6Asym")
    for row in atlas.labels.itertuples():
        voxels = np.argwhere(atlas.parcellation == row.index)
        x = (voxels @ GRID.affine[0, :3] + GRID.affine[0, 3]).mean()
        assert row.name.startswith("Left") == (x < 0) == (row.hemisphere == "L")


def test_real_labels_of_the_white_matter_atlas_match_its_table(real_data, monkeypatch):
    monkeypatch.setenv("FSLDIR", str(real_data / "fsl"))
    atlas = atlases.find_atlas("JHU", GRID, "MNI152NLin6Asym")
    assert len(atlas.labels) == 48
    names = dict(zip(atlas.labels["index"], atlas.labels["name"], strict=True))
    assert names[4].startswith("Body of corpus callosum")
    sides = atlas.labels.set_index("name")["hemisphere"]
    assert all(side in "LB" for name, side in sides.items() if name.endswith(" L"))


def test_a_catalogue_lists_its_entries_and_suggests_the_nearest():
    assert "cnn3" in catalogue.names("bids_sexclf.models")
    with pytest.raises(InputError, match="Did you mean 'cnn3'"):
        catalogue.find("bids_sexclf.models", "cnn")


def installed(monkeypatch, folder):
    """Make a folder stand for the place where deepbet is installed."""
    from types import SimpleNamespace

    found = SimpleNamespace(locate_file=lambda name: folder / name)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: found)
    resources.find_weights.cache_clear()


@pytest.fixture
def fresh():
    """Forget before and after the test which weights were found."""
    resources.find_weights.cache_clear()
    yield
    resources.find_weights.cache_clear()


def test_the_weights_lie_in_the_installed_package(fresh):
    box, mask = resources.find_weights()
    assert box.name == "bbox_model.pt" and mask.name == "model.pt"
    assert box.is_file() and mask.is_file()


def test_weights_that_are_missing_or_others_are_refused_with_the_way_to_get_them(
    fresh, monkeypatch, tmp_path
):
    held = resources.find_weights()
    (tmp_path / "data/models").mkdir(parents=True)
    installed(monkeypatch, tmp_path)
    with pytest.raises(ToolError, match="bbox_model.pt with 0 bytes.*pip install --force"):
        resources.find_weights()
    for path in held:
        (tmp_path / "data/models" / path.name).write_bytes(path.read_bytes())
    assert resources.find_weights()[0].parent == tmp_path / "data/models"
    content = bytearray(held[1].read_bytes())
    content[5000] ^= 1
    (tmp_path / "data/models/model.pt").write_bytes(content)
    resources.find_weights.cache_clear()
    with pytest.raises(ToolError, match="data/models/model.pt with 8698000 bytes"):
        resources.find_weights()


def test_without_the_package_its_name_is_told(fresh, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    with pytest.raises(ToolError, match="pip install deepbet==1.0.2"):
        resources.find_weights()
