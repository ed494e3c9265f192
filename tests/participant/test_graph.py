import numpy as np
import pytest
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.distortion.fieldmaps import Correction
from bids_sexclf.layout import REFERENCES
from bids_sexclf.participant.base import init_participant_wf
from bids_sexclf.participant.dwi import init_dwi_wf
from bids_sexclf.participant.series import Part
from bids_sexclf.resources import Template
from bids_sexclf.settings import Preparation

KINDS = {
    "T1w and diffusion": {"t1w": "t1w.nii.gz", "dwi": "dwi.nii.gz", "session_id": None},
    "T1w alone": {"t1w": "t1w.nii.gz", "dwi": None, "session_id": None},
    "diffusion alone": {"t1w": None, "dwi": "dwi.nii.gz", "session_id": None},
    "a session": {"t1w": "t1w.nii.gz", "dwi": "dwi.nii.gz", "session_id": "ses-1"},
}


@pytest.fixture
def build(tmp_path):
    def make(kind, atlases=(), derivatives=None, parts=None, **choices):
        names = ["t1w.nii.gz", "dwi.nii.gz", "dwi.bval", "dwi.bvec", *REFERENCES]
        for name in names:
            (tmp_path / name).write_text("")
        row = {"participant_id": "sub-01", "bval": "dwi.bval", "bvec": "dwi.bvec"} | KINDS[kind]
        row |= {"parts": parts} if parts else {}
        place = tmp_path / "brain"
        return init_participant_wf(
            row=row,
            root=tmp_path,
            out=tmp_path / "out",
            template=Template("T", place, place, place, tmp_path),
            references={kind: str(tmp_path / kind) for kind in REFERENCES},
            preparation=Preparation(**{"template": "T"} | choices),
            atlases=atlases,
            derivatives=derivatives,
        )

    return make


def mandatory_without_value(workflow):
    """List the mandatory inputs that no edge and no value feeds."""
    from nipype.interfaces.base import isdefined

    flat = workflow._create_flat_graph()
    missing = []
    for node in flat.nodes():
        fed = {
            field for _, _, data in flat.in_edges(node, data=True) for _, field in data["connect"]
        }
        for name in node.inputs.traits(mandatory=True):
            either = (name, *(node.inputs.trait(name).xor or ()))
            if not any(one in fed or isdefined(getattr(node.inputs, one)) for one in either):
                missing.append(f"{node.fullname}.{name}")
    return missing


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_participant_has_a_road_on_which_nothing_dangles(build, kind):
    workflow = build(kind)
    assert mandatory_without_value(workflow) == []
    for node in workflow._create_flat_graph().nodes():
        assert node.mem_gb > 0


def test_steps_follow_the_scans_at_hand(build):
    steps = {kind: set(build(kind).list_node_names()) for kind in KINDS}
    assert "anat_wf.n4" in steps["T1w alone"] and "maps_wf.fit" not in steps["T1w alone"]
    assert (
        "maps_wf.fit" in steps["diffusion alone"] and "anat_wf.n4" not in steps["diffusion alone"]
    )
    assert steps["T1w alone"] < steps["T1w and diffusion"]


ROUTES = {
    ("T1w and diffusion", "auto", False): "AlignRigid",
    ("T1w and diffusion", "auto", True): "AlignRigid",
    ("T1w and diffusion", "fa", True): "NormalizeFa",
    ("diffusion alone", "auto", True): "NormalizeFa",
    ("diffusion alone", "auto", False): "Normalize",
    ("diffusion alone", "t1w", True): "Normalize",
}


@pytest.mark.parametrize("kind, asked, at_hand", sorted(ROUTES))
def test_maps_take_the_road_asked_for_or_the_best_there_is(build, kind, asked, at_hand, tmp_path):
    template = tmp_path / "fa.nii.gz"
    template.write_text("")
    choices = {"fa_template": template} if at_hand else {}
    workflow = build(kind, dwi_normalization=asked, **choices)
    assert mandatory_without_value(workflow) == []
    find = workflow.get_node("register_wf.find").interface
    assert type(find).__name__ == ROUTES[kind, asked, at_hand]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("asked", ["auto", "fa"])
def test_fsl_finds_what_ants_would_on_the_same_road(build, kind, asked, tmp_path):
    template = tmp_path / "fa.nii.gz"
    template.write_text("")
    choices = {"fa_template": template, "dwi_normalization": asked}
    usual, fsl = build(kind, **choices), build(kind, registration_engine="fsl", **choices)
    assert mandatory_without_value(fsl) == []
    assert fsl.list_node_names() == usual.list_node_names()
    shells = {
        name: type(fsl.get_node(name).interface).__name__
        for name in fsl.list_node_names()
        if type(fsl.get_node(name).interface) is not type(usual.get_node(name).interface)
    }
    through_fa = "register_wf.find" in usual.list_node_names() and (
        asked == "fa" or kind == "diffusion alone"
    )
    expected = {"anat_wf.normalize"} if KINDS[kind]["t1w"] else set()
    assert set(shells) == expected | ({"register_wf.find"} if through_fa else set())
    assert set(shells.values()) <= {"NormalizeFsl"}


def test_the_seed_reaches_every_random_step(build):
    workflow = build("T1w and diffusion", random_seed=77)
    seeded = [
        n
        for n in workflow._create_flat_graph().nodes()
        if "seed" in n.inputs.copyable_trait_names()
    ]
    assert len(seeded) == 5 and all(node.inputs.seed == 77 for node in seeded)


def test_regions_are_measured_where_an_atlas_is_given(build, tmp_path):
    labels = [tmp_path / f"tpl-T_atlas-{name}_res-1_dseg.tsv" for name in "AB"]
    images = [path.with_name(path.name.replace(".tsv", ".nii.gz")) for path in labels]
    for path in (*labels, *images):
        path.write_text("")
    workflow = build("T1w alone", atlases=images)
    measure = workflow.get_node("morphometry_wf.measure")
    assert mandatory_without_value(workflow) == []
    assert measure.inputs.labels == [str(path) for path in labels]
    assert workflow.get_node("morphometry_wf.carry").inputs.interpolation == "nearestNeighbor"
    without = set(build("T1w alone").list_node_names())
    assert "morphometry_wf.segment" in without and "morphometry_wf.measure" not in without


def test_the_upright_brain_has_the_size_that_was_asked_for(build):
    node = build("T1w alone", native_resolution=2.5).get_node("native_wf.align")
    assert node.inputs.voxel_size == 2.5
    assert "native_wf.align" not in build("diffusion alone").list_node_names()


ANAT, ACPC = "bids:fmriprep:sub-01/anat/sub-01_", "bids:qsiprep:sub-01/anat/sub-01_space-ACPC_"
SERIES = "bids:qsiprep:sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi"
MASKED = {"t1w": f"{ACPC}desc-preproc_T1w.nii.gz", "t1w_mask": f"{ACPC}desc-brain_mask.nii.gz"}
TAKEN = {"dwi": f"{SERIES}.nii.gz", "bval": f"{SERIES}.bval", "bvec": f"{SERIES}.bvec"}
MAPS = "bids:qsirecon:sub-01/dwi/sub-01_space-{}_model-tensor_param-fa_dwimap.nii.gz"
GIVEN = {
    "fMRIPrep": {
        "t1w": f"{ANAT}desc-preproc_T1w.nii.gz",
        "t1w_mask": f"{ANAT}desc-brain_mask.nii.gz",
        "t1w_to_template": f"{ANAT}from-T1w_to-T_mode-image_xfm.h5",
        "template_to_t1w": f"{ANAT}from-T_to-T1w_mode-image_xfm.h5",
    },
    "fMRIPrep and a raw series": {
        "t1w": f"{ANAT}desc-preproc_T1w.nii.gz",
        "t1w_mask": f"{ANAT}desc-brain_mask.nii.gz",
        "dwi": "dwi.nii.gz",
        "bval": "dwi.bval",
        "bvec": "dwi.bvec",
    },
    "QSIPrep": MASKED | TAKEN,
    "QSIPrep without T1w": TAKEN,
    "QSIPrep and a raw T1w": TAKEN | {"t1w": "t1w.nii.gz"},
    "QSIRecon in ACPC": MASKED | {"maps": MAPS.format("ACPC")},
    "QSIRecon in the template": {"maps": MAPS.format("T")},
    "CC-359": {
        "t1w": "bids:cc359:Original/CC0001_philips_15_55_M.nii.gz",
        "t1w_mask": "bids:cc359:STAPLE/CC0001_philips_15_55_M_staple.nii.gz",
    },
    "runs": {
        "t1w": "t1w.nii.gz;t1w.nii.gz",
        "dwi": "dwi.nii.gz;dwi.nii.gz",
        "bval": "dwi.bval;dwi.bval",
        "bvec": "dwi.bvec;dwi.bvec",
    },
}


@pytest.fixture
def build_given(build, tmp_path):
    def make(kind, **choices):
        cells = GIVEN[kind]
        for uri in (uri for cell in cells.values() for uri in cell.split(";")):
            inside = uri.split(":")
            path = tmp_path.joinpath(*inside[1:]) if len(inside) == 3 else tmp_path / uri
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        names = ("fmriprep", "qsiprep", "qsirecon", "cc359")
        KINDS[kind] = {"t1w": None, "dwi": None, "session_id": None, **cells}
        try:
            return build(kind, derivatives={name: tmp_path / name for name in names}, **choices)
        finally:
            del KINDS[kind]

    return make


@pytest.mark.parametrize("kind", sorted(GIVEN))
def test_every_kind_of_prepared_data_has_a_road_on_which_nothing_dangles(build_given, kind):
    workflow = build_given(kind)
    assert mandatory_without_value(workflow) == []
    names = [node.fullname for node in workflow._create_flat_graph().nodes()]
    assert len(names) == len(set(names))


DONE = {
    "fMRIPrep": {"n4", "extract", "normalize"},
    "fMRIPrep and a raw series": {"n4", "extract"},
    "QSIPrep": {"n4", "extract", "estimate", "find"},
    "QSIPrep without T1w": {"estimate"},
    "QSIPrep and a raw T1w": {"estimate"},
    "QSIRecon in ACPC": {"n4", "extract", "estimate", "find", "fit"},
    "QSIRecon in the template": {"n4", "extract", "estimate", "find", "fit", "normalize"},
    "CC-359": {"extract"},
    "runs": set(),
}


@pytest.mark.parametrize("kind", sorted(GIVEN))
def test_what_is_done_has_no_step_and_what_is_not_done_has_one(build_given, kind):
    names = build_given(kind).list_node_names()
    steps = {name.split(".")[-1] for name in names}
    assert not steps & DONE[kind]
    anatomy = {"n4", "extract", "normalize"} if "t1w" in GIVEN[kind] else set()
    series = {"fit", "estimate"} if "dwi" in GIVEN[kind] else set()
    aligned = {"find"} if {"t1w", "dwi"} <= set(GIVEN[kind]) else set()
    assert steps >= (anatomy | series | aligned) - DONE[kind]


def two_parts(**inputs):
    """Plan two parts of opposite encodings; without `inputs` they serve each other."""
    told = {"TotalReadoutTime": 0.05}
    parts = []
    for index, (direction, sign) in enumerate((("j-", -1), ("j", 1))):
        method = inputs.get("method", "opposite")
        other = {"path": inputs["path"], "bval": None, "readout": 0.05,
                 "direction": "j" if sign < 0 else "j-"}  # fmt: skip
        needed = None if method == "t1w" else other
        chosen = Correction(method, "a test", 1, 0.05 * sign, needed)
        partner = 1 - index if inputs.get("share", True) else None
        about = told | {"PhaseEncodingDirection": direction}
        parts.append(Part((index,), about, chosen, partner))
    return parts


@pytest.mark.parametrize("engine", ["ants", "fsl"])
@pytest.mark.parametrize(
    ("method", "share"), [("opposite", True), ("opposite", False), ("topup", True), ("t1w", False)]
)
def test_every_correction_of_two_parts_has_a_road_on_which_nothing_dangles(
    build_given, tmp_path, engine, method, share
):
    path = tmp_path / "other.nii.gz"
    path.write_text("")
    parts = two_parts(path=str(path), method=method, share=share)
    workflow = build_given("runs", parts=parts, eddy_engine=engine)
    assert mandatory_without_value(workflow) == []
    names = workflow.list_node_names()
    found = [name for name in names if name.endswith(".find") and "distortion" in name]
    assert len(found) == (1 if (method, share) == ("opposite", True) else 2)
    assert sum("resample" in name for name in names) == 2
    write = workflow.get_node("write")
    fed = {
        field
        for _, _, data in workflow._graph.in_edges(write, data=True)
        for _, field in data["connect"]
    }
    assert "distortion_warps" in fed and "distortion_warp" not in fed


def test_the_part_of_the_other_direction_is_corrected_by_the_same_field(build_given, tmp_path):
    path = tmp_path / "other.nii.gz"
    path.write_text("")
    workflow = build_given("runs", parts=two_parts(path=str(path)))
    names = set(workflow.list_node_names())
    assert "dwi_wf.distortion2_wf.unwarp" in names
    assert not any(name.endswith("average") for name in names if "distortion2" in name)


def route(**choices):
    """Build the diffusion workflow alone."""
    told = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05, "PartialFourier": 0.75}
    return init_dwi_wf(
        preparation=Preparation(**choices), metadata=told, distortion_wf=stand_in(), series_gb=2
    )


def stand_in():
    """Stand in for a correction of distortion: its inputs and outputs, and no step."""
    workflow = Workflow("distortion_wf")
    given, found = ["b0", "mask", "t1w_brain"], ["warp", "jacobian", "b0", "record"]
    ends = {"inputnode": given, "outputnode": found}
    workflow.add_nodes([Node(IdentityInterface(fields=f), name) for name, f in ends.items()])
    return workflow


@pytest.mark.parametrize("denoise", ["mppca", "patch2self", "none"])
@pytest.mark.parametrize("gibbs", ["native", "dipy", "none"])
@pytest.mark.parametrize("engine", ["ants", "fsl"])
def test_every_choice_of_the_diffusion_road_can_be_built(denoise, gibbs, engine):
    workflow = route(denoise=denoise, gibbs=gibbs, eddy_engine=engine)
    steps = set(workflow.list_node_names())
    assert ("denoise" in steps) == (denoise != "none") and ("degibbs" in steps) == (gibbs != "none")
    assert ("eddy" in steps) == (engine == "fsl") and ("estimate" in steps) == (engine == "ants")
    assert "bias" in steps and "bias" not in route(dwi_bias="none").list_node_names()


def test_the_warp_is_found_between_estimate_and_resampling_and_both_meet_once():
    edges = route()._graph.edges(data=True)
    held = {(a.name, b.name): [to for _, to in data["connect"]] for a, b, data in edges}
    assert held[("estimate", "distortion_wf")] == ["inputnode.b0"]
    assert held[("distortion_wf", "resample")] == ["warp", "jacobian"]
    assert held[("estimate", "resample")] == ["matrices"]
    assert held[("degibbs", "resample")] == ["in_file"]


def test_memory_is_planned_by_the_size_of_the_series(tmp_path):
    from bids_sexclf.motion.align import motion_gb
    from bids_sexclf.volumes import make_series, series_gb

    small = init_dwi_wf(preparation=Preparation(), series_gb=0.1, motion_gb=0.1)
    large = init_dwi_wf(preparation=Preparation(), series_gb=4, motion_gb=4)
    for name in ("denoise", "estimate"):
        assert large.get_node(name).mem_gb > 4 > small.get_node(name).mem_gb
    # Motion is estimated on coarser voxels where the scan has fine ones.
    for size, share in ((1.25, 8), (2.5, 1)):
        make_series(tmp_path / "dwi.nii", (40, 40, 40, 3), np.diag([-size, size, size, 1]))
        held = motion_gb(tmp_path / "dwi.nii")
        assert held == pytest.approx(5 * series_gb(tmp_path / "dwi.nii") / share)


@pytest.mark.parametrize("kind", ["T1w and diffusion", "a session"])
def test_every_step_that_runs_is_foretold_behind_what_it_needs(build, kind, tmp_path):
    from bids_sexclf.participant.forecast import read_costs
    from bids_sexclf.participant.graph import list_steps

    workflow = build(kind)
    whole = Workflow("whole")
    whole.add_nodes([workflow])
    row = {"participant_id": "sub-01", "bval": "dwi.bval", "bvec": "dwi.bvec"} | KINDS[kind]
    steps = list_steps(whole, [row], {"root": tmp_path}, Preparation(template="T"))
    runs = {
        node.fullname
        for node in whole._create_flat_graph().nodes()
        if not isinstance(node.interface, IdentityInterface)
    }
    assert runs == set(steps)
    assert {step.who for step in steps.values()} == {
        "sub-01" if kind != "a session" else "sub-01_ses-1"
    }
    before = set()
    for name, step in steps.items():
        assert set(step.needs) <= before, name
        before.add(name)
    write = next(step for name, step in steps.items() if name.endswith(".write"))
    assert any(need.endswith(".quality") for need in write.needs)
    extract = next(step for name, step in steps.items() if name.endswith(".extract"))
    assert not extract.needs or all("putnode" not in need for need in extract.needs)
    unknown = {step.kind for step in steps.values()} - set(read_costs()["steps"])
    assert unknown == set()
