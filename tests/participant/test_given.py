"""Every kind of dataset runs to the end, and what others have done is not done again."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from testing import layouts

from bids_sexclf import cli, layout
from bids_sexclf.participant.plan import plan
from bids_sexclf.participant.run import execute
from bids_sexclf.phantom.dataset import write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.settings import Preparation, Run

pytestmark = pytest.mark.slow
BIAS, MASK = "bias field of the T1w", "brain mask of the T1w"
SERIES = "preprocessing of the diffusion series"
T1W = "*_space-Phantom_res-6_desc-preproc_T1w.nii.gz"
FA = "*_space-Phantom_res-6_*param-fa_dwimap.nii.gz"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    options = PhantomOptions(
        participants=1, seed=5, resolution=6, dwi_resolution=7, shells=(1000,), b0s=2
    )
    return write_dataset(tmp_path_factory.mktemp("phantom") / "bids", options)


@pytest.fixture(scope="module")
def prepare(phantom, tmp_path_factory):
    """Give a function that runs the participant level on one dataset, in this process."""
    plugin = tmp_path_factory.mktemp("plugin") / "plugin.yml"
    plugin.write_text("plugin: Linear\nplugin_args: {}\n")

    def make(bids, given=(), **choices):
        out = tmp_path_factory.mktemp("prepared") / "out"
        named = [f"{name}={path}" for name, path in dict(given).items()]
        run = Run(nprocs=1, use_plugin=plugin, derivatives=named)
        templates = phantom / "derivatives/phantom/templates"
        preparation = Preparation(
            template="Phantom", templates_dir=templates, resolution=6, sloppy=True,
            dwi_alignment="none", **choices,
        )  # fmt: skip
        planned = plan(bids, out, run, preparation)
        left = execute(bids, out, run, preparation, planned)
        assert [row["reason"] for row in left] == []
        return Result(out)

    return make


class Result:
    """What a run left: derivatives, quality numbers, and the names of the steps that ran."""

    def __init__(self, out):
        self.out = out
        (self.path,) = out.glob("sub-*/**/*_quality.json")
        self.quality = json.loads(self.path.read_text())
        self.steps = {path.parent.name for path in (out / "work").rglob("_report")}

    def image(self, pattern):
        (path,) = self.path.parent.rglob(pattern)
        return nib.load(path)

    def page(self):
        (path,) = self.out.glob("sub-*.html")
        return path.read_text()

    def about(self, pattern):
        (path,) = self.path.parent.rglob(pattern)
        return json.loads(layout.sidecar(path).read_text())

    def white_matter_rank(self):
        """Share of pairs of voxels in which that of white matter has the higher FA."""
        kinds = (np.asarray(nib.load(self.out / layout.reference(kind, "Phantom", "6")).dataobj) > 0
                 for kind in ("mask", "white"))  # fmt: skip
        mask, white = kinds
        fa, rest = np.asarray(self.image(FA).dataobj), mask & ~white
        return np.searchsorted(np.sort(fa[rest]), fa[white]).mean() / rest.sum()

    def agrees(self, other, pattern):
        mine, theirs = (np.asarray(r.image(pattern).dataobj) for r in (self, other))
        inside = theirs != 0
        return np.corrcoef(mine[inside], theirs[inside])[0, 1]


@pytest.fixture(scope="module")
def plain(phantom, prepare):
    return prepare(phantom)


@pytest.fixture(scope="module")
def head(phantom, plain):
    return layouts.Head(phantom, plain.out)


def test_plain_bids_goes_the_whole_road(plain):
    assert plain.quality["TakenOver"] == {}
    assert {"n4", "extract", "normalize", "estimate", "fit"} <= plain.steps


@pytest.mark.parametrize("tool", ["fmriprep", "smriprep"])
def test_fmriprep_gives_bias_field_mask_and_transform(head, plain, prepare, tmp_path, tool):
    folder = layouts.write_fmriprep(tmp_path / tool, head)
    if tool == "smriprep":  # transforms to another template only
        for path in folder.rglob("*Phantom*"):
            path.unlink()
    made = prepare(layouts.write_people(tmp_path / "bids"), {tool: folder})
    assert not made.steps & {"n4", "extract"}
    assert ("normalize" in made.steps) == (tool == "smriprep")
    title = {"fmriprep": "fMRIPrep", "smriprep": "sMRIPrep"}[tool]
    steps = [BIAS, MASK] + ["registration to the template"] * (tool == "fmriprep")
    assert made.quality["TakenOver"] == dict.fromkeys(steps, title)
    assert made.agrees(plain, T1W) > (0.98 if tool == "fmriprep" else 0.9)
    assert f"taken over from {title} (Esteban" in re.sub("<[^>]*>", "", made.page())


def test_qsiprep_gives_the_series_in_the_space_of_its_t1w(head, plain, prepare, tmp_path):
    folder = layouts.write_qsiprep(tmp_path / "qsiprep", head)
    made = prepare(layouts.write_people(tmp_path / "bids"), {"qsiprep": folder})
    assert not made.steps & {"n4", "extract", "estimate", "find"}
    assert made.quality["TakenOver"][SERIES] == "QSIPrep"
    assert made.quality["motion_mm"] == pytest.approx(0.25)
    assert made.white_matter_rank() > 0.85
    # A series that lies on disk already is not written again.
    assert not list(made.out.glob("sub-*/**/*_dwi.nii.gz"))
    about = made.about(FA)
    assert any(uri.startswith("bids:qsiprep:sub-001/ses-a/dwi/") for uri in about["Sources"])
    links = json.loads((made.out / "dataset_description.json").read_text())["DatasetLinks"]
    assert links["qsiprep"] == folder.as_uri()


@pytest.mark.parametrize("space", ["Phantom", "ACPC"])
def test_qsirecon_gives_maps_that_are_not_fitted_again(head, plain, prepare, tmp_path, space):
    given = {"qsirecon": layouts.write_qsirecon(tmp_path / "qsirecon", head, space)}
    if space == "ACPC":
        given["qsiprep"] = layouts.write_qsiprep(tmp_path / "qsiprep", head, template="Phantom")
    made = prepare(layouts.write_people(tmp_path / "bids"), given)
    assert "fit" not in made.steps and "normalize" not in made.steps
    assert made.quality["TakenOver"]["diffusion maps"] == "QSIRecon"
    if space == "Phantom":  # on the group grid already
        assert made.agrees(plain, FA) > 0.999
    assert made.white_matter_rank() > 0.85
    md = np.asarray(made.image("*space-Phantom*param-md_dwimap.nii.gz").dataobj)
    assert 2e-4 < np.median(md[md > 0]) < 3e-3  # mm²/s, though they came in µm²/ms
    about = made.about(FA)
    assert about["Fit"] == "QSIRecon"


def test_an_hcp_folder_runs_without_a_bids_dataset(head, plain, prepare, tmp_path):
    folder = layouts.write_hcp(tmp_path / "hcp", head)
    made = prepare(folder, {"hcp": folder})
    assert made.path.name == "sub-100307_quality.json"
    assert not made.steps & {"n4", "extract", "estimate", "find"}
    assert made.quality["motion_mm"] == pytest.approx(0.125)
    assert made.agrees(plain, T1W) > 0.9 and made.white_matter_rank() > 0.85
    assert set(made.quality["TakenOver"].values()) == {"the HCP pipelines"}


def test_cc359_runs_from_its_folders_and_file_names(head, plain, prepare, tmp_path):
    folder = layouts.write_cc359(tmp_path / "cc359", head)
    made = prepare(folder, {"cc359": folder})
    assert made.path.name == "sub-CC0001_quality.json"
    assert "n4" in made.steps and "extract" not in made.steps
    assert made.quality["TakenOver"] == {MASK: "CC-359"}
    assert made.agrees(plain, T1W) > 0.9
    truth = nib.as_closest_canonical(nib.load(head.true_mask))
    mask = made.image("sub-CC0001_desc-brain_mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(truth.dataobj) > 0)


def test_sessions_runs_and_reconstructions_run_with_shipped_masks(head, plain, prepare, tmp_path):
    bids = layouts.write_runs(tmp_path / "bids", head)
    made = prepare(bids, {"masks": bids / "derivatives/masks"})
    assert made.path.parent.name == "ses-1"
    assert made.quality["Runs"]["chosen"].endswith("run-2_T1w.nii.gz")
    assert {"n4", "pool", "unite"} <= made.steps and "extract" not in made.steps
    joined = made.image("*_desc-preproc_dwi.nii.gz").shape[3]
    assert joined == 2 * nib.load(head.dwi("nii.gz")).shape[3]
    assert "the sharpest was taken" in made.page()
    assert made.agrees(plain, T1W) > 0.9


def test_a_dry_run_lists_what_is_taken_over(phantom, head, tmp_path, capsys):
    folder = layouts.write_fmriprep(tmp_path / "fmriprep", head)
    bids = layouts.write_people(tmp_path / "bids")
    command = [bids, tmp_path / "out", "participant", "--dry-run", "--template", "Phantom",
               "--templates-dir", phantom / "derivatives/phantom/templates",
               "--derivatives", f"fmriprep={folder}"]  # fmt: skip
    assert cli.main([str(word) for word in command]) == 0
    block = " ".join(capsys.readouterr().out.split("\n\n")[0].split())
    assert block.startswith("sub-001: to prepare, about ")
    assert f"taken over from fMRIPrep: {BIAS}, " in block


def test_a_slab_and_unknown_sides_are_told_everywhere(head, prepare, tmp_path):
    bids, anat = layouts.write_people(tmp_path / "bids"), f"{layouts.PERSON}/anat"
    scan = nib.load(head.t1w)
    silent = nib.Nifti1Image(np.asarray(scan.dataobj), scan.affine)
    for code in (silent.set_sform, silent.set_qform):
        code(None, 0)
    # The T1w lies beside the session of the diffusion series.
    (bids / anat).mkdir(parents=True)
    silent.to_filename(bids / anat / f"{layouts.PERSON}_T1w.nii.gz")
    series = nib.load(head.dwi("nii.gz"))
    stem = bids / layouts.PERSON / "ses-1" / "dwi" / f"{layouts.PERSON}_ses-1_dwi"
    for end in ("bval", "bvec", "json"):
        layouts.put(head.dwi(end), stem.with_name(f"{stem.name}.{end}"))
    axis = int(np.argmax(np.abs(series.affine[2, :3])))
    slab = [slice(None)] * 4
    slab[axis] = slice(series.shape[axis] // 2, None)
    series.slicer[tuple(slab)].to_filename(stem.with_name(f"{stem.name}.nii.gz"))
    made = prepare(bids)
    assert 0.2 < made.quality["coverage_dwi"] < 0.8 < made.quality["coverage_t1w"] <= 1
    assert made.quality["orientation_known"] == 0
    page = made.page()
    assert "its left and right are unknown" in page and "as ses-1 has none" in page
    assert "Coverage of the diffusion series" in page
    masks = sorted(path.name for path in made.out.rglob("*desc-coverage_mask.nii.gz"))
    assert len(masks) == 2
    about = json.loads(next(made.out.rglob("*desc-preproc_T1w.json")).read_text())
    assert about["LeftRight"].startswith("unknown")
