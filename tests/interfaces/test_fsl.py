import json

import numpy as np
import pytest

from bids_sexclf.errors import ToolError
from bids_sexclf.interfaces import fsl as shell
from bids_sexclf.volumes import load, save

CROP = """
import nibabel as nib
image = nib.load(sys.argv[sys.argv.index("-i") + 1])
cut = image.slicer[:, 2:, 4:]
nib.save(cut, sys.argv[sys.argv.index("-r") + 1])
Path(sys.argv[sys.argv.index("-m") + 1]).write_text("")
"""
THRESHOLD = """
import nibabel as nib
import numpy as np
image = nib.load(sys.argv[1])
mask = np.asarray(image.dataobj) > 50
out = sys.argv[2]
nib.save(nib.Nifti1Image(mask.astype("u1"), image.affine), out.replace(".nii", "_mask.nii"))
nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * mask, image.affine), out)
"""
EMPTY = THRESHOLD.replace("> 50", "> 1e9")


def commands(record):
    return [json.loads(line) for line in record.read_text().splitlines()]


@pytest.fixture
def head(tmp_path):
    """A dark head with a bright box, on an oblique grid."""
    array = np.full((10, 12, 14), 20.0)
    array[3:7, 4:9, 6:12] = 100.0
    affine = np.array([[2, 0.2, 0, -9], [-0.2, 2, 0.1, -7], [0, -0.1, 2, 5], [0, 0, 0, 1.0]])
    save(array, affine, tmp_path / "head.nii.gz")
    return tmp_path / "head.nii.gz"


def test_bet_is_called_on_the_cropped_head_and_its_mask_lies_on_the_whole_one(
    programs, head, tmp_path
):
    record = programs(robustfov=CROP, bet=THRESHOLD)
    (tmp_path / "node").mkdir()
    found = shell.Bet(in_file=str(head), frac=0.4).run(cwd=str(tmp_path / "node")).outputs
    crop, cut = commands(record)
    assert crop[:3] == ["robustfov", "-i", str(head)]
    assert cut[0] == "bet" and cut[1].endswith("head.nii.gz") and cut[1] != str(head)
    assert {"-m", "-R"} <= set(cut) and cut[cut.index("-f") + 1] == "0.40"
    scan, affine = load(head)
    mask, other = load(found.mask_file)
    np.testing.assert_allclose(other, affine, atol=1e-4)
    np.testing.assert_array_equal(mask > 0, scan > 50)
    np.testing.assert_array_equal(load(found.out_file)[0], np.where(scan > 50, scan, 0))


def test_bet_that_finds_no_brain_is_told_in_one_sentence(programs, head, tmp_path):
    programs(robustfov=CROP, bet=EMPTY)
    with pytest.raises(ToolError, match="left no brain"):
        shell.Bet(in_file=str(head)).run(cwd=str(tmp_path))


def test_a_program_that_fails_is_named_with_what_it_said(programs, head, tmp_path):
    programs(robustfov="sys.exit('ERROR: cannot open volume')", bet=THRESHOLD)
    with pytest.raises(ToolError, match="(?s)robustfov failed.*cannot open volume"):
        shell.Bet(in_file=str(head)).run(cwd=str(tmp_path))


def test_programs_that_are_missing_are_all_named_at_the_start(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="no flirt, fnirt on the PATH"):
        shell.check_fsl("flirt", "fnirt")


OPTION = """
import json
import numpy as np
given = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
"""
FLIRT = """
import numpy as np
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
np.savetxt(given["-omat"], np.eye(4))
Path(given["-out"]).write_text("")
"""
FNIRT = (
    OPTION
    + """
Path(given["cout"]).write_text(json.dumps({"moving": given["in"], "fixed": given["ref"], "by": 4}))
for name in ("iout", "logout"):
    Path(given[name]).write_text("")
"""
)
INVWARP = (
    OPTION
    + """
there = json.loads(Path(given["warp"]).read_text())
back = {"moving": there["fixed"], "fixed": given["ref"], "by": -there["by"]}
Path(given["out"]).write_text(json.dumps(back))
"""
)
CONVERTWARP = (
    OPTION
    + """
import nibabel as nib
from bids_sexclf.volumes import Grid
from bids_sexclf.warps import fsl_axes
warp = json.loads(Path(given["warp1"]).read_text())
assert warp["fixed"].split("/")[-1].replace("head", "brain") == given["ref"].split("/")[-1]
images = [nib.load(warp["moving"]), nib.load(given["ref"])]
moving, fixed = (Grid(image.shape, image.affine) for image in images)
voxels = np.stack(np.meshgrid(*map(np.arange, fixed.shape), indexing="ij"), axis=-1)
points = nib.affines.apply_affine(fixed.affine, voxels) + [warp["by"], 0, 0]
points = nib.affines.apply_affine(fsl_axes(moving) @ np.linalg.inv(moving.affine), points)
nib.save(nib.Nifti1Image(points.astype("f4"), fixed.affine), given["out"])
"""
)
FSL = {"flirt": FLIRT, "fnirt": FNIRT, "invwarp": INVWARP, "convertwarp": CONVERTWARP}


@pytest.fixture
def pair(tmp_path):
    """Two grids of one world, mirrored to each other, with a slope that tells where a voxel is."""
    grids = {
        "moving": np.array([[2.0, 0, 0, -13], [0, 2, 0, -13], [0, 0, 2, -13], [0, 0, 0, 1]]),
        "fixed": np.array([[-1.5, 0, 0, 10], [0, 1.5, 0, -10], [0, 0, 1.5, -10], [0, 0, 0, 1]]),
    }
    for name, affine in grids.items():
        world = np.indices((14, 14, 14)).transpose(1, 2, 3, 0) @ affine[:3, :3].T + affine[:3, 3]
        for kind in ("brain", "head"):
            save(world @ [1, 10, 100.0], affine, tmp_path / f"{name}_{kind}.nii.gz")
    save(np.ones((14, 14, 14)), grids["fixed"], tmp_path / "fixed_mask.nii.gz")
    return {path.name.split(".")[0]: str(path) for path in tmp_path.glob("*.nii.gz")}


def normalized(pair, tmp_path, **more):
    (tmp_path / "node").mkdir(exist_ok=True)
    node = shell.NormalizeFsl(in_file=pair["moving_brain"], fixed=pair["fixed_brain"], **more)
    return node.run(cwd=str(tmp_path / "node")).outputs


def test_a_t1w_goes_through_flirt_with_its_brain_and_through_fnirt_with_its_head(
    programs, pair, tmp_path
):
    record = programs(**FSL)
    heads = {"head": pair["moving_head"], "fixed_head": pair["fixed_head"]}
    normalized(pair, tmp_path, fixed_mask=pair["fixed_mask"], **heads)
    flirt, fnirt, invwarp, *convert = commands(record)
    assert flirt[1:5] == ["-in", pair["moving_brain"], "-ref", pair["fixed_brain"]]
    assert flirt[flirt.index("-dof") + 1] == "12"
    assert {f"--in={pair['moving_head']}", f"--ref={pair['fixed_head']}"} <= set(fnirt)
    assert "--config=T1_2_MNI152_2mm" in fnirt
    assert f"--aff={flirt[flirt.index('-omat') + 1]}" in fnirt
    assert any(word.startswith("--refmask=") for word in fnirt)
    assert invwarp[0] == "invwarp" and f"--ref={pair['moving_brain']}" in invwarp
    assert [line[0] for line in convert] == ["convertwarp"] * 2
    assert all("--absout" in line for line in convert)


def test_fa_is_registered_without_its_rim(programs, pair, tmp_path):
    record = programs(**FSL)
    normalized(pair, tmp_path, config="FA_2_FMRIB58_1mm", trim=True)
    flirt, fnirt = commands(record)[:2]
    trimmed = flirt[flirt.index("-in") + 1]
    assert trimmed.endswith("trimmed.nii.gz") and f"--in={trimmed}" in fnirt
    assert "--config=FA_2_FMRIB58_1mm" in fnirt
    assert np.count_nonzero(load(trimmed)[0]) < np.count_nonzero(load(pair["moving_brain"])[0])


@pytest.mark.parametrize(
    "direction, fixed, by", [("forward", "fixed", 4), ("inverse", "moving", -4)]
)
def test_what_fnirt_found_is_carried_by_ants_in_one_interpolation(
    programs, pair, tmp_path, direction, fixed, by
):
    from bids_sexclf.interfaces.ants import Carry

    programs(**FSL)
    found = getattr(normalized(pair, tmp_path), direction)
    moving = pair["moving_brain" if fixed == "fixed" else "fixed_brain"]
    carry = Carry(in_files=[moving], reference=pair[f"{fixed}_brain"], transforms=[found])
    carried = load(carry.run(cwd=str(tmp_path)).outputs.out_files)[0]
    expected = load(pair[f"{fixed}_brain"])[0] + by
    inside = (slice(4, 10),) * 3
    np.testing.assert_allclose(carried[inside], expected[inside], atol=0.02)


@pytest.mark.needs_fsl
def test_flirt_and_fnirt_bring_a_stretched_fa_map_back(real_data, tmp_path):
    """The real programs, where they are; truth is the template before it was stretched."""
    try:
        shell.check_fsl("flirt", "fnirt", "invwarp", "convertwarp")
    except ToolError as fault:
        pytest.skip(str(fault))
    from bids_sexclf.interfaces.ants import Carry
    from bids_sexclf.volumes import Grid, resample, rescale_grid

    fa, affine = load(real_data / "fsl/data/standard/FMRIB58_FA_1mm.nii.gz", ndim=3)
    grid = rescale_grid(Grid(fa.shape, affine), 2.0)
    fa = resample(fa, affine, grid)
    turn = np.array([[1.05, 0.08, 0, 4], [-0.08, 0.97, 0, -3], [0, 0, 1.0, 5], [0, 0, 0, 1]])
    save(fa, grid.affine, tmp_path / "fixed.nii.gz")
    save(fa, turn @ grid.affine, tmp_path / "moving.nii.gz")
    node = shell.NormalizeFsl(
        in_file=str(tmp_path / "moving.nii.gz"),
        fixed=str(tmp_path / "fixed.nii.gz"),
        config="FA_2_FMRIB58_1mm",
        trim=True,
    )
    found = node.run(cwd=str(tmp_path)).outputs
    carry = Carry(
        in_files=[str(tmp_path / "moving.nii.gz")],
        reference=str(tmp_path / "fixed.nii.gz"),
        transforms=[found.forward],
    )
    carried = load(carry.run(cwd=str(tmp_path)).outputs.out_files)[0]
    assert np.corrcoef(carried[fa > 0], fa[fa > 0])[0, 1] > 0.97
