"""Tests of what is written beside fitted maps, and of the choices that reach the fits."""

import json

import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.cohort.maps import ENTRIES
from bids_sexclf.diffusion.families import BY_LABEL, FAMILIES
from bids_sexclf.errors import ToolError
from bids_sexclf.participant.maps import check_tools, init_maps_wf, methods
from bids_sexclf.participant.outputs import WriteDerivatives
from bids_sexclf.settings import Preparation
from bids_sexclf.volumes import save

EVERY = ["noddi", "kurtosis"]


def write(tmp_path, preparation):
    """Write a file for every map of every family, on both grids, through the node."""
    stems = [f"{f.label}_{name}.nii.gz" for f in FAMILIES.values() for name in f.records]
    for stem in stems:
        for name in (stem, f"carried_{stem}"):
            save(np.ones((4, 4, 4)), np.eye(4), tmp_path / name)
    (tmp_path / "quality.json").write_text("{}")
    WriteDerivatives(
        out=str(tmp_path / "out"),
        participant_id="sub-01",
        sources={"dwi": "sub-01/dwi/sub-01_dwi.nii.gz"},
        provenance=preparation.provenance(),
        maps=[str(tmp_path / stem) for stem in stems],
        maps_template=[str(tmp_path / f"carried_{stem}") for stem in stems],
        quality=str(tmp_path / "quality.json"),
    ).run(cwd=str(tmp_path))
    return tmp_path / "out"


def test_every_map_is_found_by_its_entry_with_its_meaning_beside_it(tmp_path):
    out = write(tmp_path, Preparation(dwi_models=EVERY, fit_engine="fsl"))
    for name, family in FAMILIES.items():
        for place in ("native", "template"):
            found = layout.find_derivatives(out, f"{name}_{place}")
            assert {entry["param"] for entry in found} == {key.lower() for key in family.records}
            for entry in found:
                about = json.loads(layout.sidecar(out / entry["path"]).read_text())
                record = family.records[entry["param"].upper()]
                assert about["Units"] == record.units
                assert about["Description"] == record.description
                assert ("dtifit" in about["Fit"]) == (name == "tensor")
                assert ("Clip" in about) == (name == "kurtosis")


def test_the_group_level_knows_every_map_by_the_entry_it_is_written_under():
    for name, family in FAMILIES.items():
        for key in family.records:
            assert ENTRIES[key] == f"{name}_template"
    assert BY_LABEL == {"tensor": "tensor", "dki": "kurtosis", "noddi": "noddi"}


def test_choices_reach_the_fits_and_the_methods_text():
    preparation = Preparation(dwi_models=EVERY, fit_engine="dipy")
    assert preparation.dwi_models == ["tensor", "kurtosis", "noddi"]
    fit = init_maps_wf(preparation=preparation, threads=3).get_node("fit")
    assert fit.interface.inputs.models == preparation.dwi_models
    assert fit.interface.inputs.engine == "dipy"
    assert fit.interface.inputs.num_threads == fit.n_procs == 3
    text = methods(preparation.provenance())
    assert text.count("dipy") == 2 and "NODDI" in text
    assert "NODDI" not in methods(Preparation().provenance())


def test_fsl_that_is_absent_is_refused_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    check_tools(Preparation())
    with pytest.raises(ToolError, match="dtifit.*Install FSL"):
        check_tools(Preparation(fit_engine="fsl"))
