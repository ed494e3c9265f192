"""The cohort stage's table of maps averaged over the atlas."""

import pytest

from bids_sexclf import layout
from bids_sexclf.tables import read_table
from bids_sexclf.volumes import load


@pytest.fixture(scope="module")
def study(write_derivatives, run_study, tmp_path_factory):
    root = write_derivatives(tmp_path_factory.mktemp("means"), n=6)
    return root, run_study(root, stages=["cohort"])


def test_every_region_of_everyone_is_averaged_on_the_maps_own_grid(study, brain):
    desk = study[1]
    table = read_table(desk.folder / "region_means.tsv", "region_means")
    assert (desk.folder / "region_means.json").exists()
    people, regions = desk.read("cohort")["participant_id"], brain["labels"].max()
    assert len(table) == len(people) * regions and set(table["map"]) == {"T1w"}
    path = layout.derivative("t1w_template", "sub-004", space="Phantom", res="7")
    volume, _ = load(desk.derivatives / path, ndim=3)
    mine = table[table["participant_id"] == "sub-004"].set_index("region")
    inside = brain["mask"]
    scaled = (volume - volume[inside].mean()) / volume[inside].std()
    for region in (1, 8, 24):
        picked = (brain["labels"] == region) & inside & (volume != 0)
        assert mine.loc[str(region), "n_voxels"] == picked.sum()
        assert mine.loc[str(region), "mean"] == pytest.approx(scaled[picked].mean(), abs=1e-5)


def test_it_can_be_left_out(study, run_study):
    from bids_sexclf.group import base
    from bids_sexclf.settings import Run

    root, _ = study
    desk = run_study(root, stages=[], run=Run(nprocs=1, first="cohort"), region_means=False)
    base.run_stage(desk, "cohort")
    assert (desk.folder / "cohort.tsv").exists()
    assert not list(desk.folder.glob("region_means.*"))
