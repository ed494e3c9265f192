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
