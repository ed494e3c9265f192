"""Finished means seen: outputs that are whole, inputs of the same content, equal choices."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf import fingerprints
from bids_sexclf.disk import write_json
from bids_sexclf.errors import InputError
from bids_sexclf.participant.cache import GRAPH, forget_changed, forget_incomplete, list_reads
from bids_sexclf.participant.finished import (
    digest_plan,
    find_places,
    judge,
    name_input,
    quality_name,
    record_inputs,
    record_outputs,
    remove_outputs,
    withdraw,
)
from bids_sexclf.resources import Template
from bids_sexclf.settings import Preparation

ROW = {
    "participant_id": "sub-01",
    "session_id": None,
    "t1w": "sub-01/anat/sub-01_T1w.nii.gz",
    "note": None,
    "metadata": {"EchoTime": 0.09},
}
FA = "sub-01/dwi/sub-01_model-tensor_param-fa_dwimap.nii.gz"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Write a dataset, a template, an atlas, and the results of one participant."""
    monkeypatch.setattr(fingerprints, "SETTLED_NS", 10_000_000)
    for name in ("bids/" + ROW["t1w"], "tpl-T/head", "atlas.nii.gz", "out/" + FA, "mine/mask"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + path.name.encode())
    (tmp_path / "out" / "sub-01.html").write_text("page")
    time.sleep(0.03)
    head = tmp_path / "tpl-T" / "head"
    places = find_places(
        tmp_path / "bids",
        tmp_path / "out",
        Template("T", head, head, head, tmp_path / "tpl-T"),
        {"masks": tmp_path / "mine"},
        {"template:head": head, "atlas:A:image": tmp_path / "atlas.nii.gz"},
    )
    write_quality(places)
    return places


def reads(places):
    return [
        places["raw"] / ROW["t1w"],
        places["masks"] / "mask",
        places["out"] / "tpl-T" / "brain",
        places["template"] / "head",
    ]


def write_quality(places):
    """Write the quality file as the last step does."""
    out = places["out"]
    size = (out / FA).stat().st_size
    quality = {
        "GeneratedWith": Preparation().provenance(),
        "Scans": {"t1w": ROW["t1w"]},
        "Plan": digest_plan(ROW, places),
        "Inputs": record_inputs(ROW, reads(places), places),
        "Outputs": {FA: size, "sub-01.html": None},
    }
    write_json(quality, out / quality_name(ROW))


def verdict(places, row=ROW, **choices):
    return judge(row, Preparation(**choices), places)


def replace(path):
    """Put other content of the same size in a file's place, with the time of the one before."""
    state = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_mtime_ns == state.st_mtime_ns


def test_inputs_are_named_without_the_paths_of_a_machine(study):
    quality = json.loads((study["out"] / quality_name(ROW)).read_text())
    assert sorted(quality["Inputs"]) == [
        "atlas:A:image", "bids:masks:mask", f"bids:raw:{ROW['t1w']}", "template:head",
    ]  # fmt: skip
    assert set(quality["Inputs"]["template:head"]) == {"size", "sha256"}
    assert name_input(study["out"] / "tpl-T" / "brain", study) is None
    assert name_input("/data/fa.nii.gz", study) == "/data/fa.nii.gz"
    inside = study | {"template": study["raw"] / "tpl"}
    assert name_input(study["raw"] / "tpl" / "head", inside) == "template:head"
    around = study | {"out": study["raw"].parent}  # results beside the dataset
    assert name_input(study["raw"] / ROW["t1w"], around) == f"bids:raw:{ROW['t1w']}"


def test_what_is_whole_and_unchanged_is_finished_and_no_file_is_read(study, monkeypatch):
    monkeypatch.setattr(fingerprints, "digest_file", lambda path: pytest.fail(f"{path} was read"))
    assert verdict(study).finished


def test_finished_holds_where_files_are_touched_copied_or_logs_are_lost(study, tmp_path):
    os.utime(study["raw"] / ROW["t1w"], (1, 1))
    assert verdict(study).finished
    shutil.rmtree(study["out"] / "logs")
    moved = tmp_path / "moved"
    shutil.copytree(study["raw"], moved)
    assert verdict(study | {"raw": moved}).finished


@pytest.mark.parametrize("which", range(4))
def test_another_content_under_the_old_name_is_seen(study, which):
    """Of a scan, of what others have prepared, of the template, of an atlas."""
    path = [*(reads(study)[i] for i in (0, 1, 3)), study["shared"]["atlas:A:image"]][which]
    replace(path)
    found = verdict(study)
    assert not found.finished and found.stale and "changed since" in found.reason
    path.unlink()
    assert not verdict(study).finished


def test_a_missing_or_cut_output_is_seen_and_the_rest_stays(study):
    (study["out"] / FA).write_bytes(b"cut")
    found = verdict(study)
    assert not found.finished and not found.stale and Path(FA).name in found.reason
    (study["out"] / FA).unlink()
    assert not verdict(study).finished and not verdict(study).stale


def test_an_output_of_another_content_and_the_same_size_is_seen(study):
    record_outputs("sub-01", None, [FA], study["out"])
    assert verdict(study).finished
    replace(study["out"] / FA)
    found = verdict(study)
    assert not found.finished and not found.stale
    assert found.reason == f"{Path(FA).name} has another content than was written"
    shutil.rmtree(study["out"] / "logs" / "fingerprints")  # then only the size is known
    assert verdict(study).finished


def test_outputs_are_read_once_where_it_may_be_noted(study, monkeypatch):
    record_outputs("sub-01", None, [FA], study["out"])
    cache = study["out"] / "logs" / "fingerprints" / "sub-01_outputs.json"
    os.utime(study["out"] / FA, (1, 1))
    before = cache.read_bytes()
    assert verdict(study).finished and cache.read_bytes() == before
    time.sleep(0.03)
    assert judge(ROW, Preparation(), study, remember=True).finished
    monkeypatch.setattr(fingerprints, "digest_file", lambda path: pytest.fail(f"{path} was read"))
    assert verdict(study).finished
    cache.write_text('{"' + FA + '": {"size": 3}}')
    assert verdict(study).finished


def test_a_page_may_be_written_again_and_may_not_be_missing(study):
    (study["out"] / "sub-01.html").write_text("another page")
    assert verdict(study).finished
    (study["out"] / "sub-01.html").unlink()
    assert not verdict(study).finished


def test_other_scans_sidecars_atlases_or_places_are_seen(study):
    assert not verdict(study, ROW | {"dwi": "new.nii.gz"}).finished
    assert not verdict(study, ROW | {"metadata": {"EchoTime": 0.1}}).finished
    more = study["shared"] | {"atlas:B:image": study["shared"]["template:head"]}
    assert not verdict(study | {"shared": more}).finished
    assert not verdict({key: place for key, place in study.items() if key != "masks"}).finished


def test_other_choices_are_refused(study):
    with pytest.raises(InputError, match="one set of choices per output folder"):
        verdict(study, resolution=1.0)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}", '{"GeneratedWith": 3}'])
def test_a_damaged_quality_file_is_made_again(study, content):
    (study["out"] / quality_name(ROW)).write_text(content)
    found = verdict(study)
    assert not found.finished and found.stale and "damaged" in found.reason


def test_a_quality_file_without_a_record_is_made_again(study):
    path = study["out"] / quality_name(ROW)
    quality = json.loads(path.read_text())
    del quality["Outputs"]
    path.write_text(json.dumps(quality))
    assert "earlier version" in verdict(study).reason


def test_only_the_participants_own_files_are_withdrawn(study, tmp_path):
    out = study["out"]
    others = [out / "sub-02" / "file", tmp_path / "bids" / ROW["t1w"], out / "sub-01" / "mine.txt"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("kept")
    named = ["sub-02/file", "../bids/" + ROW["t1w"], str(others[1]), "sub-01/../sub-02/file"]
    remove_outputs(out, "sub-01", dict.fromkeys(named))
    withdraw(ROW, out)
    assert [path.read_text() for path in others] == ["kept"] * 3
    assert not (out / FA).exists() and not (out / quality_name(ROW)).exists()


# -- steps in the work folder ----------------------------------------------------------------------


class _In(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    log = traits.Str()


class _Out(TraitedSpec):
    out_file = File(exists=True)


class Copy(SimpleInterface):
    """Copy a file, and leave a sign that it was copied."""

    input_spec, output_spec = _In, _Out

    def _run_interface(self, runtime):
        target = Path(runtime.cwd, "copied")
        shutil.copyfile(self.inputs.in_file, target)
        Path(self.inputs.log, Path(runtime.cwd).name).touch()
        self._results["out_file"] = str(target)
        return runtime


def build(folder):
    """Build a workflow of two routes: a -> b behind a node that hands on, and c alone."""
    inner = Workflow("inner_wf")
    given = Node(IdentityInterface(fields=["in_file"]), "inputnode")
    log = str(folder / "log")
    a, b, c = (Node(Copy(log=log), name) for name in "abc")
    inner.connect([(given, a, [("in_file", "in_file")]), (a, b, [("out_file", "in_file")])])
    inner.inputs.inputnode.in_file = str(folder / "one")
    c.inputs.in_file = str(folder / "two")
    workflow = Workflow("sub_01_wf")
    workflow.add_nodes([inner, c])
    return workflow


def run(folder):
    """Run what is not made yet; give the names of the steps that ran, and what changed."""
    (folder / "log").mkdir()
    workflow = build(folder)
    changed = forget_changed(folder / "work", workflow, list_reads(workflow))
    forget_incomplete(folder / "work", workflow)
    graph = Workflow(GRAPH, base_dir=str(folder / "work"))
    graph.add_nodes([workflow])
    graph.run(plugin="Linear")
    names = sorted(path.name for path in (folder / "log").iterdir())
    shutil.rmtree(folder / "log")
    return names, changed


def test_steps_that_have_read_another_content_run_again_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "SETTLED_NS", 10_000_000)
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"content of {name}")
    time.sleep(0.03)
    assert run(tmp_path) == (["a", "b", "c"], [])
    assert run(tmp_path) == ([], [])
    replace(tmp_path / "one")
    assert run(tmp_path) == (["a", "b"], [str(tmp_path / "one")])
    last = tmp_path / "work" / GRAPH / "sub_01_wf" / "inner_wf" / "b" / "copied"
    assert last.read_text() == "content of one"[::-1]
    assert run(tmp_path) == ([], [])


def test_steps_whose_results_are_gone_or_damaged_run_again(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"content of {name}")
    run(tmp_path)
    home = tmp_path / "work" / GRAPH / "sub_01_wf"
    (home / "inner_wf" / "b" / "copied").unlink()
    assert run(tmp_path)[0] == ["b"]
    result = home / "c" / "result_c.pklz"
    result.write_bytes(result.read_bytes()[:50])
    assert run(tmp_path)[0] == ["c"]
    (home / "inner_wf" / "a" / "copied").unlink()
    assert run(tmp_path)[0] == ["a", "b"]
