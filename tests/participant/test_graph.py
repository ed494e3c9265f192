import pytest

from bids_sexclf.participant.base import init_participant_wf
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


ROADS = {
    ("T1w and diffusion", "auto", False): "AlignRigid",
    ("T1w and diffusion", "auto", True): "AlignRigid",
    ("T1w and diffusion", "fa", True): "NormalizeFa",
    ("diffusion alone", "auto", True): "NormalizeFa",
    ("diffusion alone", "auto", False): "Normalize",
    ("diffusion alone", "t1w", True): "Normalize",
}


@pytest.mark.parametrize("kind, asked, at_hand", sorted(ROADS))
def test_maps_take_the_road_asked_for_or_the_best_there_is(build, kind, asked, at_hand, tmp_path):
    template = tmp_path / "fa.nii.gz"
    template.write_text("")
    choices = {"fa_template": template} if at_hand else {}
    workflow = build(kind, dwi_normalization=asked, **choices)
    assert mandatory_without_value(workflow) == []
    find = workflow.get_node("register_wf.find").interface
    assert type(find).__name__ == ROADS[kind, asked, at_hand]


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
    assert len(seeded) == 4 and all(node.inputs.seed == 77 for node in seeded)
