"""Which route diffusion maps take, what is refused before it, and where it leads."""

import json

import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.anatomy.brain import trim_rim
from bids_sexclf.derivatives.prepared import Record
from bids_sexclf.errors import ToolError
from bids_sexclf.participant import register
from bids_sexclf.participant.outputs import WriteDerivatives
from bids_sexclf.settings import Preparation
from bids_sexclf.volumes import load, save


@pytest.fixture
def fsldir(tmp_path, monkeypatch):
    """Lay out what FSL's folder holds of FA templates."""
    path = tmp_path / "fsl" / "data" / "standard" / "FMRIB58_FA_1mm.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_text("")
    monkeypatch.setenv("FSLDIR", str(tmp_path / "fsl"))
    return path


@pytest.fixture
def no_fsl(tmp_path, monkeypatch):
    monkeypatch.delenv("FSLDIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def route(has_t1w, **choices):
    record = Record(t1w=("t1w.nii.gz",) * has_t1w, dwi=("dwi.nii.gz",))
    return register.choose_route(record, Preparation(**choices).provenance())


def test_fsls_template_is_taken_in_its_own_space_only(fsldir):
    assert route(False) == "fa" and route(True) == "t1w"
    assert route(False, template="MNI152NLin2009cAsym") == "b0"
    assert route(True, dwi_normalization="fa") == "fa"
    assert route(False, dwi_normalization="t1w") == "b0"


def test_data_that_lie_where_they_belong_are_not_registered_again(no_fsl):
    choices = Preparation().provenance()
    there = Record(t1w=("t1w.nii.gz",), dwi=("dwi.nii.gz",), aligned=True)
    assert register.choose_route(there, choices) == "aligned"
    assert (
        register.choose_route(Record(maps={"FA": "fa"}, maps_space="template"), choices) == "grid"
    )


def test_without_a_template_nothing_is_promised_that_cannot_be_kept(no_fsl, tmp_path):
    assert route(False) == "b0"
    register.check_tools(Preparation())
    with pytest.raises(ToolError, match="no FA template.*--fa-template"):
        register.check_tools(Preparation(dwi_normalization="fa"))
    with pytest.raises(ToolError, match="Correct --fa-template"):
        register.check_tools(Preparation(fa_template=tmp_path / "absent.nii.gz"))


def test_fsl_is_missed_before_any_scan_is_read(no_fsl, tmp_path):
    from bids_sexclf.participant.plan import plan
    from bids_sexclf.settings import Run

    templates = tmp_path / "tpl-T"
    for tail in ("T1w", "desc-brain_T1w", "desc-brain_mask"):
        save(np.ones((4, 4, 4)), np.diag([2, 2, 2, 1]), templates / f"tpl-T_res-2_{tail}.nii.gz")
    choices = Preparation(template="T", templates_dir=tmp_path, registration_engine="fsl")
    with pytest.raises(ToolError, match="no flirt, fnirt, invwarp, convertwarp on the PATH"):
        plan(tmp_path / "no_dataset_here", tmp_path / "out", Run(), choices)


def tracts(points):
    """Draw a few bright bundles in a ball of 40 mm; points in mm, shape (..., 3)."""
    rng = np.random.default_rng(3)
    value = np.full(points.shape[:-1], 0.1)
    for _ in range(7):
        centre, axis = rng.uniform(-22, 22, 3), rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        far = points - centre
        off = np.linalg.norm(far - (far @ axis)[..., None] * axis, axis=-1)
        value += 0.7 * np.exp(-((off / 5) ** 2) - ((far @ axis) / 25) ** 2)
    return np.clip(value, 0, 1) * (np.linalg.norm(points, axis=-1) < 40)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A template, and the same bundles turned, shifted and bent, with a bright noisy rim."""
    folder = tmp_path_factory.mktemp("bundles")
    affine = np.array([[-3.0, 0, 0, 48], [0, 3, 0, -48], [0, 0, 3, -48], [0, 0, 0, 1]])
    points = np.indices((33, 33, 33)).transpose(1, 2, 3, 0) @ affine[:3, :3].T + affine[:3, 3]
    # As FMRIB58 was: a mean of maps whose rim had been cut.
    brain, template = tracts(points) > 0, trim_rim(tracts(points))
    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1.02]])
    bent = points @ turn.T + [5, -6, 4] + 3 * np.sin(points[..., [1, 2, 0]] / 15)
    fa = tracts(bent)
    save(template * 10_000, affine, folder / "template.nii.gz")
    save(brain, affine, folder / "brain.nii.gz")
    from scipy.ndimage import binary_erosion

    rim = (fa > 0) & ~binary_erosion(fa > 0, np.ones((3, 3, 3)))
    save(
        np.where(rim, np.random.default_rng(0).random(fa.shape), fa), affine, folder / "rim.nii.gz"
    )
    save(fa, affine, folder / "tensor_FA.nii.gz")
    save(fa * 2, affine, folder / "tensor_MD.nii.gz")
    save(fa > 0, affine, folder / "mask.nii.gz")
    return folder, template


def test_a_bent_brain_is_brought_to_the_fa_template_with_all_its_maps(bundles, tmp_path):
    folder, template = bundles
    preparation = Preparation(
        fa_template=folder / "template.nii.gz", dwi_normalization="fa", sloppy=True
    )
    route = register.init_register_wf(
        route="fa", template=None, grid_file=folder / "brain.nii.gz", preparation=preparation
    )
    route.base_dir = str(tmp_path)
    maps = [str(folder / f"tensor_{name}.nii.gz") for name in ("MD", "FA")]
    b0_brain, mask = str(folder / "mask.nii.gz"), str(folder / "mask.nii.gz")
    route.inputs.inputnode.trait_set(maps=maps, mask=mask, measured=mask, b0_brain=b0_brain)
    nodes = {node.name: node for node in route.run().nodes()}
    md, fa = (load(path)[0] for path in nodes["carry"].result.outputs.out_files)
    core = load(folder / "brain.nii.gz")[0] > 0
    before = np.corrcoef(load(maps[1])[0][core], template[core])[0, 1]
    after = np.corrcoef(fa[core], template[core])[0, 1]
    assert before < 0.7 and after > 0.9
    np.testing.assert_allclose(md, 2 * fa, atol=1e-4)
    mask = load(nodes["carry_mask"].result.outputs.out_files)[0] > 0
    assert 2 * (mask & core).sum() / (mask.sum() + core.sum()) > 0.97


def test_what_the_rim_holds_does_not_move_the_brain(bundles, tmp_path):
    from bids_sexclf.interfaces.ants import Carry
    from bids_sexclf.interfaces.fa import NormalizeFa

    folder, carried = bundles[0], []
    for name in ("tensor_FA", "rim"):
        (tmp_path / name).mkdir()
        found = NormalizeFa(
            in_file=str(folder / f"{name}.nii.gz"),
            fixed=str(folder / "template.nii.gz"),
            sloppy=True,
        ).run(cwd=str(tmp_path / name))
        carry = Carry(
            in_files=[str(folder / "tensor_FA.nii.gz")],
            reference=str(folder / "brain.nii.gz"),
            transforms=[found.outputs.forward],
        )
        carried.append(load(carry.run(cwd=str(tmp_path / name)).outputs.out_files)[0])
    np.testing.assert_allclose(*carried, atol=1e-5)


@pytest.mark.parametrize("taken", ["t1w", "fa"])
def test_transforms_are_named_by_what_they_join_and_the_road_is_told(tmp_path, taken):
    field = tmp_path / "forward.nii.gz"
    save(np.zeros((4, 4, 4)), np.eye(4), field)
    save(np.full((4, 4, 4), 0.5), np.eye(4), tmp_path / "tensor_FA.nii.gz")
    (tmp_path / "q.json").write_text("{}")
    (tmp_path / "rigid.mat").write_text("")
    node = WriteDerivatives(
        out=str(tmp_path / "out"),
        participant_id="sub-01",
        sources={"t1w": "a_T1w.nii.gz", "dwi": "a_dwi.nii.gz"},
        provenance=Preparation(registration_engine="fsl").provenance(),
        quality=str(tmp_path / "q.json"),
        forward=str(field),
        inverse=str(field),
        dwi_transform=str(field if taken == "fa" else tmp_path / "rigid.mat"),
        maps_template=[str(tmp_path / "tensor_FA.nii.gz")],
        route=taken,
    )
    node.run(cwd=str(tmp_path))
    out, space = tmp_path / "out", "MNI152NLin6Asym"
    there = {"to": space} if taken == "fa" else {}
    for entry, more in (
        ("t1w_to_template_field", {"to": space}),
        ("template_to_t1w_field", {"from_": space}),
        ("dwi_to_template_field" if taken == "fa" else "dwi_to_t1w", there),
    ):
        assert (out / layout.derivative(entry, "sub-01", **more)).exists()
    quality = json.loads((out / layout.derivative("quality", "sub-01")).read_text())
    assert quality["dwi_route"] == taken
    path = layout.derivative("tensor_template", "sub-01", space=space, res="2", param="fa")
    about = json.loads(layout.sidecar(out / path).read_text())
    assert ("FNIRT" in about["Normalization"]) == (taken == "fa")
    assert about["Sources"] == [
        f"bids:raw:a_{kind}.nii.gz" for kind in (("T1w", "dwi") if taken == "t1w" else ("dwi",))
    ]
    assert ("volume was aligned rigidly" in (out / "sub-01.html").read_text()) == (taken == "t1w")
