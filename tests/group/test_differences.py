"""Which regions differ, from maps on disk: a planted truth, and what cannot be tested."""

import numpy as np
import pytest

from bids_sexclf.group import base
from bids_sexclf.tables import read_table

PLANTED = 8
STAGES = ("cohort", "differences")


def _blocks(desk):
    table = read_table(desk.folder / "differences.tsv", "differences")
    return {key: rows.set_index("region") for key, rows in table.groupby("adjusted_for")}


def test_planted_region_is_found_with_its_size(tmp_path, write_derivatives, run_study):
    desk = run_study(write_derivatives(tmp_path, n=60, effect=2.0), STAGES)
    blocks = _blocks(desk)
    assert set(blocks) == {"nothing", "brain_volume_ml+age_years"}
    for rows in blocks.values():
        assert len(rows) == 24 and (rows["n_participants"] == 60).all()
        assert rows["p_fwe"].idxmin() == PLANTED
        assert (rows["p_fwe"] < 0.05).sum() == 1
        assert (rows["p_fwe"] >= rows["p"]).all()
        planted = rows.loc[PLANTED]
        assert planted["ci_low"] < 2.0 < planted["ci_high"] and planted["ci_low"] > 0.5
    # What is finished stays, and other choices are seen.
    assert base.run_stage(desk, "differences") == "finished"


def test_families_and_sessions_are_counted_once(tmp_path, write_derivatives, run_study):
    families = np.repeat([f"f{i}" for i in range(20)], 2)
    desk = run_study(write_derivatives(tmp_path, n=40, families=families), STAGES)
    rows = _blocks(desk)["nothing"]
    # Every family is a woman and a man: their sexes are exchanged within families.
    assert (rows["p"] > 0).all() and rows["reason"].isna().all()
    assert (rows["p_fwe"] < 0.05).sum() <= 1


@pytest.mark.parametrize("n", [4])
def test_too_few_people_get_a_word_and_no_number(tmp_path, write_derivatives, run_study, n):
    desk = run_study(write_derivatives(tmp_path, n=n), STAGES)
    for rows in _blocks(desk).values():
        assert (rows["n_participants"] == 0).all() and rows["reason"].notna().all()
        assert rows[["d", "ci_low", "statistic", "p", "p_fwe"]].isna().all(axis=None)
    assert _blocks(desk)["nothing"]["reason"].str.contains("needed at least 6").all()
