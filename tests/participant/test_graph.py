import pytest
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.participant.base import init_participant_wf
from bids_sexclf.participant.dwi import init_dwi_wf
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
    def make(kind, **choices):
        names = ["t1w.nii.gz", "dwi.nii.gz", "dwi.bval", "dwi.bvec", "brain", "mask", "white"]
        for name in names:
            (tmp_path / name).write_text("")
        row = {"participant_id": "sub-01", "bval": "dwi.bval", "bvec": "dwi.bvec"} | KINDS[kind]
        place = tmp_path / "brain"
        return init_participant_wf(
            row=row,
            root=tmp_path,
            out=tmp_path / "out",
            template=Template("T", place, place, place, tmp_path),
            references={kind: str(tmp_path / kind) for kind in ("brain", "mask", "white")},
            preparation=Preparation(**choices),
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
            if name not in fed and not isdefined(getattr(node.inputs, name)):
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


def test_the_seed_reaches_every_random_step(build):
    workflow = build("T1w and diffusion", random_seed=77)
    seeded = [
        n
        for n in workflow._create_flat_graph().nodes()
        if "seed" in n.inputs.copyable_trait_names()
    ]
    assert len(seeded) == 5 and all(node.inputs.seed == 77 for node in seeded)


def road(**choices):
    """Build the diffusion road alone."""
    told = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05, "PartialFourier": 0.75}
    return init_dwi_wf(
        preparation=Preparation(**choices), metadata=told, distortion_wf=stand_in(), series_gb=2
    )


def stand_in():
    """Stand in for a correction of distortion: its inputs and outputs, and no step."""
    workflow = Workflow("distortion_wf")
    ends = {"inputnode": ["b0", "mask"], "outputnode": ["warp", "b0"]}
    workflow.add_nodes([Node(IdentityInterface(fields=f), name) for name, f in ends.items()])
    return workflow


@pytest.mark.parametrize("denoise", ["mppca", "patch2self", "none"])
@pytest.mark.parametrize("gibbs", ["dipy", "none"])
@pytest.mark.parametrize("engine", ["ants", "fsl"])
def test_every_choice_of_the_diffusion_road_can_be_built(denoise, gibbs, engine):
    workflow = road(denoise=denoise, gibbs=gibbs, eddy_engine=engine)
    steps = set(workflow.list_node_names())
    assert ("denoise" in steps) == (denoise != "none") and ("degibbs" in steps) == (gibbs != "none")
    assert ("eddy" in steps) == (engine == "fsl") and ("estimate" in steps) == (engine == "ants")
    assert "bias" in steps and "bias" not in road(dwi_bias="none").list_node_names()


def test_the_warp_is_found_between_estimate_and_resampling_and_both_meet_once():
    edges = road()._graph.edges(data=True)
    held = {(a.name, b.name): [to for _, to in data["connect"]] for a, b, data in edges}
    assert held[("estimate", "distortion_wf")] == ["inputnode.b0"]
    assert held[("distortion_wf", "resample")] == ["warp"]
    assert held[("estimate", "resample")] == ["matrices"]
    assert held[("degibbs", "resample")] == ["in_file"]


def test_memory_is_planned_by_the_size_of_the_series():
    small = init_dwi_wf(preparation=Preparation(), series_gb=0.1)
    large = init_dwi_wf(preparation=Preparation(), series_gb=4)
    for name in ("denoise", "estimate"):
        assert large.get_node(name).mem_gb > 4 > small.get_node(name).mem_gb
