import pytest

from bids_sexclf.derivatives.prepared import Record
from bids_sexclf.errors import ToolError
from bids_sexclf.participant.given import init_given_anat_wf
from bids_sexclf.participant.plan import check_tools
from bids_sexclf.resources import Template
from bids_sexclf.settings import Preparation


def test_bet_is_refused_where_it_is_not_at_hand_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="robustfov, bet"):
        check_tools(Preparation(brain_extraction="bet"))
    check_tools(Preparation(brain_extraction="bet", skull_strip="skip"))
    check_tools(Preparation())


@pytest.mark.parametrize("engine, shell", [("ants", "Deform"), ("fsl", "NormalizeFsl")])
def test_a_given_brain_is_registered_as_an_extracted_one_is(tmp_path, engine, shell):
    place = tmp_path / "image.nii.gz"
    place.write_text("")
    workflow = init_given_anat_wf(
        record=Record(t1w=(place,), t1w_mask=place),
        template=Template("T", place, place, place, tmp_path),
        grid_file=place,
        preparation=Preparation(registration_engine=engine, random_seed=7, registration="fast"),
    )
    normalize = workflow.get_node("normalize").interface
    assert type(normalize).__name__ == shell
    if engine == "ants":
        assert (normalize.inputs.recipe, normalize.inputs.seed) == ("fast", 7)
