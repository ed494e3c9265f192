import json
from pathlib import Path

import numpy as np
import pytest

from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.interfaces import eddy
from bids_sexclf.volumes import save

FAKE = """#!/bin/sh
echo "$@" > {said}
for word in "$@"; do case $word in --out=*) base=${{word#--out=}};; esac; done
: > $base.nii.gz; : > $base.eddy_parameters; : > $base.eddy_rotated_bvecs
echo "0 0" > $base.eddy_restricted_movement_rms
"""


def test_sidecar_becomes_a_row_of_acqparams():
    told = {"PhaseEncodingDirection": "i", "TotalReadoutTime": 0.04}
    assert eddy.encoding_row(told) == (1, 0, 0, 0.04)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"PhaseEncodingDirection": "j"},
        {"TotalReadoutTime": 0.05},
        {"PhaseEncodingDirection": "AP", "TotalReadoutTime": 0.05},
    ],
)
def test_a_sidecar_that_says_too_little_is_met_with_a_word(told):
    with pytest.raises(InputError, match="--eddy-engine fsl"):
        eddy.encoding_row(told)


def test_absent_program_is_met_with_a_word(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="eddy-engine ants"):
        eddy.find_eddy()


@pytest.mark.parametrize(("counts", "shelled"), [((2, 12), True), ((1, 2, 3, 2), False)])
def test_command_line_holds_what_eddy_needs(monkeypatch, tmp_path, counts, shelled):
    said = tmp_path / "said"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "eddy_cpu"
    program.write_text(FAKE.format(said=said))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FSLOUTPUTTYPE", "NIFTI_GZ")
    bvals = np.repeat(np.arange(len(counts)) * 1000, counts)
    np.savetxt(tmp_path / "bval", [bvals])
    np.savetxt(tmp_path / "bvec", np.zeros((3, len(bvals))))
    save(np.ones((4, 4, 4, len(bvals)), np.float32), np.eye(4), tmp_path / "dwi.nii.gz")
    save(np.ones((4, 4, 4), bool), np.eye(4), tmp_path / "mask.nii.gz")
    files = eddy.EddyFiles(bval=str(tmp_path / "bval"), row=(0, -1, 0, 0.05))
    files = files.run(cwd=str(tmp_path)).outputs
    assert Path(files.acqp).read_text().split() == ["0", "-1", "0", "0.05"]
    assert Path(files.index).read_text().split() == ["1"] * len(bvals)
    names = {"in_file": "dwi.nii.gz", "in_mask": "mask.nii.gz", "in_bval": "bval"}
    given = {key: str(tmp_path / name) for key, name in (names | {"in_bvec": "bvec"}).items()}
    node = eddy.FoundEddy(
        **given, in_acqp=files.acqp, in_index=files.index, repol=True, args="--initrand=7"
    )
    node.run(cwd=str(tmp_path))
    words = said.read_text().split()
    for flag, path in (("imain", "dwi.nii.gz"), ("mask", "mask.nii.gz"), ("bvals", "bval")):
        assert any(word.startswith(f"--{flag}=") and word.endswith(path) for word in words)
    assert {"--repol", "--initrand=7"} < set(words)
    assert ("--data_is_shelled" in words) == shelled


def test_motion_of_eddy_is_read_as_displacement_between_volumes(tmp_path):
    (tmp_path / "rms").write_text("0 0.3\n1.5 1.5\n1.6 0.2\n")
    out = eddy.ReadEddyMotion(in_file=str(tmp_path / "rms")).run(cwd=str(tmp_path)).outputs
    assert json.loads(Path(out.out_file).read_text())["displacement_mm"] == [0.0, 1.5, 0.2]
